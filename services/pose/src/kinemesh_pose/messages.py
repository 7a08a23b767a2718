"""Poses as messages, and what messages ask for as the domain's values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinemesh.bodies.subject import Selection, Subject
from kinemesh.common.v1 import common_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import FrameIndex
from kinemesh.pose.v1 import pose_pb2
from kinemesh.results.poses import LANDMARKS, PoseRows
from kinemesh_pose.domain.tracking import FramePoses

_SUBJECTS = {
    parameters_pb2.SUBJECT_SELECTION_UNSPECIFIED: Subject.ALL,
    parameters_pb2.SUBJECT_SELECTION_ALL: Subject.ALL,
    parameters_pb2.SUBJECT_SELECTION_MAIN: Subject.MAIN,
    parameters_pb2.SUBJECT_SELECTION_AT_POINT: Subject.AT_POINT,
}
_VISIBLE = 0.5


def to_selection(wanted: parameters_pb2.PoseParameters) -> Selection:
    """Whom a job is about."""
    point = wanted.subject_point
    return Selection(_SUBJECTS[wanted.subject], point.time_sec, point.point.x, point.point.y)


def frame_results(rows: PoseRows, frames: Sequence[int], index: FrameIndex) -> list[event_pb2.FrameResult]:
    """Every frame's persons, also of frames in which nobody is."""
    scale = np.array([index.width, index.height], np.float32)
    points = rows.image[:, :, :2] * scale
    shown = rows.image[:, :, 3] >= _VISIBLE
    shown[~shown.any(axis=1)] = True
    low = np.where(shown[..., None], points, np.inf).min(axis=1)
    high = np.where(shown[..., None], points, -np.inf).max(axis=1)
    packed = rows.image[:, :, [0, 1, 3]].reshape(len(rows), LANDMARKS * 3)
    results = {frame: event_pb2.FrameResult(frame_index=frame, time_sec=float(index.times[frame])) for frame in frames}
    for row in range(len(rows)):
        results[int(rows.frame_index[row])].persons.add(
            person_id=int(rows.person_id[row]),
            score=float(rows.score[row]),
            box=common_pb2.Box(x1=low[row, 0], y1=low[row, 1], x2=high[row, 0], y2=high[row, 1]),
            landmarks=packed[row],
        )
    return list(results.values())


def to_poses(poses: FramePoses, *, with_ids: bool) -> list[pose_pb2.Pose]:
    """The people of one frame."""
    return [
        pose_pb2.Pose(
            person_id=int(poses.ids[i]) + 1 if with_ids else 0,
            score=float(poses.score[i]),
            landmarks=[
                pose_pb2.Landmark(x=x, y=y, z=z, visibility=visibility, presence=presence)
                for x, y, z, visibility, presence in poses.landmarks[i].tolist()
            ],
            world_landmarks=[
                pose_pb2.Landmark(x=x, y=y, z=z, visibility=seen[3], presence=seen[4])
                for (x, y, z), seen in zip(poses.world[i].tolist(), poses.landmarks[i].tolist(), strict=True)
            ],
        )
        for i in range(len(poses.ids))
    ]
