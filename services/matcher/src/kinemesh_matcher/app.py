"""Composition root of the matching service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from kinemesh.bus.connection import connect
from kinemesh.bus.tasks import work
from kinemesh.inference.client import TritonClient
from kinemesh.matcher.v1.matcher_pb2_grpc import add_MatcherServiceServicer_to_server
from kinemesh.serving.server import Service, Servicer
from kinemesh.storage.store import ObjectStore
from kinemesh.telemetry.tracing import trace_headers
from kinemesh_matcher.rpc import MatcherRpc
from kinemesh_matcher.settings import MatcherSettings
from kinemesh_matcher.worker import STAGES


@asynccontextmanager
async def app(settings: MatcherSettings) -> AsyncIterator[Service]:
    """Build everything that the matching service is made of."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats, "matcher"))
        store = await stack.enter_async_context(ObjectStore(settings.s3))
        triton = await stack.enter_async_context(TritonClient(settings.triton, headers=trace_headers))

        async def work_on_stages(stop: asyncio.Event) -> None:
            await work(bus, STAGES, stop, drain_s=settings.drain_s)

        yield Service(
            servicers=(
                Servicer(
                    "kinemesh.matcher.v1.MatcherService",
                    add_MatcherServiceServicer_to_server,
                    MatcherRpc(),  # type: ignore[abstract]
                ),
            ),
            loops=(work_on_stages,),
            dependencies={"nats": bus.ready, "s3": store.ready, "triton": triton.ready},
        )
