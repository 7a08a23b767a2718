"""What of the mesh an owner uses, counted where it is kept."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, cast, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.assets import PENDING, REJECTED
from kinemesh_ingest.catalogue.jobs import CANCELLED, ENDED, FAILED
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.tables import assets, jobs

_LOCKS: Final = 0x6B71  # the class of advisory locks of which every owner has one


async def in_turn(connection: AsyncConnection, owner: str) -> None:
    """Let no other transaction count for this owner until this one ends.

    To be called when nothing else will be waited for, so that transactions cannot wait for one another in a circle.
    """
    lock = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:owner))")
    await connection.execute(lock, {"kind": _LOCKS, "owner": owner})


async def stored_bytes(connection: AsyncConnection, owner: str) -> int:
    """Bytes of assets that were not refused, as announced, and of the outputs that jobs have made and keep."""
    uploaded = select(func.coalesce(func.sum(assets.c.size_bytes), 0)).where(
        belongs_to(assets, owner), assets.c.state != REJECTED
    )
    each = func.jsonb_array_elements(jobs.c.outputs).table_valued("value").render_derived("output")
    size = cast(each.c.value.op("->>")("size_bytes"), BigInteger)
    made = (
        select(func.coalesce(func.sum(size), 0))
        .select_from(jobs.join(each, true()))
        .where(belongs_to(jobs, owner), jobs.c.state.not_in((CANCELLED, FAILED)))
    )
    return int(await connection.scalar(uploaded) or 0) + int(await connection.scalar(made) or 0)


async def pending_uploads(connection: AsyncConnection, owner: str) -> int:
    """Uploads that were announced and neither confirmed nor refused."""
    query = select(func.count()).select_from(assets).where(belongs_to(assets, owner), assets.c.state == PENDING)
    return int(await connection.scalar(query) or 0)


async def active_jobs(connection: AsyncConnection, owner: str) -> int:
    """Jobs that have not ended."""
    query = select(func.count()).select_from(jobs).where(belongs_to(jobs, owner), jobs.c.state.not_in(ENDED))
    return int(await connection.scalar(query) or 0)
