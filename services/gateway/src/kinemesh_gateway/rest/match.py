"""Climbers on a reference image, ``/api/v1/match``: attempts or videos in; a video, landmarks and match quality out."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from kinemesh.errors import FailedPrecondition, InvalidArgument, NotFound
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.storage import keys
from kinemesh_gateway.domain.paging import Page, page
from kinemesh_gateway.messages import STATES, state_name, to_json
from kinemesh_gateway.rest import jobs
from kinemesh_gateway.rest.context import Caller, CallerDep, IdempotencyKey, JobId
from kinemesh_gateway.rest.errors import documented, fields_named
from kinemesh_gateway.rest.match_pages import match_page
from kinemesh_gateway.rest.match_resources import (
    MatchAccepted,
    MatchCreate,
    MatchFrameList,
    MatchResult,
    MatchStatus,
)

PATH = "/api/v1/match"
router = APIRouter(prefix=PATH, tags=["route matching"])

_PIPELINE = "route_match"
_TABLE, _METRICS = "matches.parquet", "metrics.json"
_METRICS_BYTES = 64 * 1024 * 1024
_URLS = {
    "video_url": "annotated.mp4",
    "landmarks_url": "landmarks.json",
    "landmarks_table_url": "landmarks.parquet",
    "matches_url": _TABLE,
    "match_url": "match.json",
    "metrics_url": _METRICS,
    "contact_sheet_url": "contact_sheet.jpg",
}
_ALIGNMENTS = {"none": "NONE", "start": "MOVEMENT_START", "path": "PATH"}
_ALIGNMENT_NAMES = {name: short for short, name in _ALIGNMENTS.items()}
_WORST_FIRST = ("CANNOT_MATCH", "WEAK", "MATCHED")
_FRAMES_LIMIT = 100
_MOST_FRAMES = 1000
_MOST_OFFSET = 2**31 - 1
_OF_THE_CLIP = frozenset(kind.code for kind in (FailedPrecondition, NotFound, InvalidArgument))


@router.post("", status_code=202, response_model=MatchAccepted, responses=documented(400, 404, 409))
async def create_match(body: MatchCreate, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Draw climbers on a reference image: of attempts of the catalogue, or of uploaded videos."""
    assets = body.assets
    names = ["main"] if len(assets) == 1 else [f"attempt{number}" for number in range(1, len(assets) + 1)]
    with fields_named(_their_names(body)):
        job = await jobs.create(call, _parameters(body), zip(names, assets, strict=True), key)
    response.headers["Location"] = f"{PATH}/{job.job_id}"
    return {
        "job_id": job.job_id,
        "status": STATES[state_name(job)],
        "status_url": f"{PATH}/{job.job_id}",
        "result_url": f"{PATH}/{job.job_id}/result",
        "websocket_url": f"/ws/jobs/{job.job_id}",
    }


@router.get("/{job_id}", response_model=MatchStatus, responses=documented(404))
async def get_match(job_id: JobId, call: CallerDep) -> Any:
    """Where a job stands."""
    job = await jobs.find(call, job_id, _PIPELINE)
    asked = to_json(job.parameters.route_match)
    failure = to_json(job.failure) if job.HasField("failure") else None
    return {
        "job_id": job_id,
        "status": STATES[state_name(job)],
        "stage": job.stage or None,
        "progress": job.progress,
        "error": failure["message"] if failure else None,
        "failure": failure,
        "created_at": job.create_time.ToJsonString(),
        "updated_at": job.update_time.ToJsonString(),
        "stages": [to_json(stage) for stage in job.stages],
        "mode": _lower(asked["mode"]),
        "model": _lower(asked["transform_model"]),
        "alignment": _ALIGNMENT_NAMES.get(asked["alignment"]),
        "fps": asked["output_frame_rate"] or None,
        "reference": asked["reference"] or None,
        "attempts": [
            {
                "attempt": number,
                "camera": attempt["camera"],
                "attempt_id": attempt["attempt_id"],
                "name": attempt["display_name"],
            }
            for number, attempt in enumerate(asked["attempts"], 1)
        ],
    }


@router.get("/{job_id}/result", response_model=MatchResult, responses=documented(404, 409))
async def get_match_result(job_id: JobId, call: CallerDep, request: Request) -> Any:
    """What a job made; 409 while there is nothing, and when there can be nothing: `NOT_ENOUGH_MATCHES` with counts."""
    job = await _complete(call, job_id)
    base = call.mesh.settings.http.public_url or str(request.base_url).rstrip("/")
    made = {output.name for output in job.outputs}
    summary = to_json(job)["summary"] or {}
    attempts = [{**attempt, "attempt": number} for number, attempt in enumerate(summary.get("attempts") or (), 1)]
    verdicts = {attempt.get("verdict") for attempt in attempts}
    holds: list[Any] = []
    if _METRICS in made:
        found = await call.mesh.store.get_bytes(keys.output(job_id, _METRICS), limit=_METRICS_BYTES)
        holds = (await asyncio.to_thread(json.loads, found)).get("holds", [])
    urls = {
        field: f"{base}/api/v1/jobs/{job_id}/outputs/{name}" if name in made else None for field, name in _URLS.items()
    }
    return {
        "job_id": job_id,
        **urls,
        "frames_url": f"{base}{PATH}/{job_id}/frames",
        "verdict": next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None),
        "reference_features": summary.get("reference_features"),
        "quality": attempts,
        "metrics": [{**attempt, **attempt["metrics"]} for attempt in attempts if attempt.get("metrics")],
        "holds": holds,
    }


