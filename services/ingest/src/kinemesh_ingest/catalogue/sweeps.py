"""What is to be deleted from storage and from the broker, remembered until it has been done."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import structlog
from nats.errors import Error as NatsError
from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh.bus.connection import Bus
from kinemesh.bus.topology import EVENTS, event_subject
from kinemesh.errors import KinemeshError
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import assets, temporary
from kinemesh_ingest.catalogue.tables import sweeps
from kinemesh_ingest.settings import RetentionSettings

_log = structlog.get_logger()


async def order(
    connection: AsyncConnection, prefix: str, *, job_id: str = "", delays_s: tuple[float, ...] = (0,)
) -> None:
    """Delete all objects under ``prefix``, and the events of ``job_id`` if given, once per delay."""
    for delay in delays_s:
        await connection.execute(
            insert(sweeps).values(prefix=prefix, job_id=job_id, due_time=func.now() + timedelta(seconds=delay))
        )


async def sweep(
    engine: AsyncEngine,
    bus: Bus,
    store: ObjectStore,
    retention: RetentionSettings,
    wake: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Carry out what is due, again and again, until ``stop`` is set."""
    while not stop.is_set():
        wake.clear()
        try:
            await _abandon_uploads(
                engine, store, timedelta(hours=retention.pending_upload_hours), retention.late_sweep_s
            )
            await temporary.clean_expired(engine, store, timedelta(hours=retention.matching_hours))
            while await _sweep_one(engine, bus, store):
                pass
        except (SQLAlchemyError, NatsError, KinemeshError, TimeoutError) as error:
            _log.warning("sweep waits", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), retention.sweep_interval_s)


async def _sweep_one(engine: AsyncEngine, bus: Bus, store: ObjectStore) -> bool:
    """Do what has been due longest and no other replica is at; each on its own, since one may take minutes."""
    async with engine.begin() as connection:
        due = select(sweeps).where(sweeps.c.due_time <= func.now()).order_by(sweeps.c.sweep_id).limit(1)
        row = (await connection.execute(due.with_for_update(skip_locked=True))).one_or_none()
        if row is None:
            return False
        await store.delete_prefix(row.prefix)
        if row.job_id:
            # The last state stays, so that a worker who still holds a task learns that nobody wants it.
            for kind in ("progress", "log", "frames", "steps"):
                await bus.jetstream.purge_stream(EVENTS, subject=event_subject(row.job_id, kind))
        await connection.execute(delete(sweeps).where(sweeps.c.sweep_id == row.sweep_id))
        return True


async def _abandon_uploads(engine: AsyncEngine, store: ObjectStore, age: timedelta, late_s: float) -> None:
    async with engine.begin() as connection:
        for row in await assets.remove_abandoned(connection, age):
            if row.upload_id:
                with contextlib.suppress(KinemeshError):
                    await store.multipart.abort(keys.asset_source(row.asset_id), row.upload_id)
            await order(connection, keys.asset_prefix(row.asset_id), delays_s=(0.0, late_s))
