"""What listeners of a job over several cameras are told of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.recordings import camera_of
from kinemesh.results.sightings import SightingRows
from kinemesh_detect_track.domain.association.clock import Clock
from kinemesh_detect_track.domain.boxes import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """Consecutive frames of a recording.

    :ivar first: index of the first of them.
    :ivar steps: int64 [F], the step of each, ascending.
    """

    recording: str
    first: int
    steps: Ints


def step_updates(
    rows: SightingRows, steps: Ints, present: Sequence[Present], clock: Clock, scene_id: str
) -> list[tracking_pb2.TrackingUpdate]:
    """An update for every step, also where nobody is; cameras that have no frame at a step are left out of it.

    :param steps: int64 [S], ascending.
    """
    now = Timestamp()
    now.GetCurrentTime()
    updates = {
        number: tracking_pb2.TrackingUpdate(
            frame_index=in_run, global_frame_index=number, scene_id=scene_id, processed_time=now, time_sec=time_sec
        )
        for number, in_run, time_sec in zip(
            steps.tolist(), clock.in_run(steps).tolist(), clock.time_of(steps).tolist(), strict=True
        )
    }
    for one in present:
        camera = camera_of(one.recording)
        for frame, number in enumerate(one.steps.tolist(), one.first):
            shown = updates[number].cameras[camera]
            shown.image_source = f"{frame:06d}.jpg"
            shown.camera_frame_index = frame
    placed = np.isfinite(rows.map_x).tolist()
    for i, (number, camera) in enumerate(zip(rows.step.tolist(), rows.camera.tolist(), strict=True)):
        updates[number].cameras[camera].tracks.append(_track(rows, i, placed[i]))
    return list(updates.values())


def _track(rows: SightingRows, i: int, placed: bool) -> tracking_pb2.CameraTrack:
    track = tracking_pb2.CameraTrack(
        track_id=rows.track_id[i],
        box=common_pb2.Box(x1=rows.x1[i], y1=rows.y1[i], x2=rows.x2[i], y2=rows.y2[i]),
        score=rows.score[i],
        class_id=rows.class_id[i],
        feet_hidden=bool(rows.feet_hidden[i]),
        interpolated=bool(rows.interpolated[i]),
    )
    if rows.global_id[i]:
        track.global_id = str(rows.global_id[i])
    if placed:
        track.map_position.x, track.map_position.y = rows.map_x[i], rows.map_y[i]
        track.map_covariance.extend((rows.cov_xx[i], rows.cov_xy[i], rows.cov_yy[i]))
    return track
