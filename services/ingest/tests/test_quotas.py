"""Quotas hold whoever asks at once, over several replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from kinemesh.access.gate import acting_as
from kinemesh.access.identity import Identity, Limits
from kinemesh.asset.v1 import asset_pb2
from kinemesh.errors import ResourceExhausted
from kinemesh.job.v1 import parameters_pb2
from kinemesh.serving.channel import call
from kinemesh.storage.store import ObjectStore
from kinemesh.usage.v1 import usage_pb2
from kinemesh_ingest.catalogue import assets, jobs, usage
from kinemesh_ingest.catalogue.database import open_database
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.creating import JobMaker
from kinemesh_ingest.domain.timeline import Input
from kinemesh_ingest.quotas import Quotas
from kinemesh_ingest.settings import DatabaseSettings, QuotaSettings, UploadSettings
from kinemesh_ingest.uploads import Uploads

AT_ONCE = 12
UNUSED: Any = None  # nothing is decoded here
Replicas = tuple[AsyncEngine, AsyncEngine]


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[Replicas]:
    """Two pools of connections to a database of their own, as two processes have them."""
    engine = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE quotas"))
        url = make_url(postgres_url).set(database="quotas").render_as_string(hide_password=False)
        async with AsyncExitStack() as stack:
            settings = DatabaseSettings(url=SecretStr(url))
            first = await stack.enter_async_context(open_database(settings))
            yield first, await stack.enter_async_context(open_database(settings))
        connection.execute(text("DROP DATABASE quotas WITH (FORCE)"))
    engine.dispose()


async def at_once(replicas: Replicas, act: Callable[[AsyncEngine, int], Any]) -> list[ResourceExhausted]:
    """Do something many times at once, on both replicas in turn; answers with the refusals."""
    acts = (act(replicas[number % 2], number) for number in range(AT_ONCE))
    answers = await asyncio.gather(*acts, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, ResourceExhausted) for answer in refused), refused
    return [answer for answer in refused if isinstance(answer, ResourceExhausted)]


async def test_no_upload_is_one_too_many(replicas: Replicas, s3_store: ObjectStore) -> None:
    async def announce(engine: AsyncEngine, number: int) -> None:
        quotas = Quotas(QuotaSettings(pending_uploads=5))
        uploads = Uploads(engine, s3_store, UploadSettings(), UNUSED, timedelta(hours=1), quotas)
        request = asset_pb2.CreateUploadRequest(filename="a.mp4", size_bytes=10, request_id=f"{number // 2}")
        await uploads.announce(request, "ada" if number else "eve")

    refused = await at_once(replicas, announce)
    async with replicas[0].connect() as connection:
        assert await usage.pending_uploads(connection, "ada") == 5
    assert {error.metadata["used"] for error in refused} == {"6"}
    facts = refused[0].metadata
    assert (refused[0].reason, facts["quota"], facts["limit"]) == ("QUOTA_EXCEEDED", "pending_uploads", "5")


async def test_no_byte_is_one_too_many(replicas: Replicas, s3_store: ObjectStore) -> None:
    quotas = Quotas(QuotaSettings(storage_gb=1))

    async def announce(engine: AsyncEngine, _: int) -> None:
        uploads = Uploads(engine, s3_store, UploadSettings(), UNUSED, timedelta(hours=1), quotas)
        await uploads.announce(asset_pb2.CreateUploadRequest(filename="a.mp4", size_bytes=300_000_000), "ada")

    refused = await at_once(replicas, announce)
    assert len(refused) == AT_ONCE - 3
    async with replicas[0].begin() as connection:
        assert await quotas.bytes_left(connection, "ada") == 100_000_000
        assert await quotas.bytes_left(connection, "eve") == 1_000_000_000
        outputs = [{"name": "a", "size_bytes": "70000000"}, {"name": "b", "size_bytes": "20000000"}, {"name": "c"}]
        for job_id in ("kept", "failed"):
            job = await jobs.add(
                connection,
                [Input("main", "x")],
                job_id=job_id,
                owner="ada",
                pipeline="pose",
                stage="",
                parameters={},
                trace={},
            )
            await jobs.change(connection, job.job_id, outputs=outputs)
        await jobs.change(connection, "failed", state=jobs.FAILED)
        assert await quotas.bytes_left(connection, "ada") == 10_000_000


async def test_no_job_is_one_too_many(replicas: Replicas) -> None:
    quotas = Quotas(QuotaSettings(active_jobs=4))
    async with replicas[0].begin() as connection:
        await assets.add(
            connection,
            asset_id="clip",
            owner="ada",
            filename="a",
            content_type="",
            size_bytes=1,
            kind="VIDEO",
            upload_id="",
        )
        await assets.settle(connection, "clip", state=assets.READY)
    parameters = parameters_pb2.JobParameters(pose=parameters_pb2.PoseParameters())

    async def make(engine: AsyncEngine, number: int) -> None:
        maker = JobMaker(None, Conductor(engine, 2, 0.0), quotas)  # type: ignore[arg-type]  # no model is looked for
        async with engine.begin() as connection:
            await maker.make(
                connection, job_id=f"{number}", owner="ada", inputs=[Input("main", "clip")], parameters=parameters
            )

    assert len(await at_once(replicas, make)) == AT_ONCE - 4
    async with replicas[1].begin() as connection:
        assert await usage.active_jobs(connection, "ada") == 4
        (first, *_) = [row.job_id for row in (await connection.execute(text("SELECT job_id FROM jobs"))).all()]
        await jobs.change(connection, first, state=jobs.SUCCEEDED)
    assert len(await at_once(replicas, lambda engine, number: make(engine, number + AT_ONCE))) == AT_ONCE - 1


def test_a_keys_own_limits_come_first() -> None:
    quotas = Quotas(QuotaSettings(storage_gb=1, pending_uploads=3))
    assert quotas.limits() == {"stored_bytes": 1_000_000_000, "pending_uploads": 3}
    with acting_as(Identity("ada", limits=Limits(storage_bytes=0, active_jobs=2))):
        assert quotas.limits() == {"stored_bytes": 0, "pending_uploads": 3, "active_jobs": 2}


async def test_usage_is_told(ingest: Any, clip: bytes) -> None:
    asset = await ingest.upload(clip, owner="user")
    request = asset_pb2.CreateUploadRequest(filename="a.mp4", size_bytes=10)
    await call(ingest.assets.CreateUpload, request, owner="user")
    await ingest.start_job(asset.asset_id, owner="user")
    told = await call(ingest.usage.GetUsage, usage_pb2.GetUsageRequest(), owner="user")
    assert (told.stored_bytes.used, told.stored_bytes.HasField("limit")) == (len(clip) + 10, False)
    assert (told.pending_uploads.used, told.active_jobs.used) == (1, 1)
