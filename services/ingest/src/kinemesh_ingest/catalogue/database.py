"""The connection to PostgreSQL, and its schema brought up to date."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from kinemesh_ingest.catalogue.measuring import measure
from kinemesh_ingest.settings import DatabaseSettings

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_LOCK = 0x6B696E66


@asynccontextmanager
async def open_database(settings: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    """Migrate to the newest schema, then hold a pool of connections."""
    url = settings.url.get_secret_value()
    await asyncio.to_thread(migrate, url, "head")
    timeout_ms = int(settings.timeout_s * 1000)
    engine = create_async_engine(
        url,
        pool_size=settings.connections,
        max_overflow=0,
        pool_timeout=settings.timeout_s,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": int(settings.timeout_s) or 1,
            "options": f"-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout=120000",
        },
    )
    measure(engine, settings.connections)
    try:
        yield engine
    finally:
        await engine.dispose()


def migrate(url: str, revision: str) -> None:
    """Bring the schema to a revision, up or down; one process at a time does so."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10})
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        config = _config(connection)
        current = connection.scalar(text("SELECT to_regclass('alembic_version')"))
        is_up = revision == "head" or current is None
        (command.upgrade if is_up else command.downgrade)(config, revision)
        connection.commit()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
        connection.commit()
    engine.dispose()


@asynccontextmanager
async def alone(engine: AsyncEngine, lock: int) -> AsyncIterator[bool]:
    """Whether nobody else is at it. The lock goes with the connection, and so with the process."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        mine = bool(await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": lock}))
        try:
            yield mine
        finally:
            if mine:
                with contextlib.suppress(SQLAlchemyError):
                    await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": lock})


async def answers(engine: AsyncEngine) -> bool:
    """Whether the database answers."""
    async with engine.connect() as connection:
        return bool(await connection.scalar(text("SELECT 1")))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
