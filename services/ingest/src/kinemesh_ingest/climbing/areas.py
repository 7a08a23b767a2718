"""Areas of the route catalogue, as RouteService keeps them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh.route.v1 import catalogue_pb2, route_pb2
from kinemesh_ingest.catalogue import areas, browsing, requests
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.paging import by_name, page_request
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.catalogue.tables import areas as areas_table
from kinemesh_ingest.catalogue.tables import attempts as attempts_table
from kinemesh_ingest.climbing.messages import to_area
from kinemesh_ingest.climbing.removal import remove_attempts, remove_videos
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.validation import check_text
from kinemesh_ingest.masks import changed_fields

LONGEST_NAME: Final = 200
LONGEST_TEXT: Final = 10_000
_CHANGEABLE: Final = ("display_name", "description")


@dataclass(frozen=True, slots=True)
class Areas:
    """Keeps areas."""

    engine: AsyncEngine
    conductor: Conductor

    async def create(self, request: route_pb2.CreateAreaRequest, owner: str) -> route_pb2.CreateAreaResponse:
        given = request.area
        check_text("display_name", given.display_name, LONGEST_NAME, needed=True)
        check_text("description", given.description, LONGEST_TEXT, lines=True)
        area_id = uuid.uuid4().hex
        async with self.engine.begin() as connection:
            first = await requests.claim(connection, owner, "CreateArea", request.request_id, area_id)
            if first is not None:
                row = await areas.find_area(connection, first, owner)
            else:
                row = await areas.add_area(
                    connection,
                    area_id=area_id,
                    owner=owner,
                    display_name=given.display_name.strip(),
                    description=given.description,
                )
                await browsing.bump(connection, owner)
            return route_pb2.CreateAreaResponse(area=await _describe(connection, row))

    async def get(self, request: route_pb2.GetAreaRequest, owner: str) -> route_pb2.GetAreaResponse:
        async with self.engine.connect() as connection:
            row = await areas.find_area(connection, request.area_id, owner)
            return route_pb2.GetAreaResponse(area=await _describe(connection, row))

    async def list(self, request: route_pb2.ListAreasRequest, owner: str) -> route_pb2.ListAreasResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        async with self.engine.connect() as connection:
            page = await by_name(
                connection, areas_table, ("display_name", "area_id"), belongs_to(areas_table, owner), wanted
            )
            described = await describe_areas(connection, page.rows)
        return route_pb2.ListAreasResponse(areas=described, next_page_token=page.next_token, total_size=page.total)

    async def update(self, request: route_pb2.UpdateAreaRequest, owner: str) -> route_pb2.UpdateAreaResponse:
        given = request.area
        fields = changed_fields(given, request.update_mask.paths, _CHANGEABLE)
        if "display_name" in fields:
            check_text("display_name", given.display_name, LONGEST_NAME, needed=True)
        check_text("description", given.description, LONGEST_TEXT, lines=True)
        values = {field: str(getattr(given, field)) for field in fields}
        if "display_name" in values:
            values["display_name"] = values["display_name"].strip()
        async with self.engine.begin() as connection:
            row = await areas.find_area(connection, given.area_id, owner, lock=True)
            first = await requests.claim(connection, owner, "UpdateArea", request.request_id, row.area_id)
            if first is None and values:
                row = await areas.change_area(connection, row.area_id, **values)
                await browsing.bump(connection, owner)
            return route_pb2.UpdateAreaResponse(area=await _describe(connection, row))

    async def delete(self, request: route_pb2.DeleteAreaRequest, owner: str) -> route_pb2.DeleteAreaResponse:
        async with self.engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteArea", request.request_id):
                return route_pb2.DeleteAreaResponse()
            row = await areas.find_area(connection, request.area_id, owner, lock=True)
            await requests.claim(connection, owner, "DeleteArea", request.request_id, row.area_id)
            await areas.lock_routes(connection, row.area_id)
            removed = await remove_attempts(connection, self.conductor, attempts_table.c.area_id == row.area_id)
            await areas.remove_area(connection, row.area_id)
            await remove_videos(connection, removed)
            await browsing.bump(connection, owner)
        self.conductor.wake()
        return route_pb2.DeleteAreaResponse()


async def describe_areas(connection: AsyncConnection, rows: list[AnyRow]) -> list[catalogue_pb2.Area]:
    """Areas as messages, with their counts."""
    counts = await areas.route_counts(connection, [row.area_id for row in rows])
    return [to_area(row, counts.get(row.area_id, 0)) for row in rows]


async def _describe(connection: AsyncConnection, row: AnyRow) -> catalogue_pb2.Area:
    return (await describe_areas(connection, [row]))[0]
