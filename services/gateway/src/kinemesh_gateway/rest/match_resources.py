"""JSON of route matching, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from kinemesh_gateway.rest.route_resources import ClimbMetrics, SomeId
from kinemesh_gateway.rest.schemas import Body, Failure, StageProgress

MOST_INPUTS = 8

Color = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$", examples=["#e4572e"])]
VerdictName = Literal["MATCHED", "WEAK", "CANNOT_MATCH"]
_SUBJECTS = ("attempt_id", "attempt_ids", "asset_id", "asset_ids")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


ModeName = Annotated[Literal["single", "multi"], BeforeValidator(_lower)]
ModelName = Annotated[Literal["affine", "homography"], BeforeValidator(_lower)]
AlignmentName = Annotated[Literal["none", "start", "path"], BeforeValidator(_lower)]


class MatchStyle(Body):
    """How the climbers are drawn; a value that is not given means the default."""

    color: Color | None = Field(default=None, description="of the climber, as #RRGGBB")
    colors: list[Color] | None = Field(
        default=None, max_length=64, description="one per attempt, used in turn; an alternative to `color`"
    )
    line_thickness: int | None = Field(default=None, ge=1, le=32, description="pixels at 720 lines")
    joint_radius: int | None = Field(default=None, ge=-1, le=32, description="pixels at 720 lines; -1 draws none")
    trail: float | None = Field(
        default=None, ge=0, le=10, description="seconds of the centre of mass that a trail shows"
    )
    hide_labels: bool | None = Field(default=None, description="leaves out the attempts' names")

    @field_validator("colors")
    @classmethod
    def _one_way(cls, colors: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if colors is not None and info.data.get("color") is not None:
            raise ValueError("give either color or colors")
        return colors


class MatchSubject(Body):
    """A click on the climber."""

    time_sec: float = Field(ge=0, allow_inf_nan=False)
    x: float = Field(ge=0, le=1, description="fraction of the picture's width")
    y: float = Field(ge=0, le=1, description="fraction of the picture's height")


class MatchCreate(Body):
    """Asks for climbers on a reference image: of attempts at one route, or of bare videos."""

    attempt_id: SomeId | None = None
    attempt_ids: list[SomeId] | None = Field(
        default=None, min_length=1, max_length=MOST_INPUTS, description="at one route, drawn together"
    )
    asset_id: SomeId | None = Field(default=None, description="an uploaded video")
    asset_ids: list[SomeId] | None = Field(
        default=None, min_length=1, max_length=MOST_INPUTS, description="uploaded videos, drawn together"
    )
    image_id: SomeId | None = Field(
        default=None, description="reference image; that of the attempts' route when not given"
    )
    reference: SomeId | None = Field(default=None, description="the same by another name")
    mode: ModeName = Field(default="single", description="one transform for the whole clip, or one per frame")
    model: ModelName | None = Field(
        default=None, description="what a transform may do; affine in single and homography in multi when not given"
    )
    alignment: AlignmentName = Field(
        default="start",
        description="several attempts begin with their recordings, with the climbers' start, or follow one another's "
        "path (dynamic time warping)",
    )
    style: MatchStyle = MatchStyle()
    fps: float | None = Field(
        default=None, ge=1, le=120, description="frames per second of the output; the first clip's own when not given"
    )
    subject: MatchSubject | None = Field(
        default=None, description="in jobs over one video; the longest and largest presence when not given"
    )

    @property
    def attempts(self) -> list[str]:
        """The attempts, in order; none for bare videos."""
        return [self.attempt_id] if self.attempt_id else self.attempt_ids or []

    @property
    def assets(self) -> list[str]:
        """The bare videos, in order; none for attempts."""
        return [self.asset_id] if self.asset_id else self.asset_ids or []

    @field_validator("attempt_ids", "asset_id", "asset_ids")
    @classmethod
    def _one_subject(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and any(info.data.get(name) is not None for name in _SUBJECTS):
            raise ValueError(f"give one of {', '.join(_SUBJECTS)}")
        return value

    @field_validator("attempt_ids", "asset_ids")
    @classmethod
    def _each_once(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("names one of them twice")
        return value

    @field_validator("subject")
    @classmethod
    def _one_climber(cls, value: MatchSubject | None, info: ValidationInfo) -> MatchSubject | None:
        if value is not None and any(len(info.data.get(name) or ()) > 1 for name in ("attempt_ids", "asset_ids")):
            raise ValueError("is for jobs over one video")
        return value

    @field_validator("reference")
    @classmethod
    def _one_reference(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("image_id") is not None:
            raise ValueError("give either image_id or reference")
        return value

    @model_validator(mode="after")
    def _some_subject(self) -> MatchCreate:
        if all(getattr(self, name) is None for name in _SUBJECTS):
            raise ValueError(f"give one of {', '.join(_SUBJECTS)}")
        return self


class MatchAccepted(BaseModel):
    """The job waits for its turn."""

    job_id: str
    status: str = Field(examples=["queued"])
    status_url: str
    result_url: str
    websocket_url: str


class MatchedClimb(BaseModel):
    """One attempt, or one video, of a job."""

    attempt: int = Field(description="its number in all results, from 1")
    camera: str = Field(description="name of the job's input")
    attempt_id: str = Field(description="empty for a bare video")
    name: str


class MatchStatus(BaseModel):
    """Where a job stands."""

    job_id: str
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    stage: str | None
    progress: float = Field(description="0 to 1")
    error: str | None = Field(description="why it failed, as a sentence")
    failure: Failure | None = Field(description="the same for programs, such as `NOT_ENOUGH_MATCHES` with its counts")
    created_at: str | None = Field(description="RFC 3339, UTC")
    updated_at: str | None
    stages: list[StageProgress]
    mode: str | None = Field(examples=["single"])
    model: str | None = Field(examples=["affine"])
    alignment: str | None = Field(examples=["start"])
    fps: float | None = Field(description="null: the first clip's own")
    reference: str | None = Field(description="reference image")
    attempts: list[MatchedClimb]


class MatchQuality(MatchedClimb):
    """How well one attempt lies on the reference."""

    verdict: VerdictName | None
    matched_frames: int = Field(description="with a transform of their own")
    interpolated_frames: int = Field(description="filled in between good neighbours")
    unmatched_frames: int = Field(description="without a transform; nothing is drawn of them")


class MatchMetrics(ClimbMetrics):
    """What was measured of one attempt."""

    attempt: int
    attempt_id: str
    name: str


class TouchedHold(BaseModel):
    """A hold that a hand or a foot touched."""

    hold: int = Field(description="its number, from 1; attempts of one job share holds")
    x: float = Field(description="fraction of the reference's width")
    y: float = Field(description="fraction of the reference's height")
    attempts: list[int] = Field(description="numbers of the attempts that touched it")


class MatchResult(BaseModel):
    """What a job made. URLs are null for what it did not make."""

    job_id: str
    video_url: str | None = Field(description="H.264 MP4 for browsers")
    landmarks_url: str | None = Field(description="landmarks on the reference, as JSON")
    landmarks_table_url: str | None = Field(description="the same as Parquet")
    matches_url: str | None = Field(description="match quality of every frame, as Parquet")
    match_url: str | None = Field(description="how the attempts were matched, as JSON")
    metrics_url: str | None
    contact_sheet_url: str | None
    frames_url: str = Field(description="match quality of every frame, in pages")
    verdict: VerdictName | None = Field(description="the worst of the attempts'")
    reference_features: int | None = Field(description="number of features of the reference image")
    quality: list[MatchQuality]
    metrics: list[MatchMetrics] = Field(description="of the attempts that were measured")
    holds: list[TouchedHold]


class MatchFrame(BaseModel):
    """How one frame lies on the reference."""

    attempt: int
    camera: str
    frame_index: int
    time_sec: float = Field(description="in the video")
    verdict: VerdictName | None
    reason: str | None = Field(description="why it is not MATCHED, in UPPER_SNAKE")
    source: Literal["measured", "followed", "interpolated", "held", "none"] | None = Field(
        description="where the transform in use comes from"
    )
    matches: int = Field(description="pairs of features that look alike")
    inliers: int = Field(description="pairs that agree with the transform")
    coverage: float | None = Field(description="fraction of the frame that the inliers span")
    rms_error_px: float | None = Field(description="of the inliers, in pixels of the reference")
    condition_number: float | None


class MatchFrameList(BaseModel):
    """A page of frames, by attempt, then in order."""

    frames: list[MatchFrame]
    total: int
    limit: int
    offset: int
    next_page_token: str | None
