"""``/api/v1/routes``: routes and boulder problems, and ways through the catalogue."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from google.protobuf.duration_pb2 import Duration

from kinemesh.errors import InvalidArgument
from kinemesh.route.v1 import browse_pb2, catalogue_pb2, route_pb2
from kinemesh_gateway.domain.ranges import none_match
from kinemesh_gateway.messages import from_json, to_json
from kinemesh_gateway.rest.context import CallerDep, IdempotencyKey, PageDep, RouteId
from kinemesh_gateway.rest.errors import documented, fields_named
from kinemesh_gateway.rest.listing import listed, mask_of
from kinemesh_gateway.rest.route_resources import (
    Comparison,
    Route,
    RouteChange,
    RouteCreate,
    RouteList,
    SearchHitList,
    SomeId,
    TemporaryFiles,
    Tree,
)
from kinemesh_gateway.trees import SentTree

PATH = "/api/v1/routes"
router = APIRouter(prefix=PATH, tags=["routes"])

_MOST_COMPARED = 8
_MOST_TAG = 128
_MOST_SEC = 10 * 366 * 24 * 3600


@router.get(
    "/tree",
    response_class=Response,
    responses={
        **documented(400),
        200: {"model": Tree, "description": "The tree; `ETag` tells its state."},
        304: {"description": "The client's copy is the current one."},
    },
)
async def get_tree(call: CallerDep, request: Request) -> Response:
    """All your areas with their routes. Takes `If-None-Match`."""
    known = request.headers.get("if-none-match", "")
    tag = known.strip().removeprefix("W/").strip('"')
    kept = call.mesh.trees.of(call.owner)
    # A list of tags is no tag of ours: the tree comes, and is compared with them here.
    wanted = browse_pb2.GetTreeRequest(etag=kept.etag if kept else tag if len(tag) <= _MOST_TAG else "")
    found = await call(call.mesh.upstreams.routes.GetTree, wanted)
    etag = f'"{found.etag}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if not none_match(known or None, etag) or (found.unchanged and kept is None):
        return Response(status_code=304, headers=headers)
    if kept is None or not found.unchanged:
        # Thousands of routes take a while to be written, in which others would wait.
        kept = SentTree(found.etag, await asyncio.to_thread(_tree_json, found))
        call.mesh.trees.keep(call.owner, kept)
    return Response(kept.body, media_type="application/json", headers=headers)


@router.get("/search", response_model=SearchHitList, responses=documented(400))
async def search_catalogue(
    call: CallerDep,
    page: PageDep,
    q: Annotated[str, Query(min_length=1, max_length=200, description="words, all of which must occur")],
) -> Any:
    """Areas, routes and attempts by words in their names, descriptions, grades and notes, best first."""
    request = browse_pb2.SearchCatalogueRequest(query=q, page_size=page.limit, skip=page.offset, page_token=page.token)
    with fields_named({"query": "q"}):
        found = await call(call.mesh.upstreams.routes.SearchCatalogue, request)
    hits = ({**to_json(hit), "type": hit.WhichOneof("item")} for hit in found.hits)
    return listed("hits", hits, found, page)


@router.delete("/temporary", response_model=TemporaryFiles, responses=documented(400))
async def delete_temporary_files(
    call: CallerDep,
    key: IdempotencyKey,
    older_than_sec: Annotated[
        float | None,
        Query(ge=0, le=_MOST_SEC, allow_inf_nan=False, description="only files older than this; all when not given"),
    ] = None,
    dry_run: Annotated[bool, Query(description="only counts; nothing is deleted")] = False,
) -> Any:
    """Delete temporary files of matching that no running job needs. They also go by themselves after a while."""
    request = route_pb2.DeleteTemporaryFilesRequest(validate_only=dry_run, request_id=key)
    if older_than_sec is not None:
        request.older_than.CopyFrom(Duration(seconds=int(older_than_sec), nanos=int(older_than_sec % 1 * 1e9)))
    timeout_s = call.mesh.settings.upstreams.confirm_timeout_s
    return to_json(await call(call.mesh.upstreams.routes.DeleteTemporaryFiles, request, timeout_s))


@router.post("", status_code=201, response_model=Route, responses=documented(400, 404, 409))
async def create_route(body: RouteCreate, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Add a route to an area; 409 when the area has one of that name."""
    request = route_pb2.CreateRouteRequest(request_id=key)
    from_json(request.route, body.model_dump(), "")
    created = (await call(call.mesh.upstreams.routes.CreateRoute, request)).route
    response.headers["Location"] = f"{PATH}/{created.route_id}"
    return to_json(created)


