"""The connection to PostgreSQL: a bounded pool, deadlines for statements and locks, and which failures pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from kinemesh.errors import KinemeshError, Unavailable
from kinemesh_ingest.catalogue.measuring import measure
from kinemesh_ingest.catalogue.schema import HEAD, migrate, require_newest
from kinemesh_ingest.settings import DatabaseSettings

_WATCHED_S: Final = 2.0
# A peer that vanished without a word is noticed within a minute, on either side: its locks must not outlive it.
_KEEPALIVES: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@asynccontextmanager
async def open_database(settings: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    """Migrate to the newest schema, or see that it is the newest, then hold a pool of connections.

    What may pass (a lost connection, a deadlock, a statement that took too long) is raised as ``Unavailable``
    (CATALOGUE_UNAVAILABLE); its transaction changed nothing.

    :raises FailedPrecondition: SCHEMA_TOO_NEW, SCHEMA_TOO_OLD.
    """
    url = settings.url.get_secret_value()
    await (asyncio.to_thread(migrate, url, HEAD) if settings.migrate else asyncio.to_thread(require_newest, url))
    server = {
        "statement_timeout": int(settings.timeout_s * 1000),
        "lock_timeout": int(settings.lock_s * 1000),
        "idle_in_transaction_session_timeout": int(settings.idle_transaction_s * 1000),
        **{f"tcp_{name}": value for name, value in _KEEPALIVES.items()},
    }
    engine = create_async_engine(
        url,
        pool_size=settings.connections,
        max_overflow=settings.overflow,
        pool_timeout=settings.timeout_s,
        pool_recycle=settings.recycle_s,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(2, int(settings.timeout_s)),
            "application_name": "kinemesh-ingest",
            "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
            **_KEEPALIVES,
        },
    )
    measure(engine, settings.connections + settings.overflow)
    event.listen(engine.sync_engine, "handle_error", _tell_what_passes, retval=True)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def alone(engine: AsyncEngine, lock: int) -> AsyncIterator[bool]:
    """Whether nobody else is at it. The lock goes with the connection, and so with the process.

    :raises TimeoutError: within the block, as soon as the connection is lost, since somebody else may have begun.
    """
    async with engine.connect() as plain, asyncio.timeout(None) as limit:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        mine = bool(await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": lock}))
        ended = asyncio.Event()
        watching = asyncio.create_task(_watch(connection, limit, ended)) if mine else None
        try:
            yield mine
        finally:
            ended.set()
            if watching is not None:
                await watching
                with contextlib.suppress(SQLAlchemyError, KinemeshError):
                    await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": lock})


async def _watch(connection: AsyncConnection, limit: asyncio.Timeout, ended: asyncio.Event) -> None:
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _WATCHED_S)
            return
        try:
            await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, KinemeshError):
            limit.reschedule(asyncio.get_running_loop().time())
            return


def _tell_what_passes(context: ExceptionContext) -> Exception | None:
    # A ping before use is SQLAlchemy's own matter: what it finds lost it replaces.
    if context.is_pre_ping or not isinstance(context.original_exception, psycopg.OperationalError):
        return None
    return Unavailable("CATALOGUE_UNAVAILABLE", "The catalogue does not answer now; nothing was changed.")


async def answers(engine: AsyncEngine) -> bool:
    """Whether the database answers."""
    async with engine.connect() as connection:
        return bool(await connection.scalar(text("SELECT 1")))
