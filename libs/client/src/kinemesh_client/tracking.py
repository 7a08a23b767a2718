"""People across cameras: processing tasks, what they see while they run, and who was where afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kinemesh_client.credentials import Headers
from kinemesh_client.detections import Box, Json
from kinemesh_client.environments import Call
from kinemesh_client.paths import path_id
from kinemesh_client.resources import Page

ENDED: Final = frozenset(("COMPLETED", "FAILED", "CANCELLED"))
"""Statuses that a task does not leave."""

_TASKS: Final = "/api/v1/processing-tasks"
_QUERY: Final = "/api/v1/tracks/query"
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """Where a task stands.

    :ivar status: QUEUED, INITIALIZING, DOWNLOADING, EXTRACTING, PROCESSING, COMPLETED, FAILED or CANCELLED.
    :ivar progress: 0 to 1.
    :ivar details: a sentence, such as why it failed; may be empty.
    :ivar raw: the whole answer.
    """

    task_id: str
    status: str
    progress: float
    current_step: str
    details: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> TaskStatus:
        texts = (json["current_step"] or "", json["details"] or "")
        return cls(json["task_id"], json["status"], json["progress"], *texts, raw=json)

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class CameraTrack:
    """A person in one camera.

    :ivar global_id: the person's in all cameras; None until known.
    :ivar position: on the map; None without homography.
    """

    track_id: int
    global_id: str | None
    box: Box
    confidence: float
    class_id: int
    position: tuple[float, float] | None

    @classmethod
    def of(cls, json: Json) -> CameraTrack:
        place = json["map_coords"]
        return cls(
            track_id=json["track_id"],
            global_id=json["global_id"],
            box=Box(*json["bbox_xyxy"]),
            confidence=json["confidence"],
            class_id=json["class_id"],
            position=None if place is None else (place[0], place[1]),
        )


@dataclass(frozen=True, slots=True)
class TrackingUpdate:
    """One step over all cameras.

    :ivar scene_id: the site's id.
    :ivar processed_time: RFC 3339.
    :ivar cameras: everyone in view, by camera.
    """

    frame_index: int
    global_frame_index: int
    scene_id: str
    processed_time: str
    cameras: Mapping[str, Sequence[CameraTrack]]
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> TrackingUpdate:
        return cls(
            frame_index=json["frame_index"],
            global_frame_index=json["global_frame_index"],
            scene_id=json["scene_id"],
            processed_time=json["timestamp_processed_utc"],
            cameras={
                camera: tuple(CameraTrack.of(row) for row in seen["tracks"]) for camera, seen in json["cameras"].items()
            },
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Presence:
    """A person in one camera or zone without a break; times in seconds on the site's clock.

    :ivar start_time: by time of day, if the site has one; empty otherwise. As ``end_time``.
    :ivar distance: in the map's unit.
    :ivar raw: the whole answer, with positions and the path.
    """

    global_id: str
    job_id: str
    camera: str
    zone: str
    start_sec: float
    end_sec: float
    start_time: str
    end_time: str
    distance: float
    score: float
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Presence:
        return cls(
            global_id=json["global_id"],
            job_id=json["job_id"],
            camera=json["camera"],
            zone=json["zone"],
            start_sec=json["start_sec"],
            end_sec=json["end_sec"],
            start_time=json["start_time"] or "",
            end_time=json["end_time"] or "",
            distance=json["distance"],
            score=json["score"],
            raw=json,
        )


class Tracking:
    """``client.tracking``"""

    def __init__(self, url: str, call: Call, headers: Headers) -> None:
        self._url = url
        self._call = call
        self._headers = headers

    async def start(self, environment_id: str, parameters: Mapping[str, Any] | None = None) -> str:
        """Follow the people of a site through its recordings; returns the task's id, which is a job's, too.

        :param parameters: ``model``, ``embedder``, ``render``, …, as for the pipeline ``multi_camera``.
        """
        body = {"environment_id": environment_id, **(parameters or {})}
        return str((await self._call("POST", f"{_TASKS}/start", json=body))["task_id"])

    async def status(self, task_id: str) -> TaskStatus:
        """Where a task stands."""
        return TaskStatus.of(await self._call("GET", f"{_TASKS}/{path_id(task_id)}/status"))

    async def cancel(self, task_id: str) -> TaskStatus:
        """Stop a task."""
        return TaskStatus.of(await self._call("DELETE", f"{_TASKS}/{path_id(task_id)}"))

    async def watch(self, task_id: str, since_frame: int = 0) -> AsyncGenerator[TaskStatus | TrackingUpdate]:
        """Statuses, and each step once from ``since_frame`` on, in order, until the task is over.

        Resumes by itself after a disconnect. Where no WebSocket can be had there are statuses only.

        :raises NotFound: the task is unknown.
        :raises Unavailable: ``MESH_UNREACHABLE``, when the mesh stays away.
        """
        from websockets.exceptions import InvalidHandshake

        from kinemesh_client.watching import resumed

        following, latest = since_frame, None
        stream = f"/ws/tracking/{path_id(task_id)}"

        def path() -> str:
            return f"{stream}?since_frame={following}"

        try:
            async for message in resumed(self._url, path, f"task {task_id}", self._headers):
                if message["type"] == "status_update":
                    status = TaskStatus.of(message["payload"])
                    if status.raw != latest:
                        latest = status.raw
                        yield status
                elif message["type"] == "tracking_update":
                    update = TrackingUpdate.of(message["payload"])
                    if update.global_frame_index >= following:
                        following = update.global_frame_index + 1
                        yield update
        except InvalidHandshake:
            async for status in self._poll(task_id):
                yield status

    async def query(self, filters: Mapping[str, Any], limit: int = 20, page_token: str = "") -> Page[Presence]:
        """A page of who was where when, earliest first, over finished jobs.

        :param filters: ``environment_id`` or ``job_ids``; ``global_ids``, ``cameras``, ``zones``, ``within``,
            ``time`` or ``clock``, ``min_duration_sec``, ``max_gap_sec``, ``path_step_sec``.
        """
        body = {**filters, "limit": limit, **({"page_token": page_token} if page_token else {})}
        found = await self._call("POST", _QUERY, json=body)
        rows = [Presence.of(row) for row in found["presences"]]
        return Page(rows, found["total"], found["next_page_token"] or "")

    async def _poll(self, task_id: str) -> AsyncIterator[TaskStatus]:
        seen: TaskStatus | None = None
        while seen is None or not seen.is_over:
            status = await self.status(task_id)
            if seen is None or status.raw != seen.raw:
                seen = status
                yield status
            if not status.is_over:
                await asyncio.sleep(_POLL_S)
