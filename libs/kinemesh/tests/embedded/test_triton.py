from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

from kinemesh.embedded import triton
from kinemesh.embedded.grpc_checks import grpc_answers
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.process import State
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.testing.fixtures import build_models
from kinemesh.testing.waiting import until


async def test_a_model_server_that_stands_still_is_started_again(tmp_path: Path) -> None:
    """As after a deadlock: its process lives, and its port takes connections."""
    models = triton.TritonModels(*build_models(tmp_path / "models", "mock"))
    ports = free_ports(triton.PORTS)
    alive = grpc_answers(f"127.0.0.1:{ports[0]}")
    spec = triton.triton_spec(models, tmp_path / "run", tmp_path / "log", ports, restarts=1, alive=alive)
    async with Supervisor() as supervisor:
        await supervisor.start([replace(spec, alive_every_s=0.2)])
        process = supervisor.processes["triton"]
        first = process.pid
        assert first is not None
        assert await alive()

        async def again() -> bool:
            return process.state is State.READY and process.pid not in (None, first)

        os.kill(first, signal.SIGSTOP)
        await until(again, within_s=120)
        assert await alive()
        assert process.restarts == 1
