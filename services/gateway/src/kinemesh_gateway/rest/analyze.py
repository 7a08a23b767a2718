"""Movement analysis, ``/api/v1/analyze``: a video in, poses, metrics and an annotated video out.

``job_id`` is the id of the asset from the start, and of the job once there is one; so nothing is kept here.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from kinemesh.asset.v1 import asset_pb2
from kinemesh.errors import FailedPrecondition, NotFound
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.storage import keys
from kinemesh_gateway.messages import STATES, state_name, to_json
from kinemesh_gateway.rest import assets, jobs
from kinemesh_gateway.rest.context import CallerDep, IdempotencyKey, JobId
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.forms import checked, form_document, json_field
from kinemesh_gateway.rest.parameters import PoseParameters
from kinemesh_gateway.rest.pose_pages import frames_in, pose_page
from kinemesh_gateway.rest.schemas import Announcement, Body, DonePart, PartUrl, UploadState

PATH = "/api/v1/analyze"
router = APIRouter(prefix=PATH, tags=["movement analysis"])

_VIDEO, _POSES, _TABLE, _METRICS = "annotated.mp4", "landmarks.json", "landmarks.parquet", "metrics.json"
_POSES_LIMIT = 100
_MOST_POSES = 1000
_METRICS_BYTES = 64 * 1024 * 1024
_DEPRECATED = {
    "Deprecation": "@1767225600",
    "Link": f'<{PATH}/upload-url>; rel="successor-version"',
}


class UploadUrl(BaseModel):
    """Where the video goes: to `upload_url`, or a large one to `parts`."""

    job_id: str
    upload_url: str | None
    method: Literal["PUT"]
    headers: dict[str, str] = Field(description="to be sent with the upload")
    expires_in: int = Field(description="seconds until the URLs expire", examples=[900])
    parts: list[PartUrl] | None = Field(default=None, description="of a large file only")
    part_size: int | None = Field(default=None, description="bytes of every part but the last")


class Confirm(Body):
    """Says that the video is there."""

    job_id: str = Field(min_length=1, max_length=128)
    parts: list[DonePart] = Field(default=[], max_length=10_000)
    parameters: PoseParameters = PoseParameters()


class Accepted(BaseModel):
    """The job waits for its turn."""

    job_id: str
    status: str = Field(examples=["queued"])
    status_url: str


class Status(BaseModel):
    """Where an analysis stands."""

    job_id: str
    status: Literal["awaiting_upload", "queued", "running", "completed", "failed", "cancelled"]
    stage: str | None
    progress: float = Field(description="0 to 1")
    error: str | None = Field(description="why it failed")
    created_at: str | None = Field(description="RFC 3339, UTC")
    updated_at: str | None


class PosePerson(BaseModel):
    """One person in one frame."""

    person_id: int
    landmarks: list[dict[str, str | float | None]] = Field(
        description="33 of `name`, `x`, `y`, `z`, `visibility`, `presence`, `world_x`, `world_y`, `world_z`"
    )


class PoseFrame(BaseModel):
    """The persons of one frame."""

    frame_index: int
    time_sec: float | None = Field(description="null where nobody was seen")
    persons: list[PosePerson]


class Result(BaseModel):
    """What an analysis found."""

    job_id: str
    video_url: str
    poses_url: str = Field(description="all poses as one JSON document")
    frame_count: int
    fps: float
    persons: int
    metrics: dict[str, Any]
    poses: list[PoseFrame] = Field(description="of the frames `offset` to `offset + limit`")


@router.post(
    "/upload-url",
    status_code=201,
    response_model=UploadUrl,
    response_model_exclude_unset=True,
    responses=documented(400, 413),
)
async def create_upload_url(body: Announcement, call: CallerDep, key: IdempotencyKey) -> Any:
    """Begin: answers with where to PUT the video, straight to storage."""
    created = await assets.announce(call, body, key)
    answer: dict[str, Any] = {
        "job_id": created.asset.asset_id,
        "upload_url": created.upload_url or None,
        "method": created.method,
        "headers": dict(created.headers),
        "expires_in": created.expires_in_sec,
    }
    if created.parts:
        answer |= {"parts": [to_json(part) for part in created.parts], "part_size": created.part_size}
    return answer


@router.get("/{job_id}/upload", response_model=UploadState, responses=documented(404))
async def get_upload(job_id: JobId, call: CallerDep) -> Any:
    """What of the video has arrived, and fresh URLs for the rest."""
    return assets.upload_state(await assets.find_upload(call, job_id))


@router.delete("/{job_id}/upload", status_code=204, responses=documented(404, 409))
async def give_up_upload(job_id: JobId, call: CallerDep, key: IdempotencyKey) -> None:
    """Give up an upload that has not been confirmed: what has arrived is deleted."""
    if (await assets.find(call, job_id)).state == asset_pb2.ASSET_STATE_READY:
        raise FailedPrecondition("UPLOAD_CONFIRMED", "The upload has been confirmed; delete the job instead.")
    await assets.delete_asset(job_id, call, key)


@router.post("/confirm", status_code=202, response_model=Accepted, responses=documented(400, 404, 409, 413, 415))
async def confirm_upload(body: Confirm, call: CallerDep) -> Any:
    """Go on: checks that the video is there, its size and that it is one, and queues the analysis."""
    wanted = _job_parameters(body.parameters)  # wrong ones are told before the upload is looked at
    parts = [(part.part_number, part.etag) for part in body.parts]
    asset = await assets.confirm(call, body.job_id, parts)
    return _accepted(await jobs.start(call, asset.asset_id, wanted))


@router.post(
    "",
    status_code=202,
    response_model=Accepted,
    deprecated=True,
    responses=documented(400, 413, 415),
    openapi_extra=form_document("file", parameters="`PoseParameters` as JSON"),
)
async def analyze(request: Request, response: Response, call: CallerDep) -> Any:
    """All in one request, with the video passing through the API; ask for an `upload-url` instead."""
    response.headers.update(_DEPRECATED)
    uploader = request.app.state.uploader
    async with uploader.receive(request, call) as form:
        wanted = _job_parameters(checked(PoseParameters, json_field(form.fields, "parameters", {}), "parameters"))
        asset = await form.asset()
        return _accepted(await jobs.start(call, asset.asset_id, wanted))


@router.get("/{job_id}/status", response_model=Status, responses=documented(404))
async def get_status(job_id: JobId, call: CallerDep) -> Any:
    """Where it stands."""
    try:
        job = await jobs.find(call, job_id)
    except NotFound:
        return _status_of_asset(await assets.find(call, job_id))
    return {
        "job_id": job_id,
        "status": STATES[state_name(job)],
        "stage": job.stage or None,
        "progress": job.progress,
        "error": job.failure.message if job.HasField("failure") else None,
        "created_at": job.create_time.ToJsonString(),
        "updated_at": job.update_time.ToJsonString(),
    }


@router.get("/{job_id}/result", response_model=Result, responses=documented(404, 409))
async def get_result(
    job_id: JobId,
    call: CallerDep,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=_MOST_POSES, description="most frames of poses")] = _POSES_LIMIT,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1, description="index of the first frame of poses")] = 0,
) -> Response:
    """What was found; 409 while there is nothing yet."""
    try:
        job = await jobs.find(call, job_id)
    except NotFound:
        status = _status_of_asset(await assets.find(call, job_id))["status"]
        raise _not_complete(str(status)) from None
    if job.state != job_pb2.JOB_STATE_SUCCEEDED:
        raise _not_complete(STATES[state_name(job)])
    store = call.mesh.store
    metrics = json.loads(
        await store.get_bytes(keys.output(job_id, _METRICS), limit=_METRICS_BYTES), parse_constant=lambda _: None
    )
    facts = {**metrics, **to_json(job)["summary"]} if job.HasField("summary") else metrics
    fps = facts.get("fps") or facts.get("frame_rate")
    if not fps:
        fps = (await assets.find(call, job.inputs[0].asset_id)).video.frame_rate
    base = f"{call.mesh.settings.http.public_url or str(request.base_url).rstrip('/')}/api/v1/jobs/{job_id}/outputs/"

    def write() -> bytes:
        with store.open_range(keys.output(job_id, _TABLE)) as table:
            count = int(facts.get("frame_count") or frames_in(table))
            poses = pose_page(table, offset, max(offset, min(offset + limit, count)))
        persons = facts.get("persons") or 0
        answer = {
            "job_id": job_id,
            "video_url": base + _VIDEO,
            "poses_url": base + _POSES,
            "frame_count": count,
            "fps": float(fps),
            "persons": len(persons) if isinstance(persons, list | dict) else int(persons),
            "metrics": metrics,
            "poses": poses,
        }
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    return Response(await asyncio.to_thread(write), media_type="application/json")


def _job_parameters(parameters: PoseParameters) -> parameters_pb2.JobParameters:
    return jobs.job_parameters("pose", parameters.model_dump(exclude_none=True))


def _accepted(job: job_pb2.Job) -> dict[str, str]:
    return {"job_id": job.job_id, "status": STATES[state_name(job)], "status_url": f"{PATH}/{job.job_id}/status"}


def _status_of_asset(asset: asset_pb2.Asset) -> dict[str, Any]:
    rejected = asset.state == asset_pb2.ASSET_STATE_REJECTED
    return {
        "job_id": asset.asset_id,
        "status": "failed" if rejected else "awaiting_upload",
        "stage": None,
        "progress": 0.0,
        "error": asset.failure.message if rejected else None,
        "created_at": asset.create_time.ToJsonString(),
        "updated_at": asset.update_time.ToJsonString(),
    }


def _not_complete(status: str) -> FailedPrecondition:
    return FailedPrecondition("JOB_NOT_COMPLETE", f"The analysis has no result; its status is {status}.", status=status)
