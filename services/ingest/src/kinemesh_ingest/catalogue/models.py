"""Models that users brought, in the catalogue. Those of the embedded set are known to the model server alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import FailedPrecondition
from kinemesh_ingest.catalogue.jobs import ENDED
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.tables import AnyRow, jobs, models

IMPORTING: Final = "IMPORTING"
READY: Final = "READY"
REJECTED: Final = "REJECTED"
DELETING: Final = "DELETING"
MISSING: Final = "MISSING"  # READY, but the model server does not serve it

IMPORTED: Final = "IMPORTED"
MANIFEST: Final = "MANIFEST"

_NOTHING: Final = {
    "asset_id": "",
    "picture_asset_id": "",
    "labels": [],
    "colors": {},
    "licence": "",
    "sha256": "",
    "size_bytes": 0,
}
# A deletion that has not ended by then is nobody's any more.
_ABANDONED: Final = timedelta(minutes=3)


async def find(connection: AsyncConnection, name: str) -> AnyRow | None:
    """A model, whoever brought it."""
    row: AnyRow | None = (await connection.execute(select(models).where(models.c.model == name))).one_or_none()
    return row


async def visible(connection: AsyncConnection, owner: str) -> list[AnyRow]:
    """All models, those left out that somebody else imported, or could not add."""
    shared = and_(models.c.source == MANIFEST, models.c.state != REJECTED)
    query = select(models).where(or_(belongs_to(models, owner), shared), models.c.state != DELETING)
    return list((await connection.execute(query)).all())


async def names(connection: AsyncConnection) -> frozenset[str]:
    """The names of all models, whoever brought them."""
    return frozenset((await connection.execute(select(models.c.model))).scalars())


async def claim(connection: AsyncConnection, name: str, owner: str, **values: Any) -> bool:
    """Note that a model is to be imported; False if its name is taken. What was refused before makes room."""
    fresh = {**_NOTHING, "task": "detector", **values, "state": IMPORTING, "attempts": 0, "failure": None}
    statement = insert(models).values(model=name, owner=owner, **fresh)
    again = statement.on_conflict_do_update(
        index_elements=[models.c.model],
        set_={**fresh, "create_time": func.now(), "update_time": func.now()},
        where=and_(models.c.state == REJECTED, belongs_to(models, owner)),
    )
    return (await connection.execute(again.returning(models.c.model))).one_or_none() is not None


async def condemn(connection: AsyncConnection, name: str, owner: str, source: str) -> None:
    """Note that a model is to be deleted, whether the catalogue knew it or not; jobs cannot take it from now on.

    :raises FailedPrecondition: MODEL_IN_USE.
    """
    await _lock(connection, name, "pg_advisory_xact_lock")
    asked = jobs.c.parameters[jobs.c.pipeline]
    using = select(jobs.c.job_id).where(
        jobs.c.state.not_in(ENDED), or_(asked["model"].astext == name, asked["embedder"].astext == name)
    )
    job_id = await connection.scalar(using.limit(1))
    if job_id is not None:
        raise FailedPrecondition("MODEL_IN_USE", "A job that has not ended uses this model.", model=name, job_id=job_id)
    values = {**_NOTHING, "owner": owner, "source": source, "task": "", "attempts": 0, "state": DELETING}
    statement = insert(models).values(model=name, **values)
    known = statement.on_conflict_do_update(
        index_elements=[models.c.model], set_={"state": DELETING, "update_time": func.now()}
    )
    await connection.execute(known)


async def hold(connection: AsyncConnection, name: str) -> bool:
    """Keep a model that is served from being deleted until the transaction ends; False if it is being deleted."""
    await _lock(connection, name, "pg_advisory_xact_lock_shared")
    row = await find(connection, name)
    return row is None or row.state in (READY, IMPORTING)


async def change(connection: AsyncConnection, name: str, **values: Any) -> AnyRow:
    """Set columns of a model."""
    statement = update(models).where(models.c.model == name).values(update_time=func.now(), **values)
    row: AnyRow = (await connection.execute(statement.returning(models))).one()
    return row


async def remove(connection: AsyncConnection, name: str) -> None:
    """Forget a model that is being deleted."""
    await connection.execute(delete(models).where(models.c.model == name, models.c.state == DELETING))


async def next_unsettled(connection: AsyncConnection) -> AnyRow | None:
    """The model that has waited longest for its import, or whose deletion was interrupted."""
    abandoned = and_(models.c.state == DELETING, models.c.update_time < func.now() - _ABANDONED)
    query = select(models).where(or_(models.c.state == IMPORTING, abandoned))
    row: AnyRow | None = (
        await connection.execute(query.order_by(models.c.create_time, models.c.model).limit(1))
    ).one_or_none()
    return row


async def _lock(connection: AsyncConnection, name: str, function: str) -> None:
    await connection.execute(text(f"SELECT {function}(hashtextextended(:name, 0))"), {"name": f"model {name}"})
