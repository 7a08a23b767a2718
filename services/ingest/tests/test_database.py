"""The connection to the catalogue: what passes is told from what does not, and no lock outlives its holder."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from kinemesh.errors import FailedPrecondition, Unavailable
from kinemesh_ingest.catalogue import assets, backlog, jobs
from kinemesh_ingest.catalogue.database import alone, answers, open_database
from kinemesh_ingest.catalogue.schema import migrate, revisions
from kinemesh_ingest.settings import DatabaseSettings

LOCK = 77


@pytest.fixture(scope="module")
def url(postgres_url: str) -> Iterator[str]:
    """A database of its own, empty."""
    engine = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE connections"))
        yield make_url(postgres_url).set(database="connections").render_as_string(hide_password=False)
        connection.execute(text("DROP DATABASE connections WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    settings = DatabaseSettings(url=SecretStr(url), connections=4, timeout_s=5, lock_s=0.3)
    async with open_database(settings) as opened:
        yield opened


async def end_sessions(engine: AsyncEngine) -> None:
    """What a failover does to everyone."""
    async with engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kinemesh-ingest'"
                " AND pid <> pg_backend_pid() AND datname = current_database()"
            )
        )


async def test_what_waits_is_found_among_the_many_that_are_kept(engine: AsyncEngine) -> None:
    """Metrics and sweeps look every few seconds: what they cost must not grow with what is kept."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    async with engine.connect() as connection:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
        await backlog.read(connection)
        await jobs.unfinished(connection)
        await assets.remove_abandoned(connection, timedelta(days=1))
        event.remove(engine.sync_engine, "before_cursor_execute", note)
        # Tables so small are read whole otherwise.
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        plans = [
            "\n".join((await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)).scalars())
            for statement, parameters in asked
        ]
    found = [[name for name in ("ix_jobs_unfinished", "ix_assets_pending") if name in plan] for plan in plans]
    assert found == [["ix_jobs_unfinished", "ix_assets_pending"], ["ix_jobs_unfinished"], ["ix_assets_pending"]], plans


async def test_replicas_that_start_at_once_migrate_once(url: str) -> None:
    await asyncio.to_thread(migrate, url, "base")

    async def start() -> int:
        command = (sys.executable, "-m", "kinemesh_ingest.migrate", "upgrade")
        child = await asyncio.create_subprocess_exec(*command, env={**os.environ, "KINEMESH_DATABASE__URL": url})
        return await child.wait()

    assert await asyncio.gather(*(start() for _ in range(3))) == [0, 0, 0]
    assert revisions(url).is_newest


async def test_what_passes_is_unavailable_and_what_does_not_is_not(engine: AsyncEngine) -> None:
    row = "INSERT INTO tree_revisions VALUES ('ada', 1)"
    async with engine.begin() as one:
        await one.execute(text(row))
    async with engine.begin() as one, engine.connect() as other:
        await one.execute(text("UPDATE tree_revisions SET revision = 2"))
        with pytest.raises(Unavailable) as waited:
            await other.execute(text("UPDATE tree_revisions SET revision = 3"))
    assert waited.value.reason == "CATALOGUE_UNAVAILABLE"
    async with engine.connect() as one:
        with pytest.raises(IntegrityError):
            await one.execute(text(row))
    async with engine.connect() as one:
        await one.execute(text("SELECT 1"))
        await end_sessions(engine)
        with pytest.raises(Unavailable):
            await one.execute(text("SELECT 1"))
    assert await answers(engine)


async def test_whoever_loses_the_lock_stops_before_another_has_begun(engine: AsyncEngine) -> None:
    began = asyncio.Event()

    async def work() -> None:
        async with alone(engine, LOCK) as mine:
            assert mine
            began.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await began.wait()
    async with alone(engine, LOCK) as mine:
        assert not mine
    await end_sessions(engine)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(working, 30)
    async with alone(engine, LOCK) as mine:
        assert mine


async def test_another_schema_is_refused(url: str) -> None:
    settings = DatabaseSettings(url=SecretStr(url), migrate=False)
    await asyncio.to_thread(migrate, url, "0002")
    with pytest.raises(FailedPrecondition) as old:
        async with open_database(settings):
            pass
    assert old.value.reason == "SCHEMA_TOO_OLD"
    assert old.value.metadata["current"] == "0002"
    await asyncio.to_thread(migrate, url, "head")
    async with open_database(settings) as engine:
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9000'"))
        for migrating in (False, True):
            with pytest.raises(FailedPrecondition) as new:
                async with open_database(settings.model_copy(update={"migrate": migrating})):
                    pass
            assert new.value.reason == "SCHEMA_TOO_NEW"
        async with engine.begin() as connection:
            newest = revisions(url).newest
            await connection.execute(text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest})
