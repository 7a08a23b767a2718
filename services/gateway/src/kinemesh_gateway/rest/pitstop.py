"""Pit-stop jobs, ``/api/pitstop/jobs``: a video and the user's own detector in; tracks, times and a drawn video out.

A job has the id of the upload that was made for it, so that both can be deleted together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from kinemesh.errors import FailedPrecondition, InvalidArgument, NotFound, TooLarge, UnsupportedMedia
from kinemesh.job.v1 import job_pb2
from kinemesh.pipelining import in_flight
from kinemesh_gateway.domain.paging import DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET
from kinemesh_gateway.domain.pitstop import STATUSES, stage_and_percent
from kinemesh_gateway.messages import state_name
from kinemesh_gateway.rest import assets, jobs
from kinemesh_gateway.rest.content import CONTENT_RESPONSES
from kinemesh_gateway.rest.context import Caller, CallerDep, IdempotencyKey, JobId
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.forms import checked, form_document, json_field
from kinemesh_gateway.rest.incoming import remove
from kinemesh_gateway.rest.multipart import Expected
from kinemesh_gateway.rest.parameters import INPUT_SIZE, PitstopParameters

PATH = "/api/pitstop/jobs"
router = APIRouter(prefix=PATH, tags=["pit stops"])

_PIPELINE = "pitstop"
_VIDEO, _REPORT, _EVENTS = "annotated.mp4", "report.json", "events.csv"
_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")
_TEXTS = ("series", "race", "notes", "model", "threshold", "input_size")
_MOST_LOG_LINES = 1000
_MOST_LOG_PAGES = 20
_AT_ONCE = 8

Status = Literal["QUEUED", "PROCESSING", "COMPLETE", "FAILED"]
Stage = Literal["UPLOAD", "DETECTING", "TRACKING", "RENDERING", "TRANSCODING", "COMPLETE"]


class PitstopOutput(BaseModel):
    """The drawn video."""

    available: bool
    filename: str | None
    size_bytes: int | None


class PitstopListed(BaseModel):
    """One job of a list."""

    job_id: str
    status: Status
    stage: Stage
    progress: int = Field(description="per cent; UPLOAD 0-15, DETECTING -40, TRACKING -70, RENDERING -90, then 100")
    series: str
    race: str
    notes: str
    input_filename: str | None = Field(description="null once the upload has been deleted")
    input_size_bytes: int | None
    has_output: bool
    error_message: str | None
    created_at: str | None = Field(description="RFC 3339, UTC")
    updated_at: str | None


class PitstopJob(BaseModel):
    """One job."""

    job_id: str
    status: Status
    stage: Stage
    progress: int = Field(description="per cent")
    series: str
    race: str
    notes: str
    input_filename: str | None
    input_size_bytes: int | None
    logs: list[str] = Field(description="the last lines, oldest first", examples=[["[12:34:56] INFO Queued."]])
    output: PitstopOutput
    error_message: str | None
    created_at: str | None
    updated_at: str | None


class PitstopList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[PitstopListed]
    items: list[PitstopListed] = Field(description="the same")
    total: int
    limit: int
    offset: int


class Deleted(BaseModel):
    """The job is gone."""

    message: str
    job_id: str


@router.post(
    "",
    status_code=202,
    response_model=PitstopJob,
    responses=documented(400, 404, 409),
    openapi_extra=form_document(
        "file",
        series="championship",
        race="race",
        notes="free text",
        model="detector; the setting KINEMESH_PITSTOP__MODEL when not given",
        threshold="least score of a box, 0 to 1; the setting KINEMESH_PITSTOP__THRESHOLD when not given",
        input_size=INPUT_SIZE,
        zones="JSON list of `Zone`: where presence is timed",
    ),
)
async def create_job(request: Request, call: CallerDep) -> Any:
    """Take a video (mp4, mov, mkv, avi, webm) and queue its job; 409 when neither form nor setting names a model."""
    settings = call.mesh.settings.pitstop
    expected = Expected(suffixes=_SUFFIXES, limit_mb=settings.max_file_size_mb)
    uploader = request.app.state.uploader
    with _bad_files_are_bad_requests():
        async with uploader.receive(request, call, expected) as form:
            values = {name: text for name in _TEXTS if (text := form.fields.get(name, "").strip())}
            values = {"model": settings.model, "threshold": settings.threshold} | values
            values["zones"] = json_field(form.fields, "zones", [])
            parameters = checked(PitstopParameters, values).model_dump(exclude_none=True)
            wanted = jobs.job_parameters(_PIPELINE, parameters, path="")
            asset = await form.asset()
            job = await jobs.start(call, asset.asset_id, wanted)
    return await _described(call, job)


@router.get("", response_model=PitstopList, responses=documented(400))
async def list_jobs(
    call: CallerDep,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="most jobs to answer with")] = DEFAULT_LIMIT,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="jobs to leave out first")] = 0,
) -> Any:
    """Your jobs, newest first."""
    request = job_pb2.ListJobsRequest(page_size=limit, skip=offset, pipeline=_PIPELINE)
    found = await call(call.mesh.upstreams.jobs.ListJobs, request)

    async def listed(job: job_pb2.Job) -> dict[str, Any]:
        return await _facts(call, job) | {"has_output": _output(job) is not None}

    async with aclosing(in_flight(_each(found.jobs), listed, _AT_ONCE)) as described:
        items = [item async for item in described]
    return {"jobs": items, "items": items, "total": found.total_size, "limit": limit, "offset": offset}


@router.get("/{job_id}", response_model=PitstopJob, responses=documented(404))
async def get_job(job_id: JobId, call: CallerDep) -> Any:
    """One job."""
    return await _described(call, await jobs.find(call, job_id, _PIPELINE))


@router.delete("/{job_id}", response_model=Deleted, responses=documented(404))
async def delete_job(job_id: JobId, call: CallerDep, key: IdempotencyKey) -> Any:
    """Delete a job with its upload and its results, cancelling it first if needed."""
    job = await jobs.find(call, job_id, _PIPELINE)
    await jobs.remove(call, job_id, key)
    for source in job.inputs:
        if source.asset_id == job_id:
            await remove(call, source.asset_id)
    return {"message": "Job deleted", "job_id": job_id}


@router.api_route(
    "/{job_id}/output",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route("/{job_id}/output", methods=["HEAD"], include_in_schema=False)
async def get_output(job_id: JobId, call: CallerDep, request: Request) -> Response:
    """The drawn video as MP4. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    job = await _complete(call, job_id)
    return await jobs.serve_output(call, request, job_id, _VIDEO, _download_name((await _source(call, job))[0]))


