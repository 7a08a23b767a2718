"""Areas and their routes in the catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from kinemesh.errors import AlreadyExists
from kinemesh_ingest.catalogue.owned import find_owned
from kinemesh_ingest.catalogue.tables import AnyRow, areas, attempts, routes


async def add_area(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert an area.

    :raises AlreadyExists: AREA_EXISTS.
    """
    async with _named_once(connection, "AREA_EXISTS", "You have an area of this name.", values):
        row: AnyRow = (await connection.execute(insert(areas).values(**values).returning(areas))).one()
    return row


async def add_route(connection: AsyncConnection, **values: Any) -> AnyRow:
    """Insert a route.

    :raises AlreadyExists: ROUTE_EXISTS.
    """
    async with _named_once(connection, "ROUTE_EXISTS", "The area has a route of this name.", values):
        row: AnyRow = (await connection.execute(insert(routes).values(**values).returning(routes))).one()
    return row


async def find_area(
    connection: AsyncConnection, area_id: str, owner: str, *, lock: bool = False, hold: bool = False
) -> AnyRow:
    """An area of this owner; somebody else's is as unknown as one that does not exist.

    :param lock: for a change or a deletion.
    :param hold: keeps it from being deleted before the transaction ends.
    :raises NotFound: AREA_NOT_FOUND.
    """
    # Whoever holds a route may still refer to its area, also while that is about to be deleted.
    return await find_owned(connection, areas.c.area_id, area_id, owner, lock=lock, hold=hold, key_share=True)


async def find_route(
    connection: AsyncConnection, route_id: str, owner: str, *, lock: bool = False, hold: bool = False
) -> AnyRow:
    """A route of this owner; see :func:`find_area`.

    :raises NotFound: ROUTE_NOT_FOUND.
    """
    return await find_owned(connection, routes.c.route_id, route_id, owner, lock=lock, hold=hold, key_share=True)


async def change_area(connection: AsyncConnection, area_id: str, **values: Any) -> AnyRow:
    """Set columns of an area.

    :raises AlreadyExists: AREA_EXISTS.
    """
    statement = update(areas).where(areas.c.area_id == area_id).values(update_time=func.now(), **values)
    async with _named_once(connection, "AREA_EXISTS", "You have an area of this name.", values):
        row: AnyRow = (await connection.execute(statement.returning(areas))).one()
    return row


async def change_route(connection: AsyncConnection, route_id: str, **values: Any) -> AnyRow:
    """Set columns of a route.

    :raises AlreadyExists: ROUTE_EXISTS.
    """
    statement = update(routes).where(routes.c.route_id == route_id).values(update_time=func.now(), **values)
    async with _named_once(connection, "ROUTE_EXISTS", "The area has a route of this name.", values):
        row: AnyRow = (await connection.execute(statement.returning(routes))).one()
    return row


async def lock_routes(connection: AsyncConnection, area_id: str) -> None:
    """Keep the routes of an area as they are until the transaction ends."""
    query = select(routes.c.route_id).where(routes.c.area_id == area_id).order_by(routes.c.route_id)
    await connection.execute(query.with_for_update())


async def remove_area(connection: AsyncConnection, area_id: str) -> None:
    """Delete an area with its routes; their attempts have been deleted before."""
    await connection.execute(delete(areas).where(areas.c.area_id == area_id))


async def remove_route(connection: AsyncConnection, route_id: str) -> None:
    """Delete a route; its attempts have been deleted before."""
    await connection.execute(delete(routes).where(routes.c.route_id == route_id))


async def route_counts(connection: AsyncConnection, area_ids: Iterable[str]) -> dict[str, int]:
    """How many routes areas have; those without any are left out."""
    return await _counts(connection, routes.c.area_id, area_ids)


async def attempt_counts(connection: AsyncConnection, route_ids: Iterable[str]) -> dict[str, int]:
    """How many attempts routes have; those without any are left out."""
    return await _counts(connection, attempts.c.route_id, route_ids)


async def names_of(connection: AsyncConnection, route_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The names of routes' areas and of the routes themselves, by route."""
    query = (
        select(routes.c.route_id, areas.c.display_name.label("area"), routes.c.display_name.label("route"))
        .join(areas, areas.c.area_id == routes.c.area_id)
        .where(routes.c.route_id.in_(list(route_ids)))
    )
    return {row.route_id: (row.area, row.route) for row in await connection.execute(query)}


async def _counts(connection: AsyncConnection, key: Column[Any], ids: Iterable[str]) -> dict[str, int]:
    query = select(key, func.count()).where(key.in_(list(ids))).group_by(key)
    return {str(name): int(count) for name, count in await connection.execute(query)}


@asynccontextmanager
async def _named_once(
    connection: AsyncConnection, reason: str, message: str, values: dict[str, Any]
) -> AsyncIterator[None]:
    try:
        async with connection.begin_nested():
            yield
    except IntegrityError as error:
        raise AlreadyExists(reason, message, field="display_name", name=values.get("display_name", "")) from error
