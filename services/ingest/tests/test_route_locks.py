"""Routes and areas deleted while somebody adds to them: one waits for the other, never both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kinemesh import errors
from kinemesh.route.v1 import reference_pb2, route_pb2
from kinemesh.serving.channel import call
from kinemesh.testing.waiting import until
from kinemesh_ingest.catalogue import areas, assets, attempts, references

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :query")


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(postgres_url)
    yield engine
    await engine.dispose()


async def waits(engine: AsyncEngine, query: str) -> None:
    """Until a statement waits for a lock."""

    async def is_waiting() -> bool:
        async with engine.connect() as connection:
            return bool(await connection.scalar(WAITING, {"query": query}))

    await until(is_waiting, within_s=20)


async def test_a_route_goes_while_a_job_is_created_on_its_picture(
    ingest: Any, clip: bytes, picture: bytes, engine: AsyncEngine
) -> None:
    route = await ingest.route((await ingest.area("Locks")).area_id, "Locks")
    attempt = await ingest.attempt(route.route_id, (await ingest.upload(clip)).asset_id)
    wanted = reference_pb2.CreateReferenceImageRequest(
        asset_id=(await ingest.upload(picture, kind="IMAGE")).asset_id, route_id=route.route_id
    )
    image = (await call(ingest.routes.CreateReferenceImage, wanted, owner="ada")).reference_image
    request = route_pb2.DeleteRouteRequest(route_id=route.route_id)
    async with engine.begin() as connection:
        await references.find(connection, image.reference_id, "ada", hold=True)
        going = asyncio.create_task(call(ingest.routes.DeleteRoute, request, owner="ada"))
        await waits(engine, "DELETE FROM routes%")
        await assets.find(connection, attempt.asset_id, "ada", lock=True)
    await going
    async with engine.connect() as connection:
        assert (await references.find(connection, image.reference_id, "ada")).route_id is None
        with pytest.raises(errors.NotFound):
            await assets.find(connection, attempt.asset_id, "ada")


async def test_an_area_goes_while_an_attempt_is_added(ingest: Any, clip: bytes, engine: AsyncEngine) -> None:
    area = await ingest.area("Locked")
    route = await ingest.route(area.area_id, "Locked")
    asset_id = (await ingest.upload(clip)).asset_id
    request = route_pb2.DeleteAreaRequest(area_id=area.area_id)
    async with engine.begin() as connection:
        await areas.find_route(connection, route.route_id, "ada", hold=True)
        going = asyncio.create_task(call(ingest.routes.DeleteArea, request, owner="ada"))
        await waits(engine, "SELECT routes.route_id%")
        await attempts.add(
            connection,
            attempt_id="late",
            route_id=route.route_id,
            area_id=area.area_id,
            owner="ada",
            asset_id=asset_id,
            attempt_time=datetime.now(UTC),
            data_prefix="attempts/late/",
            display_name="",
            notes="",
            topped=False,
        )
    await going
    async with engine.connect() as connection:
        with pytest.raises(errors.NotFound):
            await attempts.find(connection, "late", "ada")
