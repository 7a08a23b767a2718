"""What a task reads, and where the results of its segments lie."""

from __future__ import annotations

from kinemesh.errors import InvalidArgument
from kinemesh.storage import keys
from kinemesh.task.v1 import task_pb2


def asset_of(task: task_pb2.Task, camera: str) -> str:
    """The asset that a camera shows.

    :raises InvalidArgument: UNKNOWN_CAMERA
    """
    for given in task.inputs:
        if given.camera == camera:
            return given.asset_id
    raise InvalidArgument("UNKNOWN_CAMERA", "The job has no input of this camera.", camera=camera)


def segments_of(task: task_pb2.Task, camera: str) -> list[task_pb2.Segment]:
    """A camera's segments, in order."""
    return sorted((s for s in task.segments if s.camera == camera), key=lambda segment: segment.index)


def result_key(task: task_pb2.Task, stage: str, segment: task_pb2.Segment, suffix: str = "parquet") -> str:
    """Where a stage's result on a segment lies."""
    return keys.stage_result(task.job_id, stage, segment.camera, segment.index, suffix)
