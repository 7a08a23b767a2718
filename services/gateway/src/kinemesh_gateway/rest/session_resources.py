"""``/api/v1/sessions``, and the calls that the product's own surface shares with it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import BaseModel, Field

from kinemesh.job.v1 import parameters_pb2
from kinemesh.session.v1 import session_pb2
from kinemesh_gateway.messages import from_json, to_json
from kinemesh_gateway.rest.content import CONTENT_RESPONSES, serve_object
from kinemesh_gateway.rest.context import Caller, CallerDep, IdempotencyKey, PageDep, SessionId
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.parameters import InstructorParameters
from kinemesh_gateway.rest.schemas import Body, Video

PATH = "/api/v1/sessions"
router = APIRouter(prefix=PATH, tags=["sessions"])


class Session(BaseModel):
    """One recorded session."""

    session_id: str
    owner: str
    display_name: str
    asset_id: str
    video: Video | None
    job_id: str = Field(description="the latest job")
    result_job_id: str = Field(description="the job that made the result; empty until there is one")
    has_instructor_tracking_result: bool
    create_time: str | None = Field(description="RFC 3339, UTC")
    update_time: str | None


class SessionList(BaseModel):
    """A page of sessions, newest first."""

    sessions: list[Session]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class SessionCreate(Body):
    """Makes a session of an uploaded video."""

    asset_id: str = Field(min_length=1, max_length=128)
    display_name: str = Field(default="", max_length=200, description="that of the file when empty")
    parameters: InstructorParameters = InstructorParameters()


class SessionChange(Body):
    """New values."""

    display_name: str = Field(min_length=1, max_length=200)


class SessionProcess(Body):
    """Asks for another run."""

    parameters: InstructorParameters | None = Field(default=None, description="those of the last time when not given")


@router.post("", status_code=202, response_model=Session, responses=documented(400, 404, 409))
async def create_session(body: SessionCreate, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Make a session and queue the job that follows its instructor."""
    session = await create(call, body.asset_id, body.display_name, _parameters(body.parameters), key)
    response.headers["Location"] = f"{PATH}/{session.session_id}"
    return to_json(session)


@router.get("", response_model=SessionList, responses=documented(400))
async def list_sessions(call: CallerDep, page: PageDep) -> Any:
    """Your sessions, newest first."""
    found = await page_of(call, page.limit, page.offset, page.token)
    return {
        "sessions": [to_json(session) for session in found.sessions],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.get("/{session_id}", response_model=Session, responses=documented(404))
async def get_session(session_id: SessionId, call: CallerDep) -> Any:
    """One session."""
    return to_json(await find(call, session_id))


@router.patch("/{session_id}", response_model=Session, responses=documented(400, 404))
async def update_session(session_id: SessionId, body: SessionChange, call: CallerDep, key: IdempotencyKey) -> Any:
    """Give a session another name."""
    request = session_pb2.UpdateSessionRequest(
        session=session_pb2.Session(session_id=session_id, display_name=body.display_name),
        update_mask=FieldMask(paths=["display_name"]),
        request_id=key,
    )
    return to_json((await call(call.mesh.upstreams.sessions.UpdateSession, request)).session)


@router.post("/{session_id}/process", status_code=202, response_model=Session, responses=documented(400, 404, 409))
async def process_session(
    session_id: SessionId, call: CallerDep, key: IdempotencyKey, body: SessionProcess | None = None
) -> Any:
    """Follow the instructor again; the result before stays until the new one is there."""
    wanted = body.parameters if body is not None else None
    return to_json(await process(call, session_id, None if wanted is None else _parameters(wanted), key))


@router.api_route(
    "/{session_id}/video",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route("/{session_id}/video", methods=["HEAD"], include_in_schema=False)
async def get_session_video(session_id: SessionId, call: CallerDep, request: Request) -> Response:
    """The session, playable in a browser. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    return await serve_video(call, request, session_id)


@router.delete("/{session_id}", status_code=204, responses=documented(404))
async def delete_session(session_id: SessionId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete a session with its video, jobs and results, cancelling what runs."""
    await remove(call, session_id, key)


async def create(
    call: Caller, asset_id: str, display_name: str, parameters: parameters_pb2.InstructorParameters, key: str = ""
) -> session_pb2.Session:
    """A session of an uploaded video, with its job queued."""
    request = session_pb2.CreateSessionRequest(
        asset_id=asset_id, display_name=display_name, parameters=parameters, request_id=key
    )
    session: session_pb2.Session = (await call(call.mesh.upstreams.sessions.CreateSession, request)).session
    return session


async def find(call: Caller, session_id: str) -> session_pb2.Session:
    """A session of the caller's."""
    request = session_pb2.GetSessionRequest(session_id=session_id)
    session: session_pb2.Session = (await call(call.mesh.upstreams.sessions.GetSession, request)).session
    return session


async def page_of(call: Caller, limit: int, offset: int, token: str) -> session_pb2.ListSessionsResponse:
    """The caller's sessions, newest first."""
    request = session_pb2.ListSessionsRequest(page_size=limit, skip=offset, page_token=token)
    found: session_pb2.ListSessionsResponse = await call(call.mesh.upstreams.sessions.ListSessions, request)
    return found


async def process(
    call: Caller, session_id: str, parameters: parameters_pb2.InstructorParameters | None, key: str
) -> session_pb2.Session:
    """The session with a new job; ``parameters`` of the last time if None."""
    request = session_pb2.ProcessSessionRequest(session_id=session_id, parameters=parameters, request_id=key)
    session: session_pb2.Session = (await call(call.mesh.upstreams.sessions.ProcessSession, request)).session
    return session


async def remove(call: Caller, session_id: str, key: str) -> None:
    """Delete a session with all it owns."""
    request = session_pb2.DeleteSessionRequest(session_id=session_id, request_id=key)
    await call(call.mesh.upstreams.sessions.DeleteSession, request)


async def serve_video(call: Caller, request: Request, session_id: str) -> Response:
    """Answer GET or HEAD with a session's video."""
    wanted = session_pb2.CreateSessionDownloadRequest(session_id=session_id)
    found = await call(call.mesh.upstreams.sessions.CreateSessionDownload, wanted)
    kind = found.download.content_type or "video/mp4"
    return await serve_object(request, call.mesh.store, found.object_key, f"{session_id}.mp4", kind)


def _parameters(wanted: InstructorParameters) -> parameters_pb2.InstructorParameters:
    parameters = parameters_pb2.InstructorParameters()
    from_json(parameters, wanted.model_dump(exclude_none=True), "parameters")
    return parameters
