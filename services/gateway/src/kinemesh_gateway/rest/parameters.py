"""What jobs can be asked for, for the document and for forms; names are those of the proto."""

from __future__ import annotations

from typing import Annotated, Literal

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


Threshold = Annotated[float, Field(ge=0, le=1)]
InputSize = Annotated[int, Field(ge=64, le=1536, multiple_of=32)]
INPUT_SIZE = "longest side that pictures are scaled to for detection, for models that take any; the model's own"


class InstructorParameters(Body):
    """Whom to follow through a session, and what finds him."""

    subject_point: SubjectPoint | None = Field(default=None, description="the longest presence when not given")
    model: str | None = Field(default=None, max_length=64, description="detector; the default one when not given")
    threshold: Threshold | None = Field(default=None, description="least score of a box; 0.5")
    input_size: InputSize | None = Field(default=None, description=INPUT_SIZE)


class Zone(Body):
    """A polygon in which presence is measured."""

    name: str = Field(min_length=1, max_length=64, description="unique in the job")
    polygon: list[NormalizedPoint] = Field(min_length=3, max_length=64)


class PitstopParameters(Body):
    """What to look for, and where."""

    model: str | None = Field(default=None, max_length=64, description="detector; there is no default")
    threshold: Threshold | None = Field(default=None, description="least score of a box; 0.5")
    input_size: InputSize | None = Field(default=None, description=INPUT_SIZE)
    zones: list[Zone] | None = Field(default=None, max_length=32)
    series: str | None = Field(default=None, max_length=200)
    race: str | None = Field(default=None, max_length=200)
    notes: str | None = Field(default=None, max_length=10_000)
    style: OverlayStyle | None = None


class MultiCameraParameters(Body):
    """Which site, and what finds and recognises its people."""

    environment_id: str = Field(min_length=1, max_length=128)
    model: str | None = Field(default=None, max_length=64, description="detector; the default one when not given")
    embedder: str | None = Field(
        default=None, max_length=64, description="what people are recognised by; the default one when not given"
    )
    render: bool | None = Field(
        default=None, description="also draws a video of every camera and a mosaic with the map"
    )
    threshold: Threshold | None = Field(default=None, description="least score of a box; 0.5")
    input_size: InputSize | None = Field(default=None, description=INPUT_SIZE)
    style: OverlayStyle | None = None


class RouteMatchParameters(Body):
    """Which attempts, on which reference image, and how they are matched and drawn."""

    attempt_id: str | None = Field(
        default=None, max_length=128, description="attempt of the catalogue; the job's assets when not given"
    )
    attempt_ids: list[str] | None = Field(
        default=None, max_length=7, description="further attempts at the same route, drawn with the first"
    )
    reference: str | None = Field(
        default=None, max_length=128, description="reference image; that of the attempt's route when not given"
    )
    image_asset_id: str | None = Field(
        default=None, max_length=128, description="uploaded picture; an alternative to `reference`"
    )
    mode: Literal["SINGLE", "MULTI"] | None = Field(
        default=None, description="one transform for the whole clip, or one per frame; SINGLE"
    )
    transform_model: Literal["AFFINE", "HOMOGRAPHY"] | None = Field(
        default=None, description="AFFINE in the mode SINGLE and HOMOGRAPHY in the mode MULTI when not given"
    )
    alignment: Literal["NONE", "MOVEMENT_START", "PATH"] | None = Field(
        default=None, description="how several attempts are laid over one another in time; MOVEMENT_START"
    )
    output_frame_rate: float | None = Field(
        default=None, ge=1, le=120, description="frames per second of the output; the first clip's own"
    )
    subject_point: SubjectPoint | None = Field(
        default=None, description="the climber, in jobs over one recording; the longest and largest presence"
    )
    style: OverlayStyle | None = None
