"""Composition root of the detection and tracking service."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import cv2

from kinemesh.access.tls import read_tls
from kinemesh.bus.connection import connect
from kinemesh.bus.tasks import work
from kinemesh.detect_track.v1.detect_track_pb2_grpc import add_DetectTrackServiceServicer_to_server
from kinemesh.inference.client import TritonClient
from kinemesh.media.confined import Decoder
from kinemesh.serving.channel import open_channel
from kinemesh.serving.server import Service, Servicer
from kinemesh.storage.store import ObjectStore
from kinemesh.telemetry.tracing import trace_headers
from kinemesh_detect_track.associating import Association
from kinemesh_detect_track.jobs import Jobs
from kinemesh_detect_track.models import Models
from kinemesh_detect_track.querying import Queries
from kinemesh_detect_track.rehearsal import rehearse
from kinemesh_detect_track.resolving import Resolution
from kinemesh_detect_track.rpc import DetectTrackRpc
from kinemesh_detect_track.settings import DetectTrackSettings
from kinemesh_detect_track.watching import Watching
from kinemesh_detect_track.worker import Worker


@asynccontextmanager
async def app(settings: DetectTrackSettings) -> AsyncIterator[Service]:
    """Build everything that the detection and tracking service is made of."""
    cv2.setNumThreads(1)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(settings.nats, "detect_track"))
        store = await stack.enter_async_context(ObjectStore(settings.s3))
        triton = await stack.enter_async_context(TritonClient(settings.triton, headers=trace_headers))
        models = Models(triton, settings.detection.known_s)
        decoder = stack.enter_context(closing(Decoder(settings.decoding)))
        worker = Worker(store, models, decoder, settings.detection)
        association, resolution = Association(store), Resolution(store, decoder)
        ingest = await stack.enter_async_context(open_channel(settings.upstreams.ingest, read_tls(settings.tls)))
        jobs = Jobs(ingest, settings.upstreams.timeout_s)
        tables = stack.enter_context(tempfile.TemporaryDirectory(prefix="kinemesh-query-"))
        queries = Queries(store, jobs, settings.query, Path(tables))
        stages = (
            ("detect", worker.detect, settings.slots.detect),
            ("track", worker.track, settings.slots.track),
            ("refine", worker.refine, settings.slots.refine),
            ("associate", association.associate, settings.slots.associate),
            ("resolve", resolution.resolve, settings.slots.resolve),
        )

        async def work_on_stages(stop: asyncio.Event) -> None:
            await work(bus, stages, stop, drain_s=settings.drain_s)

        yield Service(
            servicers=(
                Servicer(
                    "kinemesh.detect_track.v1.DetectTrackService",
                    add_DetectTrackServiceServicer_to_server,
                    DetectTrackRpc(models, decoder, settings.detection, Watching(bus, jobs), queries),
                ),
            ),
            loops=(work_on_stages, queries.tidy),
            dependencies={"nats": bus.ready, "s3": store.ready, "triton": models.ready},
            rehearse=rehearse,
        )
