"""Composition root of the matching service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing

import cv2

from kinemesh.access.tls import read_tls
from kinemesh.bus.connection import connect
from kinemesh.bus.tasks import work
from kinemesh.matcher.v1.matcher_pb2_grpc import add_MatcherServiceServicer_to_server
from kinemesh.media.confined import Decoder
from kinemesh.serving.channel import open_channel
from kinemesh.serving.server import Service, Servicer
from kinemesh.storage.store import ObjectStore
from kinemesh_matcher.catalogue import Catalogue
from kinemesh_matcher.references import References
from kinemesh_matcher.rehearsal import rehearse
from kinemesh_matcher.retargeting import Retargeting
from kinemesh_matcher.rpc import MatcherRpc
from kinemesh_matcher.settings import MatcherSettings
from kinemesh_matcher.worker import Worker


@asynccontextmanager
async def app(settings: MatcherSettings) -> AsyncIterator[Service]:
    """Build everything that the matching service is made of."""
    cv2.setNumThreads(1)  # segments run in parallel; threads inside a frame would only fight with them
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats, "matcher"))
        store = await stack.enter_async_context(ObjectStore(settings.s3))
        ingest = await stack.enter_async_context(open_channel(settings.upstreams.ingest, read_tls(settings.tls)))
        matching = settings.matching
        decoder = stack.enter_context(closing(Decoder(settings.decoding)))
        references = References(store, decoder, matching.max_pixels, matching.kept_references)
        catalogue = Catalogue(ingest, settings.upstreams.timeout_s)
        worker, retargeting = Worker(store, references, decoder, matching), Retargeting(store, references)
        stages = (
            ("match", worker.match, settings.slots.match),
            ("retarget", retargeting.retarget, settings.slots.retarget),
        )

        async def work_on_stages(stop: asyncio.Event) -> None:
            await work(bus, stages, stop, drain_s=settings.drain_s)

        yield Service(
            servicers=(
                Servicer(
                    "kinemesh.matcher.v1.MatcherService",
                    add_MatcherServiceServicer_to_server,
                    MatcherRpc(references, catalogue, decoder, matching.max_pixels),
                ),
            ),
            loops=(work_on_stages,),
            dependencies={"nats": bus.ready, "s3": store.ready},
            rehearse=rehearse,
        )
