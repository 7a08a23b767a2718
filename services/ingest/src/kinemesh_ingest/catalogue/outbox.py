"""What other services must learn, kept in the same transaction as the change itself, and published after it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import structlog
from google.protobuf.message import Message
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh.bus.connection import Bus
from kinemesh.errors import Unavailable
from kinemesh_ingest.catalogue.tables import outbox

_BATCH = 100
_IDLE_S = 1.0
# One pump at a time over all replicas: a job's events must leave in the order of its changes.
_LOCK = 0x6B696E65

_log = structlog.get_logger()


async def put(
    connection: AsyncConnection, subject: str, message: Message, message_id: str, headers: Mapping[str, str]
) -> None:
    """Publish a message once the transaction has been committed."""
    await connection.execute(
        insert(outbox).values(
            subject=subject,
            message_id=message_id,
            payload=message.SerializeToString(deterministic=True),
            headers=dict(headers),
        )
    )


async def pump(engine: AsyncEngine, bus: Bus, wake: asyncio.Event, stop: asyncio.Event) -> None:
    """Publish what the outbox holds, in order, until ``stop`` is set."""
    while not stop.is_set():
        wake.clear()
        try:
            await publish_all(engine, bus)
        except (SQLAlchemyError, Unavailable) as error:
            _log.warning("outbox waits", error=type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), _IDLE_S)


async def publish_all(engine: AsyncEngine, bus: Bus) -> None:
    """Publish what the outbox holds, in order, unless another process is at it.

    :raises Unavailable: when broker or catalogue do not answer.
    """
    while await _publish_batch(engine, bus):
        pass


async def _publish_batch(engine: AsyncEngine, bus: Bus) -> bool:
    async with engine.begin() as connection:
        if not await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}):
            return False
        rows = (await connection.execute(select(outbox).order_by(outbox.c.outbox_id).limit(_BATCH))).all()
        for row in rows:
            await bus.publish_bytes(row.subject, row.payload, row.message_id, row.headers)
        await connection.execute(delete(outbox).where(outbox.c.outbox_id.in_([row.outbox_id for row in rows])))
        return len(rows) == _BATCH
