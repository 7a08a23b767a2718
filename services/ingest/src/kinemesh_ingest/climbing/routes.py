"""Routes of the route catalogue, as RouteService keeps them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import and_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh.route.v1 import catalogue_pb2, route_pb2
from kinemesh_ingest.catalogue import areas, browsing, references, requests
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.paging import by_name, page_request
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.catalogue.tables import attempts as attempts_table
from kinemesh_ingest.catalogue.tables import routes as routes_table
from kinemesh_ingest.climbing.areas import LONGEST_NAME, LONGEST_TEXT
from kinemesh_ingest.climbing.messages import to_route
from kinemesh_ingest.climbing.removal import remove_attempts, remove_videos
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.validation import check_text
from kinemesh_ingest.masks import changed_fields

_LONGEST_GRADE: Final = 32
_CHANGEABLE: Final = ("display_name", "description", "grade", "reference_id")


@dataclass(frozen=True, slots=True)
class Routes:
    """Keeps routes."""

    engine: AsyncEngine
    conductor: Conductor

    async def create(self, request: route_pb2.CreateRouteRequest, owner: str) -> route_pb2.CreateRouteResponse:
        given = request.route
        values = _checked(given, _CHANGEABLE)
        route_id = uuid.uuid4().hex
        async with self.engine.begin() as connection:
            first = await requests.claim(connection, owner, "CreateRoute", request.request_id, route_id)
            if first is not None:
                row = await areas.find_route(connection, first, owner)
            else:
                area = await areas.find_area(connection, given.area_id, owner, hold=True)
                await _hold_reference(connection, values, owner)
                row = await areas.add_route(connection, route_id=route_id, area_id=area.area_id, owner=owner, **values)
                await browsing.bump(connection, owner)
            return route_pb2.CreateRouteResponse(route=await _describe(connection, row))

    async def get(self, request: route_pb2.GetRouteRequest, owner: str) -> route_pb2.GetRouteResponse:
        async with self.engine.connect() as connection:
            row = await areas.find_route(connection, request.route_id, owner)
            return route_pb2.GetRouteResponse(route=await _describe(connection, row))

    async def list(self, request: route_pb2.ListRoutesRequest, owner: str) -> route_pb2.ListRoutesResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        condition = belongs_to(routes_table, owner)
        async with self.engine.connect() as connection:
            if request.area_id:
                await areas.find_area(connection, request.area_id, owner)
                condition = and_(condition, routes_table.c.area_id == request.area_id)
            page = await by_name(connection, routes_table, ("display_name", "route_id"), condition, wanted)
            described = await describe_routes(connection, page.rows)
        return route_pb2.ListRoutesResponse(routes=described, next_page_token=page.next_token, total_size=page.total)

    async def update(self, request: route_pb2.UpdateRouteRequest, owner: str) -> route_pb2.UpdateRouteResponse:
        given = request.route
        values = _checked(given, changed_fields(given, request.update_mask.paths, _CHANGEABLE))
        async with self.engine.begin() as connection:
            row = await areas.find_route(connection, given.route_id, owner, lock=True)
            first = await requests.claim(connection, owner, "UpdateRoute", request.request_id, row.route_id)
            if first is None and values:
                await _hold_reference(connection, values, owner)
                row = await areas.change_route(connection, row.route_id, **values)
                await browsing.bump(connection, owner)
            return route_pb2.UpdateRouteResponse(route=await _describe(connection, row))

    async def delete(self, request: route_pb2.DeleteRouteRequest, owner: str) -> route_pb2.DeleteRouteResponse:
        async with self.engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteRoute", request.request_id):
                return route_pb2.DeleteRouteResponse()
            row = await areas.find_route(connection, request.route_id, owner, lock=True)
            await requests.claim(connection, owner, "DeleteRoute", request.request_id, row.route_id)
            removed = await remove_attempts(connection, self.conductor, attempts_table.c.route_id == row.route_id)
            await areas.remove_route(connection, row.route_id)
            await remove_videos(connection, removed)
            await browsing.bump(connection, owner)
        self.conductor.wake()
        return route_pb2.DeleteRouteResponse()


async def describe_routes(connection: AsyncConnection, rows: list[AnyRow]) -> list[catalogue_pb2.Route]:
    """Routes as messages, with their counts."""
    counts = await areas.attempt_counts(connection, [row.route_id for row in rows])
    return [to_route(row, counts.get(row.route_id, 0)) for row in rows]


async def _describe(connection: AsyncConnection, row: AnyRow) -> catalogue_pb2.Route:
    return (await describe_routes(connection, [row]))[0]


def _checked(given: catalogue_pb2.Route, fields: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """The columns that ``fields`` set."""
    values: dict[str, Any] = {field: getattr(given, field) for field in fields}
    if "display_name" in values:
        check_text("display_name", given.display_name, LONGEST_NAME, needed=True)
        values["display_name"] = given.display_name.strip()
    if "description" in values:
        check_text("description", given.description, LONGEST_TEXT, lines=True)
    if "grade" in values:
        check_text("grade", given.grade, _LONGEST_GRADE)
        values["grade"] = given.grade.strip()
    if "reference_id" in values:
        values["reference_id"] = given.reference_id or None
    return values


async def _hold_reference(connection: AsyncConnection, values: dict[str, Any], owner: str) -> None:
    if values.get("reference_id"):
        await references.find(connection, values["reference_id"], owner, hold=True)
