"""Two services for tests: ``front`` puts a task on the queue for every call, ``worker`` asks a model for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import structlog

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.tasks import TaskContext, work
from kinemesh.bus.topology import task_subject
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.server import Service, Servicer, run
from kinemesh.settings import ServiceSettings
from kinemesh.task.v1 import task_pb2
from kinemesh.telemetry.tracing import span, trace_headers

STAGE = "associate"


class Settings(ServiceSettings):
    triton: TritonSettings = TritonSettings()


class Front:
    """Only as much of PoseService as the test calls."""

    EstimateStream = None

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def Estimate(self, _request: pose_pb2.EstimateRequest, _context: Any) -> pose_pb2.EstimateResponse:  # noqa: N802
        task = task_pb2.Task(task_id="j1.associate", job_id="j1", stage=STAGE)
        await self.bus.publish(task_subject(STAGE), task, task.task_id)
        structlog.get_logger().info("ordered")
        return pose_pb2.EstimateResponse()


@asynccontextmanager
async def front(settings: Settings) -> AsyncIterator[Service]:
    async with connect(settings.nats, "front") as bus:
        add = pose_pb2_grpc.add_PoseServiceServicer_to_server
        yield Service(servicers=(Servicer("kinemesh.pose.v1.PoseService", add, Front(bus)),))


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Service]:
    async with connect(settings.nats, "worker") as bus, TritonClient(settings.triton, headers=trace_headers) as triton:

        async def handle(_task: task_pb2.Task, _context: TaskContext) -> task_pb2.TaskDone:
            with span("associate windows"):
                await triton.infer("model", {"in": np.zeros(1, np.float32)}, [])
            return task_pb2.TaskDone(frames=1)

        async def loop(stop: asyncio.Event) -> None:
            await work(bus, [(STAGE, handle, 1)], stop)

        yield Service(loops=(loop,))


if __name__ == "__main__":
    name = sys.argv.pop()
    run(name, Settings, {"front": front, "worker": worker}[name])
