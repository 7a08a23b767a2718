"""``/api/v1/routes/areas``: crags and halls."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from kinemesh.route.v1 import catalogue_pb2, route_pb2
from kinemesh_gateway.messages import from_json, to_json
from kinemesh_gateway.rest.context import AreaId, CallerDep, IdempotencyKey, PageDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.listing import listed, mask_of
from kinemesh_gateway.rest.route_resources import Area, AreaChange, AreaCreate, AreaList

PATH = "/api/v1/routes/areas"
router = APIRouter(prefix=PATH, tags=["routes"])


@router.post("", status_code=201, response_model=Area, responses=documented(400, 409))
async def create_area(body: AreaCreate, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Add an area; 409 when you have one of that name."""
    request = route_pb2.CreateAreaRequest(request_id=key)
    from_json(request.area, body.model_dump(), "")
    created = (await call(call.mesh.upstreams.routes.CreateArea, request)).area
    response.headers["Location"] = f"{PATH}/{created.area_id}"
    return to_json(created)


@router.get("", response_model=AreaList, responses=documented(400))
async def list_areas(call: CallerDep, page: PageDep) -> Any:
    """Your areas, by name."""
    request = route_pb2.ListAreasRequest(page_size=page.limit, skip=page.offset, page_token=page.token)
    found = await call(call.mesh.upstreams.routes.ListAreas, request)
    return listed("areas", map(to_json, found.areas), found, page)


@router.get("/{area_id}", response_model=Area, responses=documented(404))
async def get_area(area_id: AreaId, call: CallerDep) -> Any:
    """One area."""
    found = await call(call.mesh.upstreams.routes.GetArea, route_pb2.GetAreaRequest(area_id=area_id))
    return to_json(found.area)


@router.patch("/{area_id}", response_model=Area, responses=documented(400, 404, 409))
async def update_area(area_id: AreaId, body: AreaChange, call: CallerDep, key: IdempotencyKey) -> Any:
    """Change the fields that the body has; null takes a value away."""
    request = route_pb2.UpdateAreaRequest(
        area=catalogue_pb2.Area(area_id=area_id), update_mask=mask_of(body), request_id=key
    )
    from_json(request.area, body.model_dump(exclude_unset=True), "")
    return to_json((await call(call.mesh.upstreams.routes.UpdateArea, request)).area)


@router.delete("/{area_id}", status_code=204, responses=documented(404, 409))
async def delete_area(area_id: AreaId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete an area with its routes and their attempts."""
    request = route_pb2.DeleteAreaRequest(area_id=area_id, request_id=key)
    await call(call.mesh.upstreams.routes.DeleteArea, request, call.mesh.settings.upstreams.confirm_timeout_s)
