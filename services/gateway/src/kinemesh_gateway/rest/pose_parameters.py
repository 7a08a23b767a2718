"""What a pose job can be asked for, for the document and for forms; names are those of the proto."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kinemesh_gateway.rest.schemas import Body


class NormalizedPoint(Body):
    """A point as fractions of the picture's width and height."""

    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)


class SubjectPoint(Body):
    """A click on a person."""

    time_sec: float = Field(ge=0)
    point: NormalizedPoint


class OverlayStyle(Body):
    """How overlays are drawn."""

    colors: list[str] | None = Field(default=None, max_length=64, description="of persons, as #RRGGBB, used in turn")
    line_thickness: int | None = Field(default=None, ge=1, le=32, description="pixels at 720 lines")
    joint_radius: int | None = Field(default=None, ge=-1, le=32, description="pixels at 720 lines; -1 draws none")
    trail_sec: float | None = Field(default=None, ge=0, le=10, description="seconds of motion that a trail shows")
    side_by_side: bool | None = Field(default=None, description="puts the original beside the annotated picture")
    hide_labels: bool | None = Field(default=None, description="leaves out the persons' ids")


class PoseParameters(Body):
    """Whom to follow, and how the video looks."""

    subject: Literal["ALL", "MAIN", "AT_POINT"] | None = Field(
        default=None, description="everyone, the longest and largest presence, or the person at `subject_point`"
    )
    subject_point: SubjectPoint | None = None
    max_persons: int | None = Field(default=None, ge=1, le=16, description="most persons to look for in a frame; 4")
    smooth: bool | None = Field(default=None, description="adds smoothed landmarks beside the raw ones")
    style: OverlayStyle | None = None
    blur_faces: bool | None = Field(default=None, description="blurs faces in the annotated video")
