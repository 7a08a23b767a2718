"""The composition root: the only place that knows all adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing

import cv2

from kinemesh.bus.connection import connect
from kinemesh.bus.tasks import work
from kinemesh.inference import TritonClient
from kinemesh.media.confined import Decoder
from kinemesh.render.v1 import render_pb2, render_pb2_grpc
from kinemesh.serving.server import Service, Servicer
from kinemesh.storage import ObjectStore
from kinemesh.telemetry.tracing import trace_headers
from kinemesh_render.faces import FaceFinder
from kinemesh_render.mosaic import Mosaics
from kinemesh_render.rehearsal import rehearse
from kinemesh_render.rpc import RenderServicer
from kinemesh_render.settings import RenderSettings
from kinemesh_render.worker import Worker

NAME = render_pb2.DESCRIPTOR.services_by_name["RenderService"].full_name


@asynccontextmanager
async def app(settings: RenderSettings) -> AsyncIterator[Service]:
    """Connect to the broker, the object store and the model server, and offer what the service does."""
    cv2.setNumThreads(1)  # segments run in parallel; threads inside a frame would only fight with them
    async with (
        ObjectStore(settings.s3) as store,
        TritonClient(settings.triton, headers=trace_headers) as triton,
        connect(settings.nats, "render") as bus,
        AsyncExitStack() as stack,
    ):
        decoder = stack.enter_context(closing(Decoder(settings.decoding)))
        faces = FaceFinder(triton, settings.face_model)
        worker = Worker(store, faces, decoder, settings.encoder, settings.work)
        mosaics = Mosaics(store, decoder, settings.encoder, settings.work)

        async def take_tasks(stop: asyncio.Event) -> None:
            handlers = [
                ("render", worker.render, settings.work.render_slots),
                ("mosaic", mosaics.mosaic, settings.work.mosaic_slots),
                ("finalize", worker.finalize, settings.work.finalize_slots),
            ]
            await work(bus, handlers, stop, drain_s=settings.drain_s)

        servicer = RenderServicer(faces, decoder, settings.picture)
        yield Service(
            servicers=[Servicer(NAME, render_pb2_grpc.add_RenderServiceServicer_to_server, servicer)],
            loops=[take_tasks],
            # Not the model server: only jobs that blur faces need it, and those wait for it.
            dependencies={"nats": bus.ready, "s3": store.ready},
            rehearse=rehearse,
        )
