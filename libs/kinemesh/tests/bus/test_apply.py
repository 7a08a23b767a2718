"""The topology as a command of its own, for deployments."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from nats.aio.client import Client
from nats.js.api import StreamConfig

from kinemesh.bus.topology import CONSUMERS, DEAD_LETTERS, TASKS, streams
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor


async def _run(url: str, **env: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kinemesh.bus.apply",
        env={**os.environ, "KINEMESH_NATS__URL": url, **env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, out.decode()


async def test_a_broker_that_knows_nothing_knows_all_streams_afterwards(tmp_path: Path) -> None:
    port, monitor = free_ports(2)
    url, client = f"nats://127.0.0.1:{port}", Client()
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor)])
        await client.connect(url)
        jetstream = client.jetstream()
        assert await jetstream.streams_info() == []
        for _ in range(2):  # again changes nothing
            status, said = await _run(url)
            assert status == 0, said
            assert "applied" in said
            found = {info.config.name: info.state.consumer_count for info in await jetstream.streams_info()}
            assert set(found) == {config.name for config in streams(1)}
            assert sum(found.values()) == len(CONSUMERS)

        # A stream of that name which is of another kind cannot become ours.
        await jetstream.delete_stream(DEAD_LETTERS)
        await jetstream.delete_stream(TASKS)
        await jetstream.add_stream(StreamConfig(name=TASKS, subjects=["elsewhere"]))
        status, said = await _run(url)
        assert status == 1
        assert "BROKER_TOPOLOGY" in said
        assert "Traceback" not in said
        await jetstream.delete_stream(TASKS)
        assert (await _run(url))[0] == 0
        await client.close()


async def test_a_broker_that_is_not_there_is_waited_for_so_long() -> None:
    (port,) = free_ports(1)
    status, said = await _run(f"nats://127.0.0.1:{port}", KINEMESH_START_S="1")
    assert status == 1
    assert "in time" in said
    assert "Traceback" not in said
