"""Attempts in the catalogue, and which jobs read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.owned import find_all_owned, find_owned
from kinemesh_ingest.catalogue.tables import AnyRow, attempt_jobs, attempts


async def add(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert an attempt."""
    row: AnyRow = (await connection.execute(insert(attempts).values(**values).returning(attempts))).one()
    return row


async def find(connection: AsyncConnection, attempt_id: str, owner: str, *, lock: bool = False) -> AnyRow:
    """An attempt of this owner; somebody else's is as unknown as one that does not exist.

    :raises NotFound: ATTEMPT_NOT_FOUND.
    """
    return await find_owned(connection, attempts.c.attempt_id, attempt_id, owner, lock=lock)


async def find_all(
    connection: AsyncConnection, attempt_ids: Sequence[str], owner: str, *, hold: bool = False
) -> list[AnyRow]:
    """Attempts of this owner, in the order of ``attempt_ids``.

    :param hold: keeps them from being deleted before the transaction ends.
    :raises NotFound: ATTEMPT_NOT_FOUND.
    """
    return await find_all_owned(connection, attempts.c.attempt_id, attempt_ids, owner, hold=hold)


async def lock(connection: AsyncConnection, condition: ColumnElement[bool]) -> list[AnyRow]:
    """The attempts that meet a condition, held until the transaction ends."""
    query = select(attempts).where(condition).order_by(attempts.c.attempt_id).with_for_update()
    return list((await connection.execute(query)).all())


async def change(connection: AsyncConnection, attempt_id: str, **values: Any) -> AnyRow:
    """Set columns of an attempt."""
    statement = update(attempts).where(attempts.c.attempt_id == attempt_id)
    changed = statement.values(update_time=func.now(), **values).returning(attempts)
    row: AnyRow = (await connection.execute(changed)).one()
    return row


async def note(connection: AsyncConnection, attempt_id: str, **values: Any) -> None:
    """Set what a job found; one that has been deleted meanwhile is left alone."""
    statement = update(attempts).where(attempts.c.attempt_id == attempt_id)
    await connection.execute(statement.values(update_time=func.now(), **values))


async def remove(connection: AsyncConnection, attempt_ids: Collection[str]) -> None:
    """Delete attempts; their jobs and videos stay."""
    await connection.execute(delete(attempts).where(attempts.c.attempt_id.in_(attempt_ids)))


async def add_job(connection: AsyncConnection, job_id: str, attempt_ids: Iterable[str]) -> None:
    """Note which attempts a job reads."""
    rows = [{"job_id": job_id, "attempt_id": attempt_id} for attempt_id in attempt_ids]
    if rows:
        await connection.execute(insert(attempt_jobs), rows)


async def jobs_of(connection: AsyncConnection, condition: ColumnElement[bool]) -> list[str]:
    """The jobs that read any of the attempts that meet a condition, by id."""
    query = (
        select(attempt_jobs.c.job_id)
        .join(attempts, attempts.c.attempt_id == attempt_jobs.c.attempt_id)
        .where(condition)
        .distinct()
        .order_by(attempt_jobs.c.job_id)
    )
    return list((await connection.execute(query)).scalars())


async def with_video(connection: AsyncConnection, asset_id: str) -> str | None:
    """An attempt that an asset is the video of."""
    return await connection.scalar(select(attempts.c.attempt_id).where(attempts.c.asset_id == asset_id).limit(1))
