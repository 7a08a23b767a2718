"""Recorded sessions and the track of who leads them: ``/sessions`` and ``/jobs``, in camelCase."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.session.v1 import session_pb2
from kinemesh_gateway.messages import STATES, state_name
from kinemesh_gateway.rest import jobs
from kinemesh_gateway.rest import session_resources as resources
from kinemesh_gateway.rest.content import CONTENT_RESPONSES
from kinemesh_gateway.rest.context import Caller, CallerDep, IdempotencyKey, JobId, PageDep, SessionId
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.forms import checked, form_document, json_field
from kinemesh_gateway.rest.multipart import Expected
from kinemesh_gateway.rest.parameters import INPUT_SIZE, InputSize, Threshold

PATH = "/sessions"
router = APIRouter(tags=["recorded sessions"])

_PIPELINE = "instructor"
_RESULT = "instructor_tracking.json"
_VIDEO = Expected(field="video")
_ACTIVE = (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_RUNNING)
_ENDED = (job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED)


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Subject(_Camel):
    """A first click on the instructor."""

    time_sec: float = Field(ge=0)
    x: float = Field(ge=0, le=1, description="fraction of the width")
    y: float = Field(ge=0, le=1, description="fraction of the height")


class ProcessSession(_Camel):
    """Whom to follow, and what finds him; as the last time when nothing is given."""

    subject: Subject | None = Field(default=None, description="the longest presence when not given")
    model: str | None = Field(default=None, max_length=64, description="detector; the default one when not given")
    threshold: Threshold | None = Field(default=None, description="least score of a box; 0.5")
    input_size: InputSize | None = Field(default=None, description=INPUT_SIZE)


class ImportMetadata(ProcessSession):
    """What comes with a video."""

    session_name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")


class Started(_Camel):
    """A job over a session waits for its turn."""

    job_id: str
    session_id: str


class InstructorJob(_Camel):
    """A job over a session."""

    job_id: str
    session_id: str | None = Field(description="null for a job that was not made for a session")
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    stage: str | None
    progress: float = Field(description="0 to 1")
    error: str | None = Field(description="why it failed")
    created_at: str | None = Field(description="RFC 3339, UTC")
    updated_at: str | None


class InstructorJobList(_Camel):
    """A page of jobs, newest first."""

    jobs: list[InstructorJob]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class SessionVideo(_Camel):
    """What a video is, as shown."""

    width: int
    height: int
    fps: float
    duration_sec: float


class RecordedSession(_Camel):
    """One session."""

    session_id: str
    session_name: str
    has_instructor_tracking_result: bool
    video_url: str | None = Field(description="plays in a browser; null until a job has made it")
    video: SessionVideo | None
    job_id: str | None = Field(description="the latest job")
    created_at: str | None = Field(description="RFC 3339, UTC")
    updated_at: str | None


class RecordedSessionList(_Camel):
    """A page of sessions, newest first."""

    sessions: list[RecordedSession]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


@router.post(
    f"{PATH}/import",
    status_code=202,
    response_model=Started,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=form_document("video", ("metadata",), metadata="`ImportMetadata` as JSON"),
)
async def import_session(request: Request, call: CallerDep) -> Any:
    """Take a recorded session and queue the job that follows its instructor."""
    uploader = request.app.state.uploader
    async with uploader.receive(request, call, _VIDEO) as form:
        if "metadata" not in form.fields:
            raise InvalidArgument("FIELD_MISSING", "The form holds no metadata.", field="metadata")
        metadata = checked(ImportMetadata, json_field(form.fields, "metadata", {}), "metadata")
        asset = await form.asset()
        session = await resources.create(call, asset.asset_id, metadata.session_name, _parameters(metadata))
    return _started(session)


@router.get(PATH, response_model=RecordedSessionList, responses=documented(400))
async def list_sessions(call: CallerDep, page: PageDep, request: Request) -> Any:
    """Your sessions, newest first."""
    found = await resources.page_of(call, page.limit, page.offset, page.token)
    return {
        "sessions": [_session(call, request, session) for session in found.sessions],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.get(PATH + "/{session_id}", response_model=RecordedSession, responses=documented(404))
async def get_session(session_id: SessionId, call: CallerDep, request: Request) -> Any:
    """One session."""
    return _session(call, request, await resources.find(call, session_id))


@router.api_route(
    PATH + "/{session_id}/results/instructor-tracking",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route(PATH + "/{session_id}/results/instructor-tracking", methods=["HEAD"], include_in_schema=False)
async def get_instructor_tracking(session_id: SessionId, call: CallerDep, request: Request) -> Response:
    """The instructor's track and its figures as JSON; 409 while there is no result."""
    session = await resources.find(call, session_id)
    if not session.has_instructor_tracking_result:
        raise FailedPrecondition("RESULT_NOT_READY", "The session has no result yet.", session_id=session_id)
    return await jobs.serve_output(call, request, session.result_job_id, _RESULT)


