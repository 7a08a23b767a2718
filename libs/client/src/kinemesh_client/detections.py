"""What was seen, in pictures and in the frames of a job, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright picture."""

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def of(cls, json: Json) -> Box:
        return cls(json["x1"], json["y1"], json["x2"], json["y2"])

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2."""
        return self.x1, self.y1, self.x2, self.y2


@dataclass(frozen=True, slots=True)
class Detection:
    """An object in one picture; ``score`` is 0 to 1."""

    box: Box
    score: float
    class_id: int
    label: str

    @classmethod
    def of(cls, json: Json) -> Detection:
        return cls(Box.of(json["box"]), json["score"], json["class_id"], json["label"])


@dataclass(frozen=True, slots=True)
class ModelTest:
    """What a model made of one picture.

    :ivar detections: of detectors and face detectors, best first.
    :ivar poses: number of bodies, of pose models.
    :ivar embedding: the vector, of embedders.
    :ivar width: of the picture in pixels, as ``height``.
    :ivar raw: the whole answer.
    """

    detections: Sequence[Detection]
    poses: int
    embedding: Sequence[float]
    inference_ms: float
    width: int
    height: int
    raw: Json = field(repr=False)

    @classmethod
    def of(cls, json: Json) -> ModelTest:
        return cls(
            detections=tuple(Detection.of(row) for row in json["detections"]),
            poses=len(json["poses"]),
            embedding=tuple(json["embedding"]),
            inference_ms=json["inference_ms"],
            width=json["width"],
            height=json["height"],
            raw=json,
        )


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """An object that is followed through the frames of a job.

    :ivar track_id: what it keeps within its camera; while a job runs, before tracks are joined.
    :ivar interpolated: whether the box was filled in between frames where the object was seen.
    """

    track_id: int
    box: Box
    score: float
    class_id: int
    label: str
    interpolated: bool

    @classmethod
    def of(cls, json: Json) -> TrackedObject:
        return cls(
            track_id=json["track_id"],
            box=Box.of(json["box"]),
            score=json["score"],
            class_id=json["class_id"],
            label=json["label"],
            interpolated=json["interpolated"],
        )


@dataclass(frozen=True, slots=True)
class PersonResult:
    """A person in one frame; ``landmarks`` are 33 × x, y, visibility in one list."""

    person_id: int
    box: Box
    score: float
    landmarks: Sequence[float]

    @classmethod
    def of(cls, json: Json) -> PersonResult:
        return cls(json["person_id"], Box.of(json["box"]), json["score"], tuple(json["landmarks"]))


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was seen in one frame.

    :ivar persons: of pipelines that estimate poses.
    :ivar tracks: of pipelines that track boxes.
    """

    frame_index: int
    time_sec: float
    persons: Sequence[PersonResult]
    tracks: Sequence[TrackedObject]

    @classmethod
    def of(cls, json: Json) -> FrameResult:
        return cls(
            frame_index=json["frame_index"],
            time_sec=json["time_sec"],
            persons=tuple(PersonResult.of(row) for row in json.get("persons") or ()),
            tracks=tuple(TrackedObject.of(row) for row in json.get("tracks") or ()),
        )
