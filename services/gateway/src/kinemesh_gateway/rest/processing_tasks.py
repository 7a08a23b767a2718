"""People across the cameras of a site: ``/api/v1/processing-tasks`` and ``WS /ws/tracking/{task_id}``.

A task is a job of the pipeline ``multi_camera``, and has its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, Field

from kinemesh.bus.events import TERMINAL
from kinemesh.storage.keys import component
from kinemesh_gateway.domain.processing import status
from kinemesh_gateway.histories import History, Place
from kinemesh_gateway.rest import jobs
from kinemesh_gateway.rest.context import Caller, CallerDep, IdempotencyKey, JobId, caller_of
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.parameters import MultiCameraParameters
from kinemesh_gateway.rest.shared_frames import whole
from kinemesh_gateway.rest.watch import TooSlow, Watcher, number_of, serve
from kinemesh_gateway.tracking import standing_of, status_message

PATH = "/api/v1/processing-tasks"
router = APIRouter(tags=["multi-camera tracking"])

_PIPELINE = "multi_camera"
_CALM_S = 1.0
_KIND = "tracking"

StatusName = Literal[
    "QUEUED", "INITIALIZING", "DOWNLOADING", "EXTRACTING", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"
]


class TaskStarted(BaseModel):
    """A task waits for its turn."""

    task_id: str
    message: str
    status_url: str
    websocket_url: str


class TaskStatus(BaseModel):
    """Where a task stands."""

    task_id: str
    status: StatusName
    progress: float = Field(description="0 to 1")
    current_step: str = Field(description="what is being done")
    details: str | None = Field(description="how far each stage is, or why it failed")


class StatusUpdate(BaseModel):
    """Message of the WebSocket: where the task stands; the last message is such a one."""

    type: Literal["status_update"]
    payload: TaskStatus


class PersonInView(BaseModel):
    """A person in one camera."""

    track_id: int = Field(description="kept within the camera")
    global_id: str | None = Field(description="kept over all cameras; null until known")
    bbox_xyxy: Annotated[list[float], Field(min_length=4, max_length=4, description="pixels of the upright frame")]
    confidence: float
    class_id: int
    map_coords: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        description="in the map's unit; null without homography"
    )


class CameraView(BaseModel):
    """What one camera shows."""

    image_source: str = Field(examples=["000123.jpg"])
    tracks: list[PersonInView]


class TrackingPayload(BaseModel):
    """All cameras in step."""

    frame_index: int = Field(description="within the run of sub-videos")
    global_frame_index: int = Field(description="within the task; what `since_frame` counts")
    scene_id: str = Field(description="the environment")
    timestamp_processed_utc: str = Field(examples=["2023-10-27T10:30:05.456Z"])
    cameras: dict[str, CameraView] = Field(description="those that have a frame at this step")


class TrackingUpdate(BaseModel):
    """Message of the WebSocket: one step."""

    type: Literal["tracking_update"]
    payload: TrackingPayload


@router.post(f"{PATH}/start", status_code=202, response_model=TaskStarted, responses=documented(400, 404, 409))
async def start_task(body: MultiCameraParameters, call: CallerDep, key: IdempotencyKey) -> Any:
    """Follow and recognise the people in all recordings of a site."""
    job = await jobs.create(call, jobs.job_parameters(_PIPELINE, body.model_dump(exclude_none=True), path=""), key=key)
    return {
        "task_id": job.job_id,
        "message": f"Processing of environment {body.environment_id} has been queued.",
        "status_url": f"{PATH}/{job.job_id}/status",
        "websocket_url": f"/ws/tracking/{job.job_id}",
    }


@router.get(f"{PATH}/{{task_id}}/status", response_model=TaskStatus, responses=documented(404))
async def get_task_status(task_id: JobId, call: CallerDep) -> Any:
    """Where a task stands."""
    return status(task_id, standing_of(await jobs.find(call, task_id, _PIPELINE)))


@router.delete(f"{PATH}/{{task_id}}", response_model=TaskStatus, responses=documented(404, 409))
async def cancel_task(task_id: JobId, call: CallerDep, key: IdempotencyKey) -> Any:
    """Stop a task; `DELETE /api/v1/jobs/{job_id}` deletes it with all its results."""
    await jobs.find(call, task_id, _PIPELINE)
    return status(task_id, standing_of(await jobs.cancel(call, task_id, key)))


@router.websocket("/ws/tracking/{task_id}")
async def watch_tracking(
    websocket: WebSocket,
    task_id: str,
    since_frame: Annotated[str, Query(description="only steps from this one on, a `global_frame_index`")] = "0",
) -> None:
    """Send a task's messages, from the first or from step ``?since_frame=N``, and close with 1000 after the last.

    An error closes with 4000 + its HTTP status, and its reason; a client that reads too slowly with 4408.
    """
    await serve(websocket, _send(websocket, task_id, since_frame), _KIND)


async def _send(websocket: WebSocket, task_id: str, since_frame: str) -> None:
    call = caller_of(websocket)
    task_id = component(task_id, "task_id")
    watcher = Watcher(_KIND)
    patience_s = call.mesh.settings.http.websocket_send_s
    async with aclosing(_messages(call, task_id, number_of(since_frame, "since_frame"))) as batches:  # type: ignore[type-var]
        async for told_s, batch in batches:
            try:
                async with asyncio.timeout(patience_s):
                    await websocket.send(whole(batch))
            except TimeoutError:
                raise TooSlow from None
            watcher.told(told_s)
            # A client that takes all that there is must leave room for the others.
            await asyncio.sleep(0)


async def _messages(call: Caller, task_id: str, since: int) -> AsyncIterator[tuple[float, bytes]]:
    """A task's messages as WebSocket frames, many at a time, and when they were told, up to the last.

    :raises NotFound: the task is unknown to the caller, or was deleted meanwhile.
    """
    async with call.mesh.histories.watch(task_id) as history:
        place = Place()
        while True:
            # Asked again whenever the history ends early: it may not have begun, be deleted, or be too old to be kept.
            job = await jobs.find(call, task_id, _PIPELINE)
            if not place.sequence:
                place = history.place(since)
            async with aclosing(_replayed(history, place, since)) as replayed:  # type: ignore[type-var]
                async for place, batch in replayed:
                    yield place.told_s, batch
                    if place.standing.state in TERMINAL:
                        return
            standing = standing_of(job)
            if standing.state in TERMINAL:
                yield 0.0, status_message(task_id, standing)
                return


async def _replayed(history: History, place: Place, since: int) -> AsyncIterator[tuple[Place, bytes]]:
    """What comes after a place, from step ``since`` on: first where the job stood there, then all in order."""
    held = status_message(history.job_id, place.standing) if place.sequence else b""
    while True:
        try:
            async with asyncio.timeout(_CALM_S if held else None):
                chunk = await history.after(place)
        except TimeoutError:
            yield place, held
            held = b""
            continue
        if chunk is None:
            return
        skipping, place = place.frame < since - 1, chunk.after
        if chunk.tells_status and skipping and not chunk.ends:
            held = chunk.status
        elif chunk.tells_status:
            yield place, chunk.status
            held = b""
        elif updates := chunk.updates(since):
            yield place, held + updates if held else updates
            held = b""
