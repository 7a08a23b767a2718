"""``/api/v1/routes/attempts`` and ``/api/v1/routes/{route_id}/attempts``: goes at routes, and what they keep."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from kinemesh.route.v1 import browse_pb2, catalogue_pb2, route_pb2
from kinemesh_gateway.domain.files import suffix
from kinemesh_gateway.messages import from_json, to_json
from kinemesh_gateway.rest.content import CONTENT_RESPONSES, serve_object
from kinemesh_gateway.rest.context import AttemptId, Caller, CallerDep, IdempotencyKey, PageDep, RouteId
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.listing import listed, mask_of
from kinemesh_gateway.rest.route_resources import (
    Attempt,
    AttemptChange,
    AttemptCreate,
    AttemptList,
    RecentAttemptList,
)

PATH = "/api/v1/routes/attempts"
router = APIRouter(prefix="/api/v1/routes", tags=["routes"])

_PARQUET = "application/vnd.apache.parquet"
_FILE: dict[int | str, dict[str, Any]] = {**documented(404, 409), **CONTENT_RESPONSES}


@router.get("/attempts/recent", response_model=RecentAttemptList, responses=documented(400))
async def list_recent_attempts(call: CallerDep, page: PageDep) -> Any:
    """Your attempts over all routes, last added first."""
    request = browse_pb2.ListRecentAttemptsRequest(page_size=page.limit, skip=page.offset, page_token=page.token)
    found = await call(call.mesh.upstreams.routes.ListRecentAttempts, request)
    recent = (
        {**to_json(item.attempt), "route_name": item.route_name, "area_name": item.area_name} for item in found.attempts
    )
    return listed("attempts", recent, found, page)


@router.get("/attempts/{attempt_id}", response_model=Attempt, responses=documented(404))
async def get_attempt(attempt_id: AttemptId, call: CallerDep) -> Any:
    """One attempt."""
    request = route_pb2.GetAttemptRequest(attempt_id=attempt_id)
    return to_json((await call(call.mesh.upstreams.routes.GetAttempt, request)).attempt)


@router.patch("/attempts/{attempt_id}", response_model=Attempt, responses=documented(400, 404, 409))
async def update_attempt(attempt_id: AttemptId, body: AttemptChange, call: CallerDep, key: IdempotencyKey) -> Any:
    """Change the fields that the body has; null takes a value away."""
    request = route_pb2.UpdateAttemptRequest(
        attempt=catalogue_pb2.Attempt(attempt_id=attempt_id), update_mask=mask_of(body), request_id=key
    )
    from_json(request.attempt, body.model_dump(exclude_unset=True), "")
    return to_json((await call(call.mesh.upstreams.routes.UpdateAttempt, request)).attempt)


@router.delete("/attempts/{attempt_id}", status_code=204, responses=documented(404, 409))
async def delete_attempt(attempt_id: AttemptId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete an attempt with its video, poses, features and jobs."""
    request = route_pb2.DeleteAttemptRequest(attempt_id=attempt_id, request_id=key)
    await call(call.mesh.upstreams.routes.DeleteAttempt, request)


@router.api_route("/attempts/{attempt_id}/video", methods=["GET"], response_class=Response, responses=_FILE)
@router.api_route("/attempts/{attempt_id}/video", methods=["HEAD"], include_in_schema=False)
async def get_attempt_video(attempt_id: AttemptId, call: CallerDep, request: Request) -> Response:
    """The video as it was uploaded. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    return await _serve(call, request, attempt_id, route_pb2.ATTEMPT_DATA_VIDEO)


@router.api_route("/attempts/{attempt_id}/poses", methods=["GET"], response_class=Response, responses=_FILE)
@router.api_route("/attempts/{attempt_id}/poses", methods=["HEAD"], include_in_schema=False)
async def get_attempt_poses(attempt_id: AttemptId, call: CallerDep, request: Request) -> Response:
    """The climber's poses in the video, as Parquet. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    return await _serve(call, request, attempt_id, route_pb2.ATTEMPT_DATA_POSES, "-poses.parquet")


@router.api_route("/attempts/{attempt_id}/features", methods=["GET"], response_class=Response, responses=_FILE)
@router.api_route("/attempts/{attempt_id}/features", methods=["HEAD"], include_in_schema=False)
async def get_attempt_features(attempt_id: AttemptId, call: CallerDep, request: Request) -> Response:
    """The video's SIFT features, as Parquet. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    return await _serve(call, request, attempt_id, route_pb2.ATTEMPT_DATA_FEATURES, "-features.parquet")


@router.post("/{route_id}/attempts", status_code=201, response_model=Attempt, responses=documented(400, 404, 409))
async def create_attempt(
    route_id: RouteId, body: AttemptCreate, call: CallerDep, key: IdempotencyKey, response: Response
) -> Any:
    """Add an attempt with its uploaded video to a route."""
    request = route_pb2.CreateAttemptRequest(attempt=catalogue_pb2.Attempt(route_id=route_id), request_id=key)
    from_json(request.attempt, body.model_dump(), "")
    created = (await call(call.mesh.upstreams.routes.CreateAttempt, request)).attempt
    response.headers["Location"] = f"{PATH}/{created.attempt_id}"
    return to_json(created)


@router.get("/{route_id}/attempts", response_model=AttemptList, responses=documented(400, 404))
async def list_attempts(route_id: RouteId, call: CallerDep, page: PageDep) -> Any:
    """The attempts at a route, last climbed first."""
    request = route_pb2.ListAttemptsRequest(
        route_id=route_id, page_size=page.limit, skip=page.offset, page_token=page.token
    )
    found = await call(call.mesh.upstreams.routes.ListAttempts, request)
    return listed("attempts", map(to_json, found.attempts), found, page)


async def _serve(
    call: Caller, request: Request, attempt_id: str, data: route_pb2.AttemptData.ValueType, table: str = ""
) -> Response:
    """Answer GET or HEAD with what is kept with an attempt.

    :param table: what follows the attempt's id in the name of a Parquet file; empty for the video.
    """
    wanted = route_pb2.CreateAttemptDownloadRequest(attempt_id=attempt_id, data=data)
    found = await call(call.mesh.upstreams.routes.CreateAttemptDownload, wanted)
    kind = _PARQUET if table else found.download.content_type
    return await serve_object(request, call.mesh.store, found.object_key, f"{attempt_id}{table or suffix(kind)}", kind)
