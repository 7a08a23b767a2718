"""What is deleted because it is old: jobs and media where the settings say so, and what was noted of old requests.

Any number of replicas may do this at once: each takes batches of rows that no other has locked.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Select, delete, exists, func, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh.errors import KinemeshError
from kinemesh.storage import keys
from kinemesh_ingest.catalogue import assets, jobs, sweeps
from kinemesh_ingest.catalogue.tables import assets as assets_table
from kinemesh_ingest.catalogue.tables import attempts, job_inputs, match_jobs, reference_images, requests, sessions
from kinemesh_ingest.catalogue.tables import jobs as jobs_table
from kinemesh_ingest.settings import RetentionSettings

_INTERVAL_S: Final = 300.0
_BATCH: Final = 50
_REQUESTS_BATCH: Final = 5000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Expired:
    """How many rows were deleted, or would be."""

    jobs: int = 0
    uploads: int = 0
    requests: int = 0


async def expire(engine: AsyncEngine, retention: RetentionSettings, *, count_only: bool = False) -> Expired:
    """Delete what is older than the settings allow; objects follow by sweeps. Done again it does nothing more."""
    days = [retention.jobs_days, retention.uploads_days, retention.requests_hours / 24]
    counted = [0, 0, 0]
    for place, (age, step) in enumerate(zip(days, (_expire_jobs, _expire_uploads, _expire_requests), strict=True)):
        if age > 0:
            counted[place] = await step(engine, timedelta(days=age), retention.late_sweep_s, count_only)
    return Expired(*counted)


async def keep_young(
    engine: AsyncEngine, retention: RetentionSettings, swept: asyncio.Event, stop: asyncio.Event
) -> None:
    """Delete what is too old again and again, until ``stop`` is set.

    :param swept: set when objects are to be deleted.
    """
    while not stop.is_set():
        try:
            expired = await expire(engine, retention)
        except (SQLAlchemyError, KinemeshError) as error:
            _log.warning("expiry waits", error=type(error).__name__)
        else:
            if expired.jobs or expired.uploads:
                _log.info("deleted by age", jobs=expired.jobs, uploads=expired.uploads)
                swept.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(_INTERVAL_S, 10 * retention.sweep_interval_s))


async def _expire_jobs(engine: AsyncEngine, age: timedelta, late_s: float, count_only: bool) -> int:
    old = select(jobs_table.c.job_id).where(
        jobs_table.c.state.in_(jobs.ENDED), jobs_table.c.update_time < func.now() - age
    )
    if count_only:
        return await _count(engine, old)
    batch = old.order_by(jobs_table.c.update_time).limit(_BATCH).with_for_update(skip_locked=True)
    count, full = 0, True
    while full:
        async with engine.begin() as connection:
            due = list((await connection.execute(batch)).scalars())
            for job_id in due:
                await jobs.remove(connection, job_id)
                await sweeps.order(connection, keys.job_prefix(job_id), job_id=job_id, delays_s=(0.0, late_s))
        count, full = count + len(due), len(due) == _BATCH
    return count


def _unused_uploads(age: timedelta) -> Select[Any]:
    """Media that no job, session, attempt or reference image names, as far as columns tell."""
    table = assets_table
    naming = (
        job_inputs.c.asset_id,
        match_jobs.c.image_asset_id,
        sessions.c.asset_id,
        attempts.c.asset_id,
        reference_images.c.asset_id,
    )
    return select(table.c.asset_id).where(
        table.c.state.in_((assets.READY, assets.REJECTED)),
        table.c.update_time < func.now() - age,
        *(~exists().where(column == table.c.asset_id) for column in naming),
    )


async def _expire_uploads(engine: AsyncEngine, age: timedelta, late_s: float, count_only: bool) -> int:
    old = _unused_uploads(age)
    if count_only:
        return await _count_uploads(engine, old)
    count, last, full = 0, "", True
    while full:
        async with engine.begin() as connection:
            batch = old.where(assets_table.c.asset_id > last).order_by(assets_table.c.asset_id).limit(_BATCH)
            due = list((await connection.execute(batch.with_for_update(skip_locked=True))).scalars())
            for asset_id in due:
                if await assets.remove_unless_used(connection, asset_id):
                    await sweeps.order(connection, keys.asset_prefix(asset_id), delays_s=(0.0, late_s))
                    count += 1
        # Environments name media in their documents: those stay, and the next batch begins after them.
        last, full = (due[-1] if due else last), len(due) == _BATCH
    return count


async def _count_uploads(engine: AsyncEngine, old: Select[Any]) -> int:
    """How many would go, found by deleting them in a transaction that is taken back."""
    async with engine.connect() as connection:
        due = list((await connection.execute(old)).scalars())
        gone = [await assets.remove_unless_used(connection, asset_id) for asset_id in due]
        await connection.rollback()
    return sum(gone)


async def _expire_requests(engine: AsyncEngine, age: timedelta, _late_s: float, count_only: bool) -> int:
    key = (requests.c.owner, requests.c.method, requests.c.request_id)
    old: Select[Any] = select(*key).where(requests.c.create_time < func.now() - age)
    if count_only:
        return await _count(engine, old)
    batch = old.limit(_REQUESTS_BATCH).with_for_update(skip_locked=True)
    count, full = 0, True
    while full:
        async with engine.begin() as connection:
            gone = (await connection.execute(delete(requests).where(tuple_(*key).in_(batch)))).rowcount
        count, full = count + gone, gone == _REQUESTS_BATCH
    return count


async def _count(engine: AsyncEngine, query: Select[Any]) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(query.subquery())) or 0)
