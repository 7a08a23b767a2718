"""A service of one method of each kind behind a real server, and services as processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemesh.serving.channel import open_channel
from kinemesh.testing.waiting import until

PROGRAM = Path(__file__).with_name("program.py")


@dataclass(frozen=True)
class Running:
    """A service in a process of its own; it obeys files in ``folder``."""

    process: asyncio.subprocess.Process
    folder: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        whole = (self.folder / "log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in whole if line.endswith("\n")]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    async def says(self, event: str) -> dict[str, Any]:
        async def has() -> bool:
            return bool(self.said(event)) or self.process.returncode is not None

        await until(has)
        assert self.said(event), self.lines
        return self.said(event)[0]

    async def address(self) -> str:
        return f"127.0.0.1:{(await self.says('serving'))['grpc_port']}"

    async def ends(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 30)

    async def health(self, service: str = "") -> str:
        async with open_channel(await self.address()) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    async def becomes(self, status: str) -> None:
        async def has() -> bool:
            return await self.health() == status

        await until(has)


Start = Callable[..., Awaitable[Running]]


@pytest_asyncio.fixture(loop_scope="session")
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts ``program.py`` with the given ``KINEMESH_`` variables."""
    processes: list[asyncio.subprocess.Process] = []

    async def run(**variables: str) -> Running:
        folder = tmp_path / str(len(processes))
        folder.mkdir()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KINEMESH_")}
        settings = {f"KINEMESH_{name}": value for name, value in variables.items()}
        with (folder / "log").open("wb") as log, (folder / "stderr").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(PROGRAM),
                env={**clean, "KINEMESH_FOLDER": str(folder), "PYTHONUNBUFFERED": "1", **settings},
                stdout=log,
                stderr=errors,
            )
        processes.append(process)
        return Running(process, folder)

    yield run
    for process in processes:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest_asyncio.fixture(loop_scope="session")
async def channel_to() -> AsyncIterator[Callable[..., Awaitable[grpc.aio.Channel]]]:
    """Serves servicers in this process, as ``(add, implementation)`` or generic handlers, behind the interceptor."""
    from kinemesh.serving.interceptor import CallInterceptor

    opened: list[Any] = []

    async def serve(*handlers: grpc.GenericRpcHandler[Any, Any], add: Callable[[Any], None] | None = None) -> Any:
        server = grpc.aio.server(interceptors=[CallInterceptor()])
        server.add_generic_rpc_handlers(handlers)
        if add is not None:
            add(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = open_channel(f"127.0.0.1:{port}")
        opened.append((server, channel))
        return channel

    yield serve
    for server, channel in opened:
        await channel.close()
        await server.stop(0)
