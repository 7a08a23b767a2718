"""What tasks and requests ask for, as the domain's values."""

from __future__ import annotations

from kinemesh.errors import Unimplemented
from kinemesh.job.v1 import parameters_pb2
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.style import Style, resolve


def to_style(style: parameters_pb2.OverlayStyle) -> Style:
    """The checked style.

    :raises InvalidArgument: INVALID_STYLE
    """
    return resolve(
        style.colors,
        style.line_thickness,
        style.joint_radius,
        style.trail_sec,
        side_by_side=style.side_by_side,
        hide_labels=style.hide_labels,
    )


def pose_parameters(task: task_pb2.Task) -> parameters_pb2.PoseParameters:
    """What a job of the pipeline ``pose`` was asked for.

    :raises Unimplemented: PIPELINE_NOT_RENDERED
    """
    pipeline = task.parameters.WhichOneof("pipeline")
    if pipeline != "pose":
        raise Unimplemented(
            "PIPELINE_NOT_RENDERED", "Videos of this pipeline cannot be drawn yet.", pipeline=pipeline or ""
        )
    return task.parameters.pose
