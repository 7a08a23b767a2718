"""What is old is deleted once, whoever looks, and what somebody needs stays."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kinemesh.storage import ObjectStore, keys
from kinemesh.testing.fixtures import S3Server
from kinemesh_ingest.catalogue.database import open_database
from kinemesh_ingest.catalogue.expiry import Expired, expire
from kinemesh_ingest.orphans import Orphans, remove_orphans
from kinemesh_ingest.settings import DatabaseSettings, RetentionSettings

OLD = "now() - interval '40 days'"
MONTH = RetentionSettings(jobs_days=30, uploads_days=30, requests_hours=24)


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    """The connections of two replicas to a catalogue of their own."""
    admin = create_async_engine(postgres_url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text("CREATE DATABASE retention"))
        url = make_url(postgres_url).set(database="retention").render_as_string(hide_password=False)
        settings = DatabaseSettings(url=SecretStr(url), connections=2)
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(open_database(settings))
            yield one, await stack.enter_async_context(open_database(settings))
        await connection.execute(text("DROP DATABASE retention WITH (FORCE)"))
    await admin.dispose()


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[ObjectStore]:
    """A bucket of its own."""
    settings = s3_server.settings.model_copy(update={"bucket": "retention"})
    async with ObjectStore(settings) as store:
        await store.ensure_bucket()
        yield store
        for prefix in ("assets/", "jobs/", "routes/", "other/"):
            await store.delete_prefix(prefix)


async def run(engine: AsyncEngine, *statements: str) -> list[Any]:
    async with engine.begin() as connection:
        results = [await connection.execute(text(statement.replace(":", r"\:"))) for statement in statements]
        return [tuple(row) for row in results[-1]] if results[-1].returns_rows else []


def asset(name: str, time: str = OLD, state: str = "READY", owner: str = "ada") -> str:
    return (
        "INSERT INTO assets (asset_id, owner, filename, content_type, size_bytes, state, upload_id, kind, update_time)"
        f" VALUES ('{name}', '{owner}', 'a', 'video/mp4', 1, '{state}', '', 'VIDEO', {time})"
    )


def job(name: str, time: str = OLD, state: str = "SUCCEEDED", asset_id: str = "") -> str:
    made = (
        "INSERT INTO jobs (job_id, owner, pipeline, state, stage, progress, parameters, outputs, summary, trace, "
        "update_time)"
        f" VALUES ('{name}', 'ada', 'pose', '{state}', 'finalize', 1, '{{}}', '[]', '{{}}', '{{}}', {time})"
    )
    reads = f"INSERT INTO job_inputs (job_id, camera, asset_id, position) VALUES ('{name}', 'main', '{asset_id}', 0)"
    return f"{made}; {reads}" if asset_id else made


async def fill(engine: AsyncEngine) -> None:
    environment = '{"cameras": [{"sub_videos": [{"asset_id": "site"}]}]}'
    statements = [
        *(job(f"old{number:03}") for number in range(120)),
        job("young", "now()"),
        job("running", OLD, "RUNNING", "read"),
        asset("read"),
        *(asset(f"unused{number:03}") for number in range(70)),
        asset("rejected", OLD, "REJECTED"),
        asset("fresh", "now()"),
        asset("announced", OLD, "PENDING"),
        asset("built-in", OLD, "READY", ""),
        "INSERT INTO reference_images (reference_id, owner, display_name, source, asset_id, content_type, width, "
        "height) VALUES ('wall', '', 'Wall', 'BUILT_IN', 'built-in', 'image/jpeg', 4, 3)",
        asset("recorded"),
        "INSERT INTO sessions (session_id, owner, display_name, asset_id) VALUES ('s', 'ada', 'n', 'recorded')",
        asset("site"),
        "INSERT INTO environments (owner, environment_id, display_name, document)"
        f" VALUES ('ada', 'e', 'e', '{environment}')",
        f"INSERT INTO requests VALUES ('ada', 'CreateJob', 'old', 'old000', {OLD})",
        "INSERT INTO requests VALUES ('ada', 'CreateJob', 'new', 'young', now())",
    ]
    await run(engine, *(one for statement in statements for one in statement.split("; ")))


async def test_what_is_old_is_deleted_once_by_several_replicas(replicas: tuple[AsyncEngine, AsyncEngine]) -> None:
    one, other = replicas
    await fill(one)
    kept = RetentionSettings()
    assert await expire(one, kept.model_copy(update={"requests_hours": 24 * 365}), count_only=False) == Expired()
    expected = Expired(jobs=120, uploads=71, requests=1)
    assert await expire(one, MONTH, count_only=True) == expected
    assert await run(one, "SELECT count(*) FROM sweeps") == [(0,)]
    found = list(await asyncio.gather(expire(one, MONTH), expire(other, MONTH)))
    # A replica passes by what the other has in hand: what both left is for the next time.
    found.append(await expire(other, MONTH))
    total = [sum(getattr(part, name) for part in found) for name in ("jobs", "uploads", "requests")]
    assert total == [expected.jobs, expected.uploads, expected.requests]
    assert await run(one, "SELECT job_id FROM jobs ORDER BY job_id") == [("running",), ("young",)]
    left = [name for (name,) in await run(one, "SELECT asset_id FROM assets ORDER BY asset_id")]
    assert left == ["announced", "built-in", "fresh", "read", "recorded", "site"]
    assert await run(one, "SELECT request_id FROM requests") == [("new",)]
    # Each is swept at once and once more later, and never twice.
    assert await run(one, "SELECT count(*), count(DISTINCT prefix) FROM sweeps") == [(2 * 191, 191)]
    assert await expire(one, MONTH) == Expired()


async def test_objects_that_no_row_knows_are_deleted(
    replicas: tuple[AsyncEngine, AsyncEngine], bucket: ObjectStore, s3_server: S3Server
) -> None:
    engine = replicas[0]
    prefix = "routes/ada/area/route/20260101T000000Z-a/"
    await run(engine, asset("known"), job("known"))
    for name in ("known", "lost"):
        await bucket.put_bytes(keys.asset_source(name), b"12")
        await bucket.put_bytes(keys.output(name, "annotated.mp4"), b"345")
    await bucket.put_bytes(prefix + "poses.parquet", b"6")
    await bucket.put_bytes("other/thing", b"7")
    begun = await bucket.multipart.create(keys.asset_source("given-up"), "video/mp4")
    await bucket.multipart.upload_part(keys.asset_source("given-up"), begun, 1, b"8")

    assert await remove_orphans(engine, bucket, timedelta(days=1)) == Orphans()
    url = engine.url.render_as_string(hide_password=False)
    env = {
        "KINEMESH_DATABASE__URL": url,
        "KINEMESH_S3__ENDPOINT": s3_server.settings.endpoint,
        "KINEMESH_S3__ACCESS_KEY": s3_server.settings.access_key,
        "KINEMESH_S3__SECRET_KEY": s3_server.settings.secret_key.get_secret_value(),
        "KINEMESH_S3__BUCKET": "retention",
    }
    for options, dry in ((["--dry-run"], True), ([], False)):
        command = (sys.executable, "-m", "kinemesh_ingest.sweep", "--orphans-hours=-1", *options)
        child = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await child.communicate()
        assert child.returncode == 0
        assert json.loads(told) == {
            "dry_run": dry,
            "expired": {"jobs": 0, "uploads": 0, "requests": 0},
            "orphans": {"objects": 3, "bytes": 6, "uploads": 1},
        }
    left = [entry.key for top in ("assets/", "jobs/", "routes/", "other/") for entry in await bucket.list_objects(top)]
    assert left == [keys.asset_source("known"), keys.output("known", "annotated.mp4"), "other/thing"]
    assert await bucket.multipart.list_uploads("assets/") == ()
