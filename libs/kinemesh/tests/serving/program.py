"""A whole service for tests: it serves PoseService and obeys files in the folder that its settings name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from kinemesh.bus.connection import connect
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.server import Service, Servicer, run
from kinemesh.settings import ServiceSettings
from kinemesh.testing.waiting import until


class Settings(ServiceSettings):
    folder: Path
    broker: bool = False
    stubborn: bool = False


async def appears(path: Path) -> None:
    await until(lambda: asyncio.to_thread(path.exists), within_s=60)


class Pose:
    """Only as much of PoseService as the tests call."""

    EstimateStream = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def Estimate(self, request: pose_pb2.EstimateRequest, _context: Any) -> pose_pb2.EstimateResponse:  # noqa: N802
        if request.max_persons:
            (self.folder / "called").touch()
            await appears(self.folder / "answer")
        structlog.get_logger().info("estimated")
        return pose_pb2.EstimateResponse(width=request.max_persons)


@asynccontextmanager
async def app(settings: Settings) -> AsyncIterator[Service]:
    folder = settings.folder

    async def loop(stop: asyncio.Event) -> None:
        while not stop.is_set() or settings.stubborn:
            await asyncio.sleep(0.02)
            if (folder / "fail").exists():
                raise ValueError("the loop is broken")
            if (folder / "return").exists():
                return
        if (folder / "fail late").exists():
            raise ValueError("draining is broken")

    async def idle(stop: asyncio.Event) -> None:
        await stop.wait()

    async def disk() -> bool:
        return not (folder / "down").exists()

    async def slow() -> bool:
        await appears(folder / "checked")
        return True

    def rehearse() -> None:
        (folder / "rehearsed").touch()
        if (folder.parent / "clumsy").exists():
            raise RuntimeError("there is no such codec")

    async with AsyncExitStack() as stack:
        if (folder.parent / "broken").exists():
            raise OSError("the disk is broken")
        dependencies = {"disk": disk}
        if (folder.parent / "slow").exists():
            dependencies["slow"] = slow
        if settings.broker:
            bus = await stack.enter_async_context(connect(settings.nats, "program"))
            dependencies["nats"] = bus.ready
        yield Service(
            servicers=(
                Servicer("kinemesh.pose.v1.PoseService", pose_pb2_grpc.add_PoseServiceServicer_to_server, Pose(folder)),
            ),
            loops=(loop, idle),
            dependencies=dependencies,
            rehearse=rehearse,
        )
    (folder / "closed").touch()


if __name__ == "__main__":
    run("program", Settings, app)
