"""Whom environments know, and whom their jobs shall forget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, and_, cast, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.jobs import ENDED, SUCCEEDED
from kinemesh_ingest.catalogue.tables import (
    AnyRow,
    environment_jobs,
    environments,
    forgettings,
    identities,
    identity_jobs,
    jobs,
)

_DAYS: Final = 30
_MOST_KNOWN: Final = 10_000


def retention_of(row: AnyRow) -> timedelta:
    """How long an environment knows a person who is not seen again."""
    return timedelta(days=row.document.get("gallery", {}).get("retention_days") or _DAYS)


def is_known(row: AnyRow) -> ColumnElement[bool]:
    """What is true of the persons whom an environment still knows."""
    in_time = identities.c.remember_time > func.now() - retention_of(row)
    return and_(identities.c.environment_key == row.environment_key, in_time)


async def environment_of(connection: AsyncConnection, job_id: str, *, lock: bool = False) -> AnyRow | None:
    """The environment of a job with whether the job's people are ``remembered``; None if either is gone."""
    query = (
        select(environments, environment_jobs.c.remembered)
        .join(environment_jobs, environment_jobs.c.environment_key == environments.c.environment_key)
        .where(environment_jobs.c.job_id == job_id)
    )
    row: AnyRow | None = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return row


async def known(connection: AsyncConnection, row: AnyRow, embedder: str) -> list[AnyRow]:
    """The persons whom an environment knows by an embedder, the last seen last; not more than can be compared."""
    query = select(identities).where(is_known(row), identities.c.embedder == embedder)
    query = query.order_by(identities.c.last_seen_time.desc(), identities.c.global_id).limit(_MOST_KNOWN)
    return list((await connection.execute(query)).all())[::-1]


async def by_id(connection: AsyncConnection, key: int, global_ids: Iterable[str]) -> dict[str, AnyRow]:
    """Persons in the gallery."""
    query = select(identities).where(identities.c.environment_key == key, identities.c.global_id.in_(list(global_ids)))
    return {row.global_id: row for row in await connection.execute(query)}


async def keep(connection: AsyncConnection, people: Sequence[dict[str, Any]]) -> None:
    """Insert persons, or put them in the place of what was known of them."""
    if not people:
        return
    new = upsert(identities)
    changed = {column.name: new.excluded[column.name] for column in identities.c if not column.primary_key}
    whole = new.on_conflict_do_update(index_elements=["environment_key", "global_id"], set_=changed)
    await connection.execute(whole, list(people))


async def note(connection: AsyncConnection, job_id: str, global_ids: Sequence[str]) -> None:
    """Note who appears in a job, and that its people are remembered."""
    rows = [{"job_id": job_id, "global_id": global_id} for global_id in global_ids]
    if rows:
        await connection.execute(insert(identity_jobs), rows)
    await connection.execute(
        update(environment_jobs).where(environment_jobs.c.job_id == job_id).values(remembered=True)
    )


async def job_counts(connection: AsyncConnection, key: int, global_ids: Iterable[str]) -> dict[str, int]:
    """In how many jobs that have a result persons appear."""
    query = (
        select(identity_jobs.c.global_id, func.count())
        .join(environment_jobs, environment_jobs.c.job_id == identity_jobs.c.job_id)
        .join(jobs, jobs.c.job_id == identity_jobs.c.job_id)
        .where(
            environment_jobs.c.environment_key == key,
            identity_jobs.c.global_id.in_(list(global_ids)),
            jobs.c.state == SUCCEEDED,
        )
        .group_by(identity_jobs.c.global_id)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


async def jobs_with(connection: AsyncConnection, key: int, global_id: str) -> list[str]:
    """The jobs of an environment that have a result in which a person appears."""
    query = (
        select(identity_jobs.c.job_id)
        .join(environment_jobs, environment_jobs.c.job_id == identity_jobs.c.job_id)
        .join(jobs, jobs.c.job_id == identity_jobs.c.job_id)
        .where(
            environment_jobs.c.environment_key == key,
            identity_jobs.c.global_id == global_id,
            jobs.c.state == SUCCEEDED,
        )
    )
    return list((await connection.execute(query)).scalars())


async def forget(connection: AsyncConnection, key: int, global_id: str, with_result: Sequence[str]) -> bool:
    """Take a person out of the gallery and order that of the jobs' results; False if there was no such person.

    Jobs that have not ended may have taken the person from the gallery before: theirs is ordered as well.
    """
    condition = (identities.c.environment_key == key, identities.c.global_id == global_id)
    gone = await connection.scalar(delete(identities).where(*condition).returning(identities.c.global_id))
    if gone is None and not with_result:
        return False
    of_environment = select(environment_jobs.c.job_id).where(environment_jobs.c.environment_key == key)
    unfinished = select(jobs.c.job_id).where(jobs.c.job_id.in_(of_environment), jobs.c.state.not_in(ENDED))
    job_ids = {*with_result, *(await connection.execute(unfinished)).scalars()}
    if job_ids:
        order = upsert(forgettings).on_conflict_do_update(index_elements=["job_id", "global_id"], set_={"done": False})
        await connection.execute(order, [{"job_id": job_id, "global_id": global_id} for job_id in sorted(job_ids)])
    await connection.execute(
        delete(identity_jobs).where(identity_jobs.c.job_id.in_(of_environment), identity_jobs.c.global_id == global_id)
    )
    return True


async def forgotten(connection: AsyncConnection, job_id: str) -> frozenset[str]:
    """Whom a job shall forget."""
    query = select(forgettings.c.global_id).where(forgettings.c.job_id == job_id)
    return frozenset((await connection.execute(query)).scalars())


async def next_forgetting(connection: AsyncConnection) -> AnyRow | None:
    """A job that has ended and the person whom it shall still forget."""
    query = (
        select(forgettings.c.global_id, jobs)
        .join(jobs, jobs.c.job_id == forgettings.c.job_id)
        .where(forgettings.c.done.is_(False), jobs.c.state.in_(ENDED))
        .order_by(forgettings.c.job_id, forgettings.c.global_id)
        .limit(1)
    )
    row: AnyRow | None = (await connection.execute(query)).one_or_none()
    return row


async def settle(connection: AsyncConnection, job_id: str, global_id: str) -> None:
    """Note that a job has forgotten a person."""
    condition = (forgettings.c.job_id == job_id, forgettings.c.global_id == global_id)
    await connection.execute(update(forgettings).where(*condition).values(done=True))


async def remove_expired(connection: AsyncConnection) -> int:
    """Forget who was not seen again for as long as the environment says; answers with how many."""
    said = cast(environments.c.document["gallery"]["retention_days"].astext, Integer)
    days = func.coalesce(func.nullif(said, 0), _DAYS)
    # make_interval(years, months, weeks, days)
    age = func.make_interval(0, 0, 0, days)
    expired = delete(identities).where(
        identities.c.environment_key == environments.c.environment_key, identities.c.remember_time <= func.now() - age
    )
    return (await connection.execute(expired)).rowcount
