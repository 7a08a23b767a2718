"""Sessions in the catalogue. Which job of one is the latest, and which made its result, follows from its jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.jobs import SUCCEEDED
from kinemesh_ingest.catalogue.owned import find_owned
from kinemesh_ingest.catalogue.tables import AnyRow, assets, jobs, session_jobs, sessions


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a session, oldest first."""

    rows: tuple[AnyRow, ...] = ()

    @property
    def latest(self) -> AnyRow | None:
        return self.rows[-1] if self.rows else None

    @property
    def result(self) -> AnyRow | None:
        """The latest that succeeded."""
        return next((row for row in reversed(self.rows) if row.state == SUCCEEDED), None)


async def add(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert a session."""
    row: AnyRow = (await connection.execute(insert(sessions).values(**values).returning(sessions))).one()
    return row


async def add_job(connection: AsyncConnection, session_id: str, job_id: str) -> None:
    """Note that a job is a session's."""
    await connection.execute(insert(session_jobs).values(session_id=session_id, job_id=job_id))


async def find(connection: AsyncConnection, session_id: str, owner: str, *, lock: bool = False) -> AnyRow:
    """A session of this owner; somebody else's is as unknown as one that does not exist.

    :raises NotFound: SESSION_NOT_FOUND.
    """
    return await find_owned(connection, sessions.c.session_id, session_id, owner, lock=lock)


async def change(connection: AsyncConnection, session_id: str, **values: Any) -> AnyRow:
    """Set columns of a session."""
    statement = update(sessions).where(sessions.c.session_id == session_id).values(update_time=func.now(), **values)
    row: AnyRow = (await connection.execute(statement.returning(sessions))).one()
    return row


async def remove(connection: AsyncConnection, session_id: str) -> None:
    """Delete a session; its jobs stay."""
    await connection.execute(delete(sessions).where(sessions.c.session_id == session_id))


async def reads(connection: AsyncConnection, asset_id: str) -> bool:
    """Whether a session has this video."""
    query = select(sessions.c.session_id).where(sessions.c.asset_id == asset_id).limit(1)
    return await connection.scalar(query) is not None


async def of_jobs(connection: AsyncConnection, job_ids: Iterable[str]) -> dict[str, str]:
    """The sessions of those jobs that have one, by job."""
    query = select(session_jobs).where(session_jobs.c.job_id.in_(list(job_ids)))
    return {row.job_id: row.session_id for row in await connection.execute(query)}


async def jobs_of(connection: AsyncConnection, session_ids: Iterable[str]) -> dict[str, Jobs]:
    """The jobs of sessions."""
    query = (
        select(session_jobs.c.session_id, jobs)
        .join(jobs, jobs.c.job_id == session_jobs.c.job_id)
        .where(session_jobs.c.session_id.in_(list(session_ids)))
        .order_by(jobs.c.create_time, jobs.c.job_id)
    )
    found: dict[str, Jobs] = {}
    for row in await connection.execute(query):
        found[row.session_id] = Jobs((*found.get(row.session_id, Jobs()).rows, row))
    return found


async def videos_of(connection: AsyncConnection, asset_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the videos of sessions are like, by asset."""
    query = select(assets.c.asset_id, assets.c.video).where(assets.c.asset_id.in_(list(asset_ids)))
    return {row.asset_id: row.video for row in await connection.execute(query)}