@router.api_route(
    "/{job_id}/report",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route("/{job_id}/report", methods=["HEAD"], include_in_schema=False)
async def get_report(job_id: JobId, call: CallerDep, request: Request) -> Response:
    """Objects, classes, dwell times and events as JSON."""
    await _complete(call, job_id)
    return await jobs.serve_output(call, request, job_id, _REPORT)


@router.api_route(
    "/{job_id}/events",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route("/{job_id}/events", methods=["HEAD"], include_in_schema=False)
async def get_events(job_id: JobId, call: CallerDep, request: Request) -> Response:
    """The timeline of events as CSV."""
    await _complete(call, job_id)
    return await jobs.serve_output(call, request, job_id, _EVENTS)


@contextmanager
def _bad_files_are_bad_requests() -> Iterator[None]:
    """This surface knows neither 413 nor 415."""
    try:
        yield
    except (TooLarge, UnsupportedMedia) as error:
        raise InvalidArgument(error.reason, error.message, **error.metadata) from None


async def _complete(call: Caller, job_id: str) -> job_pb2.Job:
    job = await jobs.find(call, job_id, _PIPELINE)
    if job.state != job_pb2.JOB_STATE_SUCCEEDED:
        status, stage, _ = _progress(job)
        message = f"Job is not complete. Current status: {status}, stage: {stage}"
        raise FailedPrecondition("JOB_NOT_COMPLETE", message, status=status, stage=stage)
    return job


async def _described(call: Caller, job: job_pb2.Job) -> dict[str, Any]:
    facts = await _facts(call, job)
    made = _output(job)
    output = {
        "available": made is not None,
        "filename": _download_name(facts["input_filename"]) if made else None,
        "size_bytes": made.size_bytes if made else None,
    }
    return facts | {"logs": await _logs(call, job.job_id), "output": output}


async def _facts(call: Caller, job: job_pb2.Job) -> dict[str, Any]:
    """What a job alone and in a list tells."""
    status, stage, percent = _progress(job)
    filename, size = await _source(call, job)
    asked = job.parameters.pitstop
    error = job.failure.message if job.HasField("failure") else None
    return {
        "job_id": job.job_id,
        "status": status,
        "stage": stage,
        "progress": percent,
        "series": asked.series,
        "race": asked.race,
        "notes": asked.notes,
        "input_filename": filename,
        "input_size_bytes": size,
        "error_message": "The job was cancelled." if job.state == job_pb2.JOB_STATE_CANCELLED else error,
        "created_at": job.create_time.ToJsonString(),
        "updated_at": job.update_time.ToJsonString(),
    }


def _progress(job: job_pb2.Job) -> tuple[str, str, int]:
    state = state_name(job)
    return STATUSES[state], *stage_and_percent(state, {stage.stage: stage.progress for stage in job.stages})


async def _source(call: Caller, job: job_pb2.Job) -> tuple[str | None, int | None]:
    """Name and size of the upload, which may be gone."""
    try:
        asset = await assets.find(call, job.inputs[0].asset_id)
    except NotFound:
        return None, None
    return asset.filename, asset.size_bytes


def _output(job: job_pb2.Job) -> job_pb2.JobOutput | None:
    return next((output for output in job.outputs if output.name == _VIDEO), None)


def _download_name(filename: str | None) -> str:
    return f"{PurePath(filename).stem}_{_VIDEO}" if filename else _VIDEO


async def _logs(call: Caller, job_id: str) -> list[str]:
    """The last lines of a job's log, as ``[12:34:56] INFO text`` in UTC."""
    lines: deque[str] = deque(maxlen=_MOST_LOG_LINES)
    request = job_pb2.ListJobLogsRequest(job_id=job_id, page_size=_MOST_LOG_LINES)
    for _ in range(_MOST_LOG_PAGES):
        found = await call(call.mesh.upstreams.jobs.ListJobLogs, request)
        lines.extend(_log_lines(found.logs))
        if not found.next_page_token:
            break
        request.page_token = found.next_page_token
    return list(lines)


def _log_lines(logs: Sequence[job_pb2.JobLog]) -> Iterable[str]:
    return (f"[{line.time.ToDatetime():%H:%M:%S}] {line.level} {line.text}" for line in logs)


async def _each(found: Sequence[job_pb2.Job]) -> AsyncGenerator[job_pb2.Job, None]:
    for job in found:
        yield job
