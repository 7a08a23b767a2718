"""Composition root of the pose service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing

import cv2

from kinemesh.bus.connection import connect
from kinemesh.bus.tasks import work
from kinemesh.inference.client import TritonClient
from kinemesh.media.confined import Decoder
from kinemesh.pose.v1.pose_pb2_grpc import add_PoseServiceServicer_to_server
from kinemesh.serving.server import Service, Servicer
from kinemesh.storage.store import ObjectStore
from kinemesh.telemetry.tracing import trace_headers
from kinemesh_pose.models import TritonModels
from kinemesh_pose.rehearsal import rehearse
from kinemesh_pose.rpc import PoseRpc
from kinemesh_pose.settings import PoseSettings
from kinemesh_pose.worker import Worker


@asynccontextmanager
async def app(settings: PoseSettings) -> AsyncIterator[Service]:
    """Build everything that the pose service is made of."""
    cv2.setNumThreads(1)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats, "pose"))
        store = await stack.enter_async_context(ObjectStore(settings.s3))
        triton = await stack.enter_async_context(TritonClient(settings.triton, headers=trace_headers))
        decoder = stack.enter_context(closing(Decoder(settings.decoding)))
        models = TritonModels(triton)
        worker = Worker(store, models, decoder, settings.estimation)
        stages = (
            ("pose", worker.pose, settings.slots.pose),
            ("stitch", worker.stitch, settings.slots.stitch),
            ("movement", worker.movement, settings.slots.movement),
        )

        async def work_on_stages(stop: asyncio.Event) -> None:
            await work(bus, stages, stop, drain_s=settings.drain_s)

        yield Service(
            servicers=(
                Servicer(
                    "kinemesh.pose.v1.PoseService",
                    add_PoseServiceServicer_to_server,
                    PoseRpc(models, decoder, settings.estimation),
                ),
            ),
            loops=(work_on_stages,),
            dependencies={"nats": bus.ready, "s3": store.ready, "triton": models.ready},
            rehearse=rehearse,
        )