@router.api_route(
    PATH + "/{session_id}/video",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route(PATH + "/{session_id}/video", methods=["HEAD"], include_in_schema=False)
async def get_session_video(session_id: SessionId, call: CallerDep, request: Request) -> Response:
    """The session as H.264 MP4; 409 until a job has made it. Takes `Range`, `If-Range`, `If-None-Match`, and HEAD."""
    return await resources.serve_video(call, request, session_id)


@router.post(
    PATH + "/{session_id}/process", status_code=202, response_model=Started, responses=documented(400, 404, 409)
)
async def process_session(
    session_id: SessionId, call: CallerDep, key: IdempotencyKey, body: ProcessSession | None = None
) -> Any:
    """Follow the instructor again; the result before stays until the new one is there."""
    parameters = _parameters(body) if body is not None and body.model_fields_set else None
    return _started(await resources.process(call, session_id, parameters, key))


@router.delete(PATH + "/{session_id}", status_code=204, responses=documented(404))
async def delete_session(session_id: SessionId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete a session with its video, jobs and results, cancelling what runs."""
    await resources.remove(call, session_id, key)


@router.get("/jobs", response_model=InstructorJobList, responses=documented(400))
async def list_jobs(
    call: CallerDep,
    page: PageDep,
    active: Annotated[bool | None, Query(description="only jobs that have not ended, or only those that have")] = None,
) -> Any:
    """Your jobs over sessions, newest first."""
    request = job_pb2.ListJobsRequest(
        page_size=page.limit,
        skip=page.offset,
        page_token=page.token,
        pipeline=_PIPELINE,
        states=() if active is None else _ACTIVE if active else _ENDED,
    )
    found = await call(call.mesh.upstreams.jobs.ListJobs, request)
    return {
        "jobs": [_job(job) for job in found.jobs],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.get("/jobs/{job_id}", response_model=InstructorJob, responses=documented(404))
async def get_job(job_id: JobId, call: CallerDep) -> Any:
    """One job over a session."""
    return _job(await jobs.find(call, job_id, _PIPELINE))


@router.delete("/jobs/{job_id}", response_model=InstructorJob, responses=documented(404, 409))
async def cancel_job(job_id: JobId, call: CallerDep, key: IdempotencyKey) -> Any:
    """Cancel a job that is queued or running; 409 once it has ended."""
    job = await jobs.find(call, job_id, _PIPELINE)
    if job.state not in _ACTIVE:
        raise FailedPrecondition("JOB_ENDED", "The job has already ended.", state=state_name(job))
    return _job(await jobs.cancel(call, job_id, key))


def _parameters(wanted: ProcessSession) -> parameters_pb2.InstructorParameters:
    parameters = parameters_pb2.InstructorParameters(
        model=wanted.model or "", threshold=wanted.threshold, input_size=wanted.input_size or 0
    )
    if wanted.subject is not None:
        parameters.subject_point.time_sec = wanted.subject.time_sec
        parameters.subject_point.point.x = wanted.subject.x
        parameters.subject_point.point.y = wanted.subject.y
    return parameters


def _started(session: session_pb2.Session) -> dict[str, str]:
    return {"job_id": session.job_id, "session_id": session.session_id}


def _session(call: Caller, request: Request, session: session_pb2.Session) -> dict[str, Any]:
    base = call.mesh.settings.http.public_url or str(request.base_url).rstrip("/")
    playable = session.has_instructor_tracking_result
    video = session.video
    return {
        "session_id": session.session_id,
        "session_name": session.display_name,
        "has_instructor_tracking_result": session.has_instructor_tracking_result,
        "video_url": f"{base}{PATH}/{session.session_id}/video" if playable else None,
        "video": {
            "width": video.width,
            "height": video.height,
            "fps": video.frame_rate,
            "duration_sec": video.duration_sec,
        }
        if session.HasField("video")
        else None,
        "job_id": session.job_id or None,
        "created_at": session.create_time.ToJsonString(),
        "updated_at": session.update_time.ToJsonString(),
    }


def _job(job: job_pb2.Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "session_id": job.session_id or None,
        "status": STATES[state_name(job)],
        "stage": job.stage or None,
        "progress": job.progress,
        "error": job.failure.message if job.HasField("failure") else None,
        "created_at": job.create_time.ToJsonString(),
        "updated_at": job.update_time.ToJsonString(),
    }
