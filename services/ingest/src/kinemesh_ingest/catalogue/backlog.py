"""How much waits in the catalogue, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Double, FromClause, Select, Text, cast, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue import assets as uploads
from kinemesh_ingest.catalogue.jobs import QUEUED, RUNNING
from kinemesh_ingest.catalogue.tables import AnyRow, assets, forgettings, jobs, models, outbox, sweeps


@dataclass(slots=True)
class Backlog:
    """What waits.

    :ivar jobs: number and age in seconds of the oldest, by pipeline and state, of those that have not ended.
    :ivar models: number by state.
    :ivar outbox_first: id of the outbox's next message, None if it is empty.
    """

    jobs: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    outbox: int = 0
    outbox_first: int | None = None
    sweeps: int = 0
    sweeps_oldest_s: float = 0.0
    forgettings: int = 0
    uploads: int = 0


async def read(connection: AsyncConnection) -> Backlog:
    """Count; how many jobs and assets are kept besides does not matter."""
    age = func.extract("epoch", func.now() - func.min(jobs.c.create_time))
    due = func.extract("epoch", func.now() - func.min(sweeps.c.due_time))
    query = union_all(
        _counted("jobs", jobs, age, jobs.c.pipeline, jobs.c.state)
        .where(jobs.c.state.in_((QUEUED, RUNNING)))
        .group_by(jobs.c.pipeline, jobs.c.state),
        _counted("models", models, literal(0), models.c.state, literal("")).group_by(models.c.state),
        _counted("outbox", outbox, func.min(outbox.c.outbox_id)),
        _counted("sweeps", sweeps, due).where(sweeps.c.due_time <= func.now()),
        _counted("forgettings", forgettings, literal(0)).where(~forgettings.c.done),
        _counted("uploads", assets, literal(0)).where(assets.c.state == uploads.PENDING),
    )
    found = Backlog()
    rows: Sequence[AnyRow] = (await connection.execute(query)).all()
    for what, first, second, count, value in rows:
        if what == "jobs":
            found.jobs[first, second] = count, max(value or 0.0, 0.0)
        elif what == "models":
            found.models[first] = count
        elif what == "outbox":
            found.outbox, found.outbox_first = count, None if value is None else int(value)
        elif what == "sweeps":
            found.sweeps, found.sweeps_oldest_s = count, value or 0.0
        elif what == "forgettings":
            found.forgettings = count
        else:
            found.uploads = count
    return found


def _counted(
    what: str,
    table: FromClause,
    value: ColumnElement[Any],
    first: ColumnElement[Any] | None = None,
    second: ColumnElement[Any] | None = None,
) -> Select[tuple[str, str, str, int, float | None]]:
    nothing: ColumnElement[Any] = literal("")
    named = (nothing if first is None else first, nothing if second is None else second)
    return select(
        literal(what),
        cast(named[0], Text),
        cast(named[1], Text),
        func.count(),
        cast(value, Double),
    ).select_from(table)
