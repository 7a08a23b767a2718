"""Attempts deleted with all that hangs on them."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh import errors
from kinemesh.storage import keys
from kinemesh_ingest.catalogue import assets, attempts, jobs, sweeps
from kinemesh_ingest.conductor import Conductor


async def remove_attempts(connection: AsyncConnection, conductor: Conductor, condition: ColumnElement[bool]) -> None:
    """Delete the attempts that meet a condition: their jobs, what is kept with them, and videos that nobody else needs.

    Belongs into a transaction of the caller, who wakes the conductor after.
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
    owners = {row.asset_id: row.owner for row in rows}
    for asset_id in sorted(owners):
        await remove_asset(connection, asset_id, owners[asset_id])


async def remove_asset(connection: AsyncConnection, asset_id: str, owner: str) -> None:
    """Delete an asset with its objects, unless something else needs it."""
    await assets.find(connection, asset_id, owner, lock=True)
    if await assets.remove_unless_used(connection, asset_id):
        await sweeps.order(connection, keys.asset_prefix(asset_id))