@router.get("", response_model=RouteList, responses=documented(400, 404))
async def list_routes(
    call: CallerDep,
    page: PageDep,
    area_id: Annotated[str, Query(max_length=128, description="only routes of this area")] = "",
) -> Any:
    """Your routes, by name."""
    request = route_pb2.ListRoutesRequest(
        page_size=page.limit, skip=page.offset, page_token=page.token, area_id=area_id
    )
    found = await call(call.mesh.upstreams.routes.ListRoutes, request)
    return listed("routes", map(to_json, found.routes), found, page)


@router.get("/{route_id}", response_model=Route, responses=documented(404))
async def get_route(route_id: RouteId, call: CallerDep) -> Any:
    """One route."""
    found = await call(call.mesh.upstreams.routes.GetRoute, route_pb2.GetRouteRequest(route_id=route_id))
    return to_json(found.route)


@router.patch("/{route_id}", response_model=Route, responses=documented(400, 404, 409))
async def update_route(route_id: RouteId, body: RouteChange, call: CallerDep, key: IdempotencyKey) -> Any:
    """Change the fields that the body has; null takes a value away."""
    request = route_pb2.UpdateRouteRequest(
        route=catalogue_pb2.Route(route_id=route_id), update_mask=mask_of(body), request_id=key
    )
    from_json(request.route, body.model_dump(exclude_unset=True), "")
    return to_json((await call(call.mesh.upstreams.routes.UpdateRoute, request)).route)


@router.delete("/{route_id}", status_code=204, responses=documented(404, 409))
async def delete_route(route_id: RouteId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete a route with its attempts."""
    request = route_pb2.DeleteRouteRequest(route_id=route_id, request_id=key)
    await call(call.mesh.upstreams.routes.DeleteRoute, request, call.mesh.settings.upstreams.confirm_timeout_s)


@router.get("/{route_id}/compare", response_model=Comparison, responses=documented(400, 404, 409))
async def compare_attempts(
    route_id: RouteId,
    call: CallerDep,
    attempt_id: Annotated[
        list[SomeId],
        Query(min_length=2, max_length=_MOST_COMPARED, description="attempts at this route, each by its own"),
    ],
) -> Any:
    """The figures of two to eight attempts side by side."""
    request = browse_pb2.CompareAttemptsRequest(attempt_ids=attempt_id)
    with fields_named({"attempt_ids": "attempt_id"}):
        found = await call(call.mesh.upstreams.routes.CompareAttempts, request)
    for attempt in found.attempts:
        if attempt.route_id != route_id:
            message = "An attempt is at another route."
            raise InvalidArgument("DIFFERENT_ROUTES", message, field="attempt_id", attempt_id=attempt.attempt_id)
    return {
        "attempts": [to_json(attempt) for attempt in found.attempts],
        "rows": [
            {"metric": row.metric, "unit": row.unit, "values": [v if math.isfinite(v) else None for v in row.values]}
            for row in found.rows
        ],
    }


def _tree_json(found: browse_pb2.GetTreeResponse) -> bytes:
    areas = [
        {
            "area_id": area.area_id,
            "display_name": area.display_name,
            "routes": [
                {
                    "route_id": route.route_id,
                    "display_name": route.display_name,
                    "grade": route.grade,
                    "attempt_count": route.attempt_count,
                }
                for route in area.routes
            ],
        }
        for area in found.areas
    ]
    return json.dumps({"areas": areas}, ensure_ascii=False, separators=(",", ":")).encode()
