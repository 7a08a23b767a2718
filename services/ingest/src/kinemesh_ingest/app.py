"""Composition root of ingest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import timedelta

from kinemesh.access.tokens import tokens_of
from kinemesh.access.v1.access_pb2_grpc import add_AccessServiceServicer_to_server
from kinemesh.asset.v1.asset_pb2_grpc import add_AssetServiceServicer_to_server
from kinemesh.bus.connection import connect
from kinemesh.bus.tasks import work
from kinemesh.environment.v1.environment_pb2_grpc import add_EnvironmentServiceServicer_to_server
from kinemesh.inference.client import TritonClient
from kinemesh.job.v1.job_pb2_grpc import add_JobServiceServicer_to_server
from kinemesh.media.confined import Decoder
from kinemesh.model.v1.model_pb2_grpc import add_ModelServiceServicer_to_server
from kinemesh.route.v1.route_pb2_grpc import add_RouteServiceServicer_to_server
from kinemesh.serving.server import Service, Servicer
from kinemesh.session.v1.session_pb2_grpc import add_SessionServiceServicer_to_server
from kinemesh.storage.store import ObjectStore
from kinemesh.telemetry.tracing import trace_headers
from kinemesh.usage.v1.usage_pb2_grpc import add_UsageServiceServicer_to_server
from kinemesh_ingest.access import AccessRpc
from kinemesh_ingest.catalogue.database import answers, open_database
from kinemesh_ingest.catalogue.expiry import keep_young
from kinemesh_ingest.catalogue.outbox import pump
from kinemesh_ingest.catalogue.sweeps import sweep
from kinemesh_ingest.climbing.built_in import ensure_built_in
from kinemesh_ingest.climbing.rpc import RouteRpc
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.contents import limits_of
from kinemesh_ingest.creating import JobMaker
from kinemesh_ingest.environments import EnvironmentRpc
from kinemesh_ingest.gallery import Gallery
from kinemesh_ingest.gathering import gather
from kinemesh_ingest.importing import Imports
from kinemesh_ingest.models import ModelRpc
from kinemesh_ingest.program import Program
from kinemesh_ingest.quotas import Quotas, UsageRpc
from kinemesh_ingest.registry import Registry
from kinemesh_ingest.rpc import AssetRpc, JobRpc
from kinemesh_ingest.sessions import SessionRpc
from kinemesh_ingest.settings import IngestSettings, ModelsSettings, inherited
from kinemesh_ingest.uploads import Uploads
from kinemesh_ingest.worker import conduct, split_handler


@asynccontextmanager
async def app(settings: IngestSettings) -> AsyncIterator[Service]:
    """Build everything that ingest is made of."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_database(settings.database))
        bus = await stack.enter_async_context(connect(settings.nats, "ingest"))
        store = await stack.enter_async_context(ObjectStore(settings.s3))
        await store.ensure_bucket()
        await ensure_built_in(engine, store)
        triton = await stack.enter_async_context(TritonClient(settings.triton, headers=trace_headers))
        decoder = stack.enter_context(closing(Decoder(settings.decoding)))
        # One task more than workers keeps all of them busy, and a short job waits for no more than these.
        window = settings.conductor.window or settings.conductor.workers + 1
        conductor = Conductor(engine, window, settings.retention.late_sweep_s, settings.conductor.window_sec)
        quotas = Quotas(settings.quota)
        kept = timedelta(hours=settings.retention.pending_upload_hours)
        uploads = Uploads(engine, store, settings.upload, decoder, kept, quotas)
        stack.push_async_callback(uploads.checks.close)
        registry = Registry(engine, triton)
        maker = JobMaker(registry, conductor, quotas)
        imports = Imports(engine, store, triton, program_of(settings.models))
        gallery = Gallery(engine, bus, store, settings.retention.sweep_interval_s)
        split = split_handler(store, decoder, settings.conductor, limits_of(settings.upload))

        async def publish(stop: asyncio.Event) -> None:
            await pump(engine, bus, conductor.published, stop)

        async def clean(stop: asyncio.Event) -> None:
            await sweep(engine, bus, store, settings.retention, conductor.swept, stop)

        async def age(stop: asyncio.Event) -> None:
            await keep_young(engine, settings.retention, conductor.swept, stop)

        async def conduct_jobs(stop: asyncio.Event) -> None:
            await conduct(bus, conductor, stop)

        async def take_part(stop: asyncio.Event) -> None:
            stages = [("split", split, 2), ("recall", gallery.recall, 2), ("remember", gallery.remember, 2)]
            await work(bus, stages, stop, drain_s=settings.drain_s)

        async def observe(stop: asyncio.Event) -> None:
            await (gather(engine, bus, stop) if settings.metrics.port else stop.wait())

        async def database() -> bool:
            return await answers(engine)

        yield Service(
            servicers=(
                Servicer(
                    "kinemesh.asset.v1.AssetService",
                    add_AssetServiceServicer_to_server,
                    AssetRpc(engine, store, uploads, conductor),
                ),
                Servicer(
                    "kinemesh.job.v1.JobService",
                    add_JobServiceServicer_to_server,
                    JobRpc(engine, store, bus, conductor, maker),
                ),
                Servicer(
                    "kinemesh.session.v1.SessionService",
                    add_SessionServiceServicer_to_server,
                    SessionRpc(engine, store, maker),
                ),
                Servicer(
                    "kinemesh.environment.v1.EnvironmentService",
                    add_EnvironmentServiceServicer_to_server,
                    EnvironmentRpc(engine, gallery.wake),
                ),
                Servicer(
                    "kinemesh.model.v1.ModelService",
                    add_ModelServiceServicer_to_server,
                    ModelRpc(engine, triton, registry, imports, decoder, settings.upload.max_pixels),
                ),
                Servicer(
                    "kinemesh.route.v1.RouteService",
                    add_RouteServiceServicer_to_server,
                    RouteRpc(engine, store, conductor, settings.upload, decoder),
                ),
                Servicer(
                    "kinemesh.usage.v1.UsageService",
                    add_UsageServiceServicer_to_server,
                    UsageRpc(engine, quotas),
                ),
                Servicer(
                    "kinemesh.access.v1.AccessService",
                    add_AccessServiceServicer_to_server,
                    AccessRpc(engine, tokens_of(settings.auth), settings.auth.token_s),
                ),
            ),
            loops=(publish, clean, age, conduct_jobs, take_part, imports.run, gallery.run, observe),
            dependencies={"database": database, "nats": bus.ready, "s3": store.ready},
        )


def program_of(settings: ModelsSettings) -> Program | None:
    """The program that prepares models; None where none is set."""
    if settings.python is None or settings.repository is None:
        return None
    return Program(settings.python, settings.repository, settings.accelerator, settings.import_timeout_s, inherited())
