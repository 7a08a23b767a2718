"""Assets in the catalogue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import FailedPrecondition, NotFound
from kinemesh_ingest.catalogue.jobs import ENDED
from kinemesh_ingest.catalogue.tables import AnyRow, assets, job_inputs, jobs

PENDING: Final = "PENDING"
READY: Final = "READY"
REJECTED: Final = "REJECTED"


async def add(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert an asset, PENDING."""
    row: AnyRow = (await connection.execute(insert(assets).values(state=PENDING, **values).returning(assets))).one()
    return row


async def find(connection: AsyncConnection, asset_id: str, owner: str, *, lock: bool = False) -> AnyRow:
    """An asset of this owner; somebody else's is as unknown as one that does not exist.

    :raises NotFound: ASSET_NOT_FOUND.
    """
    query = select(assets).where(assets.c.asset_id == asset_id, assets.c.owner == owner)
    row: AnyRow | None = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound("ASSET_NOT_FOUND", "There is no such asset.", asset_id=asset_id)
    return row


async def settle(connection: AsyncConnection, asset_id: str, **values: Any) -> AnyRow:
    """Set what the check of an upload found."""
    change = update(assets).where(assets.c.asset_id == asset_id).values(update_time=func.now(), **values)
    row: AnyRow = (await connection.execute(change.returning(assets))).one()
    return row


async def remove(connection: AsyncConnection, asset_id: str) -> None:
    """Delete an asset that no unfinished job reads.

    :raises FailedPrecondition: ASSET_IN_USE.
    """
    reading = (
        select(job_inputs.c.job_id)
        .join(jobs, jobs.c.job_id == job_inputs.c.job_id)
        .where(job_inputs.c.asset_id == asset_id, jobs.c.state.not_in(ENDED))
        .limit(1)
    )
    job_id = await connection.scalar(reading)
    if job_id is not None:
        raise FailedPrecondition("ASSET_IN_USE", "A job that has not ended reads this asset.", job_id=job_id)
    await connection.execute(delete(assets).where(assets.c.asset_id == asset_id))


async def remove_abandoned(connection: AsyncConnection, age: timedelta) -> list[AnyRow]:
    """Delete uploads that were announced long ago and never confirmed."""
    unread = ~exists().where(job_inputs.c.asset_id == assets.c.asset_id)
    change = delete(assets).where(assets.c.state == PENDING, assets.c.create_time < func.now() - age, unread)
    return list((await connection.execute(change.returning(assets.c.asset_id, assets.c.upload_id))).all())
