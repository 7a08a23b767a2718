"""Environments in the catalogue: one row each, with all that its owner says of it as a document."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_ignore
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import AlreadyExists, FailedPrecondition
from kinemesh_ingest.catalogue.jobs import ENDED
from kinemesh_ingest.catalogue.owned import find_owned
from kinemesh_ingest.catalogue.tables import AnyRow, environment_jobs, environments, jobs


async def add(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert an environment.

    :raises AlreadyExists: ENVIRONMENT_EXISTS.
    """
    new = insert_or_ignore(environments).values(**values).on_conflict_do_nothing().returning(environments)
    row: AnyRow | None = (await connection.execute(new)).one_or_none()
    if row is None:
        environment_id = values["environment_id"]
        raise AlreadyExists("ENVIRONMENT_EXISTS", "An environment of this id exists.", environment_id=environment_id)
    return row


async def find(connection: AsyncConnection, environment_id: str, owner: str, *, lock: bool = False) -> AnyRow:
    """An environment of this owner; somebody else's is as unknown as one that does not exist.

    :raises NotFound: ENVIRONMENT_NOT_FOUND.
    """
    return await find_owned(connection, environments.c.environment_id, environment_id, owner, lock=lock)


async def change(connection: AsyncConnection, key: int, **values: Any) -> AnyRow:
    """Set columns of an environment."""
    statement = update(environments).where(environments.c.environment_key == key)
    changed = statement.values(update_time=func.now(), **values).returning(environments)
    row: AnyRow = (await connection.execute(changed)).one()
    return row


async def remove(connection: AsyncConnection, row: AnyRow) -> None:
    """Delete an environment with its gallery; jobs stay.

    :raises FailedPrecondition: ENVIRONMENT_IN_USE.
    """
    using = (
        select(jobs.c.job_id)
        .join(environment_jobs, environment_jobs.c.job_id == jobs.c.job_id)
        .where(environment_jobs.c.environment_key == row.environment_key, jobs.c.state.not_in(ENDED))
    )
    job_id = await connection.scalar(using.limit(1))
    if job_id is not None:
        raise FailedPrecondition("ENVIRONMENT_IN_USE", "A job that has not ended uses this environment.", job_id=job_id)
    await connection.execute(delete(environments).where(environments.c.environment_key == row.environment_key))


async def add_job(connection: AsyncConnection, key: int, job_id: str) -> None:
    """Note that a job uses an environment."""
    await connection.execute(insert(environment_jobs).values(environment_key=key, job_id=job_id))


async def reading(connection: AsyncConnection, asset_id: str) -> str | None:
    """An environment that an asset belongs to."""
    recording = {"cameras": [{"sub_videos": [{"asset_id": asset_id}]}]}
    picture = {"ground_plane": {"image_asset_id": asset_id}}
    document = environments.c.document
    query = select(environments.c.environment_id).where(document.contains(recording) | document.contains(picture))
    return await connection.scalar(query.limit(1))
