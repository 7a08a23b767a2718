"""Ways through the route catalogue: the tree, kept built, and the search."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import true
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh import errors
from kinemesh.route.v1 import browse_pb2
from kinemesh_ingest.catalogue import areas, browsing
from kinemesh_ingest.catalogue.paging import by_name, page_request
from kinemesh_ingest.catalogue.tables import areas as areas_table
from kinemesh_ingest.catalogue.tables import attempts as attempts_table
from kinemesh_ingest.catalogue.tables import routes as routes_table
from kinemesh_ingest.climbing.areas import describe_areas
from kinemesh_ingest.climbing.messages import to_attempt
from kinemesh_ingest.climbing.routes import describe_routes
from kinemesh_ingest.domain.validation import check_text

_MOST_WORDS: Final = 16
_LONGEST_QUERY: Final = 200
_MOST_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Trees:
    """Answers with trees; those asked for last are kept built, each right as long as its revision is the owner's.

    Revisions lie in the database and change in the transactions that change trees, so that every replica sees it.

    :ivar kept: by owner, the one asked for last at the end.
    """

    engine: AsyncEngine
    kept: OrderedDict[str, browse_pb2.GetTreeResponse] = field(default_factory=OrderedDict)

    async def get(self, request: browse_pb2.GetTreeRequest, owner: str) -> browse_pb2.GetTreeResponse:
        async with self.engine.connect() as connection:
            etag = _etag(await browsing.revision(connection, owner))
        if request.etag == etag:
            return browse_pb2.GetTreeResponse(etag=etag, unchanged=True)
        built = self.kept.get(owner)
        if built is None or built.etag != etag:
            built = await self._build(owner)
            self.kept[owner] = built
        self.kept.move_to_end(owner)
        while len(self.kept) > _MOST_KEPT:
            self.kept.popitem(last=False)
        return built

    async def _build(self, owner: str) -> browse_pb2.GetTreeResponse:
        async with self.engine.connect() as plain:
            # Both are read as of one moment.
            connection = await plain.execution_options(isolation_level="REPEATABLE READ")
            etag = _etag(await browsing.revision(connection, owner))
            tree = await browsing.tree(connection, owner)
        response = browse_pb2.GetTreeResponse(etag=etag)
        by_id = {
            row.area_id: response.areas.add(area_id=row.area_id, display_name=row.display_name) for row in tree.areas
        }
        for row in tree.routes:
            by_id[row.area_id].routes.add(
                route_id=row.route_id,
                display_name=row.display_name,
                grade=row.grade,
                attempt_count=row.attempt_count,
            )
        return response


@dataclass(frozen=True, slots=True)
class Search:
    """Finds areas, routes and attempts by words."""

    engine: AsyncEngine

    async def find(self, request: browse_pb2.SearchCatalogueRequest, owner: str) -> browse_pb2.SearchCatalogueResponse:
        check_text("query", request.query, _LONGEST_QUERY, needed=True)
        words = request.query.split()
        if len(words) > _MOST_WORDS:
            raise errors.InvalidArgument("OUT_OF_RANGE", f"query takes at most {_MOST_WORDS} words.", field="query")
        wanted = page_request(request.page_size, request.page_token, request.skip)
        hits = browsing.hits(owner, words)
        async with self.engine.connect() as connection:
            page = await by_name(connection, hits, ("rank", "display_name", "kind", "id"), true(), wanted)
            found = await _described(connection, [(row.kind, row.id) for row in page.rows])
        return browse_pb2.SearchCatalogueResponse(hits=found, next_page_token=page.next_token, total_size=page.total)


def _etag(revision: int) -> str:
    return str(revision)


async def _described(connection: AsyncConnection, hits: list[tuple[str, str]]) -> list[browse_pb2.SearchHit]:
    """Hits with all that is known of them, in order; what has been deleted in between is left out."""
    by_kind = {kind: [name for one, name in hits if one == kind] for kind, _ in hits}
    found: dict[tuple[str, str], browse_pb2.SearchHit] = {}
    area_rows = await browsing.rows_of(connection, areas_table, "area_id", by_kind.get(browsing.AREA, []))
    for area in await describe_areas(connection, list(area_rows.values())):
        found[browsing.AREA, area.area_id] = browse_pb2.SearchHit(area=area, path=area.display_name)
    route_rows = await browsing.rows_of(connection, routes_table, "route_id", by_kind.get(browsing.ROUTE, []))
    attempt_rows = await browsing.rows_of(connection, attempts_table, "attempt_id", by_kind.get(browsing.ATTEMPT, []))
    names = await areas.names_of(connection, {*route_rows, *(row.route_id for row in attempt_rows.values())})
    for route in await describe_routes(connection, list(route_rows.values())):
        path = " / ".join(names[route.route_id])
        found[browsing.ROUTE, route.route_id] = browse_pb2.SearchHit(route=route, path=path)
    for row in attempt_rows.values():
        path = " / ".join(names[row.route_id])
        found[browsing.ATTEMPT, row.attempt_id] = browse_pb2.SearchHit(attempt=to_attempt(row), path=path)
    return [found[hit] for hit in hits if hit in found]
