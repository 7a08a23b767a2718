"""What tasks and requests ask for, as the domain's values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

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


MOSAIC: Final = "mosaic.mp4"


class Shown(Enum):
    """What is drawn on a job's video."""

    POSES = "poses"
    TRACKS = "tracks"
    PEOPLE = "people"
    ROUTE = "route"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Order:
    """What a job's video shall be.

    :ivar video: its name among the job's outputs; of people, each camera's has its own, see :func:`video_of`.
    """

    shown: Shown
    video: str
    style: Style = field(default_factory=resolve)
    blur_faces: bool = False

    @property
    def drawn(self) -> bool:
        """Whether anything is drawn, so that the video is another than the original."""
        return self.shown is not Shown.NOTHING

    @property
    def sheet(self) -> bool:
        """Whether a contact sheet is made."""
        return self.shown in (Shown.POSES, Shown.TRACKS, Shown.ROUTE)


def video_of(camera: str) -> str:
    """The name of a camera's video among a job's outputs; no camera may be called as the mosaic is."""
    return f"{camera}.mp4"


def order_of(task: task_pb2.Task) -> Order:
    """What a task's job was asked for.

    :raises InvalidArgument: INVALID_STYLE
    :raises Unimplemented: PIPELINE_NOT_RENDERED
    """
    pipeline = task.parameters.WhichOneof("pipeline")
    if pipeline == "pose":
        asked = task.parameters.pose
        return Order(Shown.POSES, "annotated.mp4", to_style(asked.style), asked.blur_faces)
    if pipeline == "pitstop":
        return Order(Shown.TRACKS, "annotated.mp4", to_style(task.parameters.pitstop.style))
    if pipeline == "instructor":
        return Order(Shown.NOTHING, "video.mp4")
    if pipeline == "multi_camera":
        return Order(Shown.PEOPLE, "", to_style(task.parameters.multi_camera.style))
    if pipeline == "route_match":
        # There is one reference, not an original for every frame, that could stand beside it.
        style = replace(to_style(task.parameters.route_match.style), side_by_side=False)
        return Order(Shown.ROUTE, "annotated.mp4", style)
    raise Unimplemented(
        "PIPELINE_NOT_RENDERED", "Videos of this pipeline cannot be drawn yet.", pipeline=pipeline or ""
    )
