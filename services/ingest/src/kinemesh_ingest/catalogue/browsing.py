"""The tree of areas and routes, its revisions, and the search through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Select, Subquery, Table, and_, case, func, literal, select, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.tables import AnyRow, areas, attempts, routes, tree_revisions

AREA: Final = "area"
ROUTE: Final = "route"
ATTEMPT: Final = "attempt"


@dataclass(frozen=True, slots=True)
class Tree:
    """An owner's areas by name, and their routes by name, with ``attempt_count``."""

    areas: list[AnyRow]
    routes: list[AnyRow]


async def bump(connection: AsyncConnection, owner: str) -> None:
    """Say that the owner's tree changes, at the end of the transaction that changes it: others wait for the row."""
    new = insert(tree_revisions).values(owner=owner, revision=1)
    again = new.on_conflict_do_update(
        index_elements=[tree_revisions.c.owner], set_={"revision": tree_revisions.c.revision + 1}
    )
    await connection.execute(again)


async def revision(connection: AsyncConnection, owner: str) -> int:
    """The revision of the owner's tree; the same as long as nothing in it has changed."""
    query = select(tree_revisions.c.revision).where(belongs_to(tree_revisions, owner))
    return int(await connection.scalar(query) or 0)


async def tree(connection: AsyncConnection, owner: str) -> Tree:
    """The whole tree of an owner."""
    counted = (
        select(attempts.c.route_id, func.count().label("attempt_count"))
        .where(belongs_to(attempts, owner))
        .group_by(attempts.c.route_id)
        .subquery()
    )
    below = (
        select(
            routes.c.route_id,
            routes.c.area_id,
            routes.c.display_name,
            routes.c.grade,
            func.coalesce(counted.c.attempt_count, 0).label("attempt_count"),
        )
        .outerjoin(counted, counted.c.route_id == routes.c.route_id)
        .where(belongs_to(routes, owner))
        .order_by(routes.c.display_name, routes.c.route_id)
    )
    above = select(areas.c.area_id, areas.c.display_name).where(belongs_to(areas, owner))
    above = above.order_by(areas.c.display_name, areas.c.area_id)
    return Tree(list((await connection.execute(above)).all()), list((await connection.execute(below)).all()))


def hits(owner: str, words: Sequence[str]) -> Subquery:
    """What of an owner's catalogue holds all words, in whatever case: columns rank, display_name, kind, id.

    A rank of "0" has them all in its name.
    """
    found = [
        _hits(areas, AREA, areas.c.area_id, [areas.c.description], owner, words),
        _hits(routes, ROUTE, routes.c.route_id, [routes.c.description, routes.c.grade], owner, words),
        _hits(attempts, ATTEMPT, attempts.c.attempt_id, [attempts.c.notes], owner, words),
    ]
    return union_all(*found).subquery()


async def rows_of(connection: AsyncConnection, table: Table, key: str, ids: Sequence[str]) -> dict[str, AnyRow]:
    """Rows of areas, routes or attempts by id."""
    query = select(table).where(table.c[key].in_(ids))
    return {getattr(row, key): row for row in await connection.execute(query)}


def _hits(
    table: Table,
    kind: str,
    key: ColumnElement[str],
    more: Sequence[ColumnElement[str]],
    owner: str,
    words: Sequence[str],
) -> Select[tuple[str, str, str, str]]:
    name = table.c.display_name
    whole: ColumnElement[str] = func.concat_ws("\n", name, *more)
    rank = case((_all_in(name, words), literal("0")), else_=literal("1")).label("rank")
    query = select(rank, name.label("display_name"), literal(kind).label("kind"), key.label("id"))
    return query.where(belongs_to(table, owner), _all_in(whole, words))


def _all_in(text: ColumnElement[str], words: Sequence[str]) -> ColumnElement[bool]:
    return and_(*(text.ilike(f"%{_escaped(word)}%", escape="\\") for word in words))


def _escaped(word: str) -> str:
    """A word in which nothing stands for anything else."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
