"""JSON of the canonical API, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

AssetKindName = Literal["VIDEO", "IMAGE", "WEIGHTS"]
AssetStateName = Literal["PENDING", "READY", "REJECTED"]
_FINDS_INPUTS = frozenset(("multi_camera", "route_match"))
JobStateName = Literal["QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"]


class Body(BaseModel):
    """A request body; refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")


class Failure(BaseModel):
    """Why something failed."""

    reason: str = Field(description="cause in UPPER_SNAKE")
    message: str = Field(description="one sentence")
    metadata: dict[str, str]
    code: str = Field(description="name of the gRPC code")


class Video(BaseModel):
    """What a video is, as shown: rotation metadata is applied to width and height."""

    width: int = Field(description="pixels of the upright picture")
    height: int
    rotation: int = Field(description="clockwise degrees that the container asks for")
    frame_rate: float = Field(description="average; frames need not be evenly spaced")
    duration_sec: float
    codec: str
    container: str
    has_audio: bool


class Asset(BaseModel):
    """One uploaded video, picture, or file of weights."""

    asset_id: str
    owner: str
    filename: str
    content_type: str
    size_bytes: int
    kind: AssetKindName | None
    sha256: str = Field(description="that you gave, in hexadecimal digits, and that a READY asset has; or empty")
    state: AssetStateName | None
    video: Video | None = Field(description="once READY")
    failure: Failure | None = Field(description="once REJECTED")
    create_time: str | None = Field(description="RFC 3339, UTC")
    update_time: str | None


class Announcement(Body):
    """Announces the upload of a video."""

    filename: str = Field(min_length=1, max_length=255, examples=["run.mp4"])
    content_type: str = Field(min_length=1, max_length=127, pattern=r"^[!-~ ]+$", examples=["video/mp4"])
    size_bytes: int = Field(ge=0, lt=2**63, description="exact size")
    sha256: str = Field(
        default="",
        pattern=r"^([0-9a-fA-F]{64})?$",
        description="of the file, to be checked on confirming; not checked when empty",
    )


class AssetCreate(Announcement):
    """Announces an upload."""

    kind: AssetKindName = Field(default="VIDEO", description="what it is, and so how its content is checked")


class PartUrl(BaseModel):
    """Where one part of a large upload goes."""

    part_number: int
    url: str


class Upload(BaseModel):
    """Where the bytes go: `url`, or for large files one of `parts` for every `part_size` bytes."""

    url: str | None
    method: str
    headers: dict[str, str] = Field(description="to be sent with the upload")
    expires_in: int = Field(description="seconds until the URLs expire")
    parts: list[PartUrl] | None
    part_size: int | None


class AssetCreated(BaseModel):
    """A new asset and where its bytes go."""

    asset: Asset
    upload: Upload


class UploadedPart(BaseModel):
    """A part that has arrived whole."""

    part_number: int
    size_bytes: int
    etag: str


class UploadState(BaseModel):
    """How far an upload is, and where the rest goes."""

    asset: Asset
    upload: Upload | None = Field(description="where what is missing goes; null once the asset is not PENDING")
    uploaded: list[UploadedPart] = Field(description="what has arrived; a file in one piece counts as part 1")
    uploaded_bytes: int
    checked_bytes: int = Field(description="read so far by the check of `sha256`")
    expire_time: str | None = Field(description="until when the upload can go on; RFC 3339, UTC")


class DonePart(Body):
    """A part that was uploaded."""

    part_number: int = Field(ge=1, le=10_000)
    etag: str = Field(min_length=1, max_length=128, description="the header `ETag` of the part's answer")


class AssetConfirm(Body):
    """Says that the bytes are there."""

    parts: list[DonePart] = Field(default=[], max_length=10_000, description="of a large upload")


class AssetList(BaseModel):
    """A page of assets, newest first."""

    assets: list[Asset]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class JobInput(Body):
    """Media that a job reads."""

    camera: str = Field(default="main", min_length=1, max_length=64)
    asset_id: str = Field(min_length=1, max_length=128)


class JobMedia(BaseModel):
    """Media that a job reads."""

    camera: str = Field(description="that of the recording; a camera's second one is `c09.2`")
    asset_id: str
    start_sec: float | None = Field(description="of its first frame on the environment's clock; for `multi_camera`")


class JobCreate(Body):
    """Asks for a job over one asset. `multi_camera` takes the recordings of its environment, and no assets;
    `route_match` up to eight, or those of its attempts."""

    pipeline: str = Field(min_length=1, max_length=64, examples=["pose"])
    asset_id: str | None = Field(default=None, min_length=1, max_length=128)
    inputs: list[JobInput] | None = Field(default=None, min_length=1, max_length=64)
    parameters: dict[str, Any] = Field(
        default={},
        description="`PoseParameters` for `pose`, `InstructorParameters` for `instructor`, and so on",
        examples=[{"subject": "MAIN", "smooth": True}],
    )

    @model_validator(mode="after")
    def _one_of(self) -> JobCreate:
        given = (self.asset_id is not None) + (self.inputs is not None)
        if given > 1 or (not given and self.pipeline not in _FINDS_INPUTS):
            raise ValueError("give either asset_id or inputs")
        return self


class StageProgress(BaseModel):
    """Progress of one stage."""

    stage: str
    tasks: int
    tasks_done: int
    progress: float


class JobOutput(BaseModel):
    """A file that a job made; `GET /api/v1/jobs/{job_id}/outputs/{name}` answers with it."""

    name: str
    content_type: str
    size_bytes: int


class Job(BaseModel):
    """One run of a pipeline."""

    job_id: str
    owner: str
    pipeline: str
    state: JobStateName | None
    stage: str
    progress: float = Field(description="0 to 1")
    stages: list[StageProgress]
    inputs: list[JobMedia]
    parameters: dict[str, Any]
    failure: Failure | None
    outputs: list[JobOutput]
    summary: dict[str, Any] | None
    create_time: str | None = Field(description="RFC 3339, UTC")
    update_time: str | None


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[Job]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class JobLog(BaseModel):
    """A line of a job's log."""

    time: str | None
    level: str
    text: str


class JobLogList(BaseModel):
    """A page of a log, oldest line first."""

    logs: list[JobLog]
    total: int
    limit: int
    next_page_token: str | None


class PipelineStage(BaseModel):
    """One stage of a pipeline."""

    stage: str
    service: str
    unit: str = Field(description="asset, segment, window, or job")
    after: list[str] = Field(description="stages whose results it reads")
    ordered: bool = Field(description="whether segments are taken in order")


class Pipeline(BaseModel):
    """A pipeline."""

    pipeline: str
    description: str
    stages: list[PipelineStage]


class PipelineList(BaseModel):
    """The pipelines."""

    pipelines: list[Pipeline]
    total: int
    limit: int
    next_page_token: str | None