@router.get("/{job_id}/frames", response_model=MatchFrameList, responses=documented(400, 404, 409))
async def list_match_frames(
    job_id: JobId,
    call: CallerDep,
    limit: Annotated[int, Query(ge=1, le=_MOST_FRAMES, description="most frames to answer with")] = _FRAMES_LIMIT,
    offset: Annotated[int, Query(ge=0, le=_MOST_OFFSET, description="frames to leave out first")] = 0,
    page_token: Annotated[str, Query(max_length=1000, description="`next_page_token` of the page before")] = "",
) -> Any:
    """Match quality of every frame, by attempt, then in order."""
    start = _start(page(limit, offset, page_token))
    await _complete(call, job_id)
    wanted = job_pb2.CreateOutputDownloadRequest(job_id=job_id, name=_TABLE)
    found = await call(call.mesh.upstreams.jobs.CreateOutputDownload, wanted)

    def read() -> tuple[list[dict[str, Any]], int]:
        with call.mesh.store.open_range(found.object_key) as table:
            return match_page(table, start, limit)

    frames, total = await asyncio.to_thread(read)
    return {
        "frames": frames,
        "total": total,
        "limit": limit,
        "offset": offset,
        "next_page_token": str(start + limit) if start + limit < total else None,
    }


@router.delete("/{job_id}", status_code=204, responses=documented(404))
async def delete_match(job_id: JobId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete a job with all its results, cancelling it first if needed. Attempts and their data stay."""
    await jobs.find(call, job_id, _PIPELINE)
    await jobs.remove(call, job_id, key)


def _their_names(body: MatchCreate) -> dict[str, str]:
    """What the fields of the pipeline's parameters are called in the body."""
    return {
        "inputs": "asset_id" if body.asset_id else "asset_ids",
        "attempt_ids": "attempt_id" if body.attempt_id else "attempt_ids",
        "reference": "image_id" if body.image_id else "reference",
        "transform_model": "model",
        "output_frame_rate": "fps",
        "style.trail_sec": "style.trail",
        "subject_point": "subject",
    }


def _parameters(body: MatchCreate) -> parameters_pb2.JobParameters:
    """What the pipeline is asked for."""
    attempts = body.attempts
    style = body.style
    values: dict[str, Any] = {
        "attempt_id": attempts[0] if attempts else None,
        "attempt_ids": attempts[1:],
        "reference": body.image_id or body.reference,
        "mode": body.mode,
        "transform_model": body.model,
        "alignment": _ALIGNMENTS[body.alignment],
        "output_frame_rate": body.fps,
        "style": {
            "colors": [style.color] if style.color else style.colors or [],
            "line_thickness": style.line_thickness,
            "joint_radius": style.joint_radius,
            "trail_sec": style.trail,
            "hide_labels": style.hide_labels,
        },
    }
    if body.subject is not None:
        point = {"x": body.subject.x, "y": body.subject.y}
        values["subject_point"] = {"time_sec": body.subject.time_sec, "point": point}
    return jobs.job_parameters(_PIPELINE, values, path="")


def _start(wanted: Page) -> int:
    """The first row of a page.

    :raises InvalidArgument: ``INVALID_PAGE_TOKEN``.
    """
    if not wanted.token:
        return wanted.offset
    if not (wanted.token.isascii() and wanted.token.isdecimal() and int(wanted.token) <= _MOST_OFFSET):
        raise InvalidArgument("INVALID_PAGE_TOKEN", "The page token is not one of this list.", field="page_token")
    return int(wanted.token)


async def _complete(call: Caller, job_id: str) -> job_pb2.Job:
    """A job that has succeeded.

    :raises FailedPrecondition: what is wrong with the clip, such as ``NOT_ENOUGH_MATCHES`` with its counts; else
        ``JOB_NOT_COMPLETE``.
    """
    job = await jobs.find(call, job_id, _PIPELINE)
    if job.state == job_pb2.JOB_STATE_SUCCEEDED:
        return job
    status = STATES[state_name(job)]
    if job.failure.code in _OF_THE_CLIP:
        raise FailedPrecondition(job.failure.reason, job.failure.message, **{**job.failure.metadata, "status": status})
    raise FailedPrecondition("JOB_NOT_COMPLETE", f"The job has no result; its status is {status}.", status=status)


def _lower(name: str | None) -> str | None:
    return name.lower() if name else None
