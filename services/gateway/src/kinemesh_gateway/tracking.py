"""Events of a multi-camera job → the messages of ``WS /ws/tracking/…``, in the shape that its clients know."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.recordings import camera_of
from kinemesh_gateway.domain.processing import Standing, details, failure, has_followed, status
from kinemesh_gateway.domain.websocket import text_frame
from kinemesh_gateway.messages import state_name

# Hundredths of a pixel; a millionth of the map's unit, whatever that is.
_PIXEL_DIGITS, _MAP_DIGITS, _SCORE_DIGITS = 2, 6, 4


def status_message(task_id: str, standing: Standing) -> bytes:
    """The message that tells where a job stands, as a WebSocket frame."""
    return _message("status_update", status(task_id, standing))


def update_message(step: tracking_pb2.TrackingUpdate) -> bytes:
    """The message of one step over all cameras, as a WebSocket frame."""
    return _message("tracking_update", update(step))


def update(step: tracking_pb2.TrackingUpdate) -> dict[str, Any]:
    """The payload of one step; cameras without a frame at this step are left out."""
    return {
        "frame_index": step.frame_index,
        "global_frame_index": step.global_frame_index,
        "scene_id": step.scene_id,
        "timestamp_processed_utc": step.processed_time.ToDatetime().isoformat(timespec="milliseconds") + "Z",
        "cameras": {
            name: {"image_source": seen.image_source, "tracks": [_track(track) for track in seen.tracks]}
            for name, seen in sorted(step.cameras.items())
            if seen.camera_frame_index >= 0
        },
    }


def _track(track: tracking_pb2.CameraTrack) -> dict[str, Any]:
    box = track.box
    return {
        "track_id": track.track_id,
        "global_id": track.global_id if track.HasField("global_id") else None,
        "bbox_xyxy": [round(side, _PIXEL_DIGITS) for side in (box.x1, box.y1, box.x2, box.y2)],
        "confidence": round(track.score, _SCORE_DIGITS),
        "class_id": track.class_id,
        "map_coords": _coordinates(track.map_position) if track.HasField("map_position") else None,
    }


def _coordinates(point: common_pb2.MapPoint) -> list[float] | None:
    x, y = point.x, point.y
    return [round(x, _MAP_DIGITS), round(y, _MAP_DIGITS)] if math.isfinite(x) and math.isfinite(y) else None


def _message(kind: str, payload: dict[str, Any]) -> bytes:
    text = json.dumps({"type": kind, "payload": payload}, ensure_ascii=False, separators=(",", ":"))
    return text_frame(text.encode())


def standing_after(standing: Standing, event: event_pb2.JobEvent) -> Standing:
    """Where a job stands after an event."""
    kind = event.WhichOneof("kind")
    if kind == "state":
        failed = event.state.HasField("failure")
        said = failure(event.state.failure.message, event.state.failure.reason) if failed else ""
        return replace(standing, state=event.state.state, details=said)
    if kind == "progress":
        told = event.progress
        following = standing.following or has_followed({told.stage: told.stage_progress})
        progress = max(standing.progress, told.progress)
        return replace(standing, stage=told.stage, progress=progress, following=following)
    if kind == "steps" and not standing.following:
        return replace(standing, following=True)
    return standing


def standing_of(job: job_pb2.Job) -> Standing:
    """Where a job stands by its own account."""
    fractions = {stage.stage: stage.progress for stage in job.stages}
    said = details(len({camera_of(source.camera) for source in job.inputs}), fractions.items())
    if job.HasField("failure"):
        said = failure(job.failure.message, job.failure.reason)
    return Standing(state_name(job), job.stage, job.progress, has_followed(fractions), said)
