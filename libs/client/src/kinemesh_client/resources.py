"""What the API answers with, as frozen dataclasses; ``raw`` keeps what they leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from kinemesh_client.detections import FrameResult, Json

TERMINAL: Final = frozenset(("SUCCEEDED", "FAILED", "CANCELLED"))
"""States that a job does not leave."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed: ``reason`` (UPPER_SNAKE) for programs, ``message`` (one sentence) for people."""

    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, json: Json | None) -> Failure | None:
        return None if json is None else cls(json["reason"], json["message"], dict(json.get("metadata") or {}))


@dataclass(frozen=True, slots=True)
class Asset:
    """An uploaded video, picture, or file of weights.

    :ivar state: PENDING, READY or REJECTED.
    :ivar raw: the whole answer.
    """

    asset_id: str
    filename: str
    size_bytes: int
    state: str
    failure: Failure | None
    create_time: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Asset:
        return cls(
            asset_id=json["asset_id"],
            filename=json["filename"],
            size_bytes=json["size_bytes"],
            state=json["state"] or "",
            failure=Failure.of(json.get("failure")),
            create_time=json["create_time"] or "",
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class StageProgress:
    """How far a stage of a job is; ``progress`` is 0 to 1."""

    stage: str
    tasks: int
    tasks_done: int
    progress: float


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a job made."""

    name: str
    content_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a pipeline.

    :ivar state: QUEUED, RUNNING, SUCCEEDED, FAILED or CANCELLED.
    :ivar progress: 0 to 1.
    :ivar raw: the whole answer.
    """

    job_id: str
    pipeline: str
    state: str
    stage: str
    progress: float
    stages: Sequence[StageProgress]
    outputs: Sequence[Output]
    failure: Failure | None
    create_time: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Job:
        return cls(
            job_id=json["job_id"],
            pipeline=json["pipeline"],
            state=json["state"] or "",
            stage=json["stage"],
            progress=json["progress"],
            stages=tuple(
                StageProgress(row["stage"], row["tasks"], row["tasks_done"], row["progress"]) for row in json["stages"]
            ),
            outputs=tuple(Output(row["name"], row["content_type"], row["size_bytes"]) for row in json["outputs"]),
            failure=Failure.of(json.get("failure")),
            create_time=json["create_time"] or "",
            raw=json,
        )

    @property
    def is_over(self) -> bool:
        """Whether the job will not change any more."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One message of a job's WebSocket.

    :ivar kind: ``state``, ``progress``, ``log`` or ``frames``.
    :ivar sequence: what to resume after.
    :ivar time: RFC 3339, UTC.
    """

    kind: str
    sequence: int
    time: str
    payload: Json

    @classmethod
    def of(cls, json: Json) -> JobEvent:
        return cls(json["type"], json["sequence"], json["time"], json["payload"])

    @property
    def frames(self) -> Sequence[FrameResult]:
        """What was seen, frame by frame; empty for events of other kinds than ``frames``."""
        return tuple(FrameResult.of(row) for row in self.payload["frames"]) if self.kind == "frames" else ()


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log."""

    time: str
    level: str
    text: str

    @classmethod
    def of(cls, json: Json) -> LogLine:
        return cls(json["time"] or "", json["level"], json["text"])


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What the mesh can run; ``stages`` in the order in which they are shown."""

    name: str
    description: str
    stages: Sequence[str]
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Pipeline:
        return cls(json["pipeline"], json["description"], tuple(row["stage"] for row in json["stages"]), json)


@dataclass(frozen=True, slots=True)
class Model:
    """What the mesh detects or estimates with.

    :ivar task: DETECTOR, EMBEDDER, POSE or FACE.
    :ivar state: IMPORTING, READY, REJECTED or MISSING.
    :ivar source: EMBEDDED, MANIFEST or IMPORTED.
    :ivar labels: names of its classes, by class id.
    :ivar input_width: in pixels, as ``input_height``; 0 when it takes any.
    :ivar is_default: whether jobs that name no model of this task use it.
    :ivar failure: why it was refused, once REJECTED.
    :ivar raw: the whole answer.
    """

    name: str
    task: str
    state: str
    source: str
    license: str
    description: str
    labels: Sequence[str]
    input_width: int
    input_height: int
    size_bytes: int
    sha256: str
    is_default: bool
    failure: Failure | None
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Model:
        return cls(
            name=json["model"],
            task=json["task"] or "",
            state=json["state"] or "",
            source=json["source"] or "",
            license=json["license"],
            description=json["description"],
            labels=tuple(json["labels"]),
            input_width=json["input_width"],
            input_height=json["input_height"],
            size_bytes=json["size_bytes"],
            sha256=json["sha256"],
            is_default=json["is_default"],
            failure=Failure.of(json["failure"]),
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A recorded session.

    :ivar job_id: the latest job.
    :ivar result_job_id: the job that made the result; empty until there is one.
    :ivar raw: the whole answer.
    """

    session_id: str
    name: str
    asset_id: str
    job_id: str
    result_job_id: str
    has_result: bool
    create_time: str
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> Session:
        return cls(
            session_id=json["session_id"],
            name=json["display_name"],
            asset_id=json["asset_id"],
            job_id=json["job_id"],
            result_job_id=json["result_job_id"],
            has_result=json["has_instructor_tracking_result"],
            create_time=json["create_time"] or "",
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list. ``next_page_token`` is empty on the last page."""

    items: Sequence[T]
    total: int
    next_page_token: str
