"""Attempts deleted with all that hangs on them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh import errors
from kinemesh.storage import keys
from kinemesh_ingest.catalogue import assets, attempts, jobs, sweeps
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.conductor import Conductor


async def remove_attempts(
    connection: AsyncConnection, conductor: Conductor, condition: ColumnElement[bool]
) -> list[AnyRow]:
    """Delete the attempts that meet a condition, their jobs and what is kept with them; answers with what they were.

    Belongs into a transaction of the caller, who removes their videos last, and wakes the conductor after.
    """
    # Jobs are locked before attempts, as by whoever ends a job and notes what it found.
    for job_id in await attempts.jobs_of(connection, condition):
        with suppress(errors.NotFound):
            await jobs.find(connection, job_id, lock=True)
    rows = await attempts.lock(connection, condition)
    for job_id in await attempts.jobs_of(connection, condition):
        with suppress(errors.NotFound):
            await conductor.delete(connection, await jobs.find(connection, job_id, lock=True))
    await attempts.remove(connection, [row.attempt_id for row in rows])
    for row in rows:
        # Once more later, for a worker that was at it.
        await sweeps.order(connection, row.data_prefix, delays_s=(0.0, conductor.late_sweep_s))
    return rows


async def remove_videos(connection: AsyncConnection, removed: Sequence[AnyRow]) -> None:
    """Delete the videos of attempts that are gone, unless somebody else needs them.

    Assets are locked after reference images, as by whoever creates a job: a route that goes lets go of its images
    before this.
    """
    owners = {row.asset_id: row.owner for row in removed}
    for asset_id in sorted(owners):
        await remove_asset(connection, asset_id, owners[asset_id])


async def remove_asset(connection: AsyncConnection, asset_id: str, owner: str) -> None:
    """Delete an asset with its objects, unless something else needs it."""
    await assets.find(connection, asset_id, owner, lock=True)
    if await assets.remove_unless_used(connection, asset_id):
        await sweeps.order(connection, keys.asset_prefix(asset_id))
