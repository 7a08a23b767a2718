"""What jobs that match attempts leave between their stages, and nobody needs once they have ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue.jobs import ENDED
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.tables import jobs, match_jobs

_PAGE: Final = 1000
_BATCH: Final = 20


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Files that were deleted, or would be: how many, their bytes, and how many stay."""

    files: int = 0
    bytes: int = 0
    left: int = 0


async def ended_jobs(connection: AsyncConnection, owner: str) -> list[str]:
    """The owner's jobs that have ended and may have files left between their stages."""
    query = (
        select(jobs.c.job_id)
        .join(match_jobs, match_jobs.c.job_id == jobs.c.job_id)
        .where(belongs_to(jobs, owner), jobs.c.state.in_(ENDED), ~match_jobs.c.cleaned)
        .order_by(jobs.c.job_id)
    )
    return list((await connection.execute(query)).scalars())


async def clean(store: ObjectStore, job_id: str, before: datetime | None, *, count_only: bool = False) -> Cleaned:
    """Delete everything that a job wrote but its output.

    :param before: spares files that were written since.
    """
    total, last = Cleaned(), None
    while found := await store.list_objects(keys.job_prefix(job_id), limit=_PAGE, start_after=last):
        last = found[-1].key
        between = [entry for entry in found if not entry.key.startswith(keys.output_prefix(job_id))]
        old = [entry for entry in between if before is None or (entry.modified is not None and entry.modified < before)]
        if not count_only:
            await store.delete(entry.key for entry in old)
        total = Cleaned(
            total.files + len(old),
            total.bytes + sum(entry.size for entry in old),
            total.left + len(between) - len(old),
        )
    return total


async def note(connection: AsyncConnection, job_id: str) -> None:
    """Remember that a job has no files left between its stages."""
    await connection.execute(update(match_jobs).where(match_jobs.c.job_id == job_id).values(cleaned=True))


async def clean_expired(engine: AsyncEngine, store: ObjectStore, age: timedelta) -> None:
    """Delete what jobs, whoever owns them, that ended so long ago left between their stages."""
    expired = (
        select(match_jobs.c.job_id)
        .join(jobs, jobs.c.job_id == match_jobs.c.job_id)
        .where(jobs.c.state.in_(ENDED), ~match_jobs.c.cleaned, jobs.c.update_time < func.now() - age)
        .limit(_BATCH)
        .with_for_update(of=match_jobs, skip_locked=True)
    )
    full = True
    while full:
        async with engine.begin() as connection:
            due = list((await connection.execute(expired)).scalars())
            for job_id in due:
                await clean(store, job_id, None)
                await note(connection, job_id)
        full = len(due) == _BATCH
