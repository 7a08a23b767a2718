"""Rows as messages, and what messages ask for as the domain's values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import detect_track_pb2, tracking_pb2
from kinemesh.errors import InvalidArgument
from kinemesh.event.v1 import event_pb2
from kinemesh.inference.detector import DEFAULT_THRESHOLD, Boxes, Detector
from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import FrameIndex
from kinemesh.results.tracks import TrackRows
from kinemesh_detect_track.domain.tracker import Parameters, parameters_for

_DEFAULT_DETECTIONS, _MOST_DETECTIONS = 300, 1000
_DEFAULT_LOST_S, _LONGEST_LOST_S = 2.0, 30.0
_APPEARANCE = 0.5
"""Share of looks in a live stream: in a crowd at 1 to 3 frames a second it saves a fifth of the exchanges of ids."""
_PERSON = "person"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a job wants to have things found.

    :ivar embedder: to recognise people by; empty if they are not to be recognised.
    """

    model: str
    threshold: float
    input_size: int
    embedder: str = ""


def wanted_by(parameters: parameters_pb2.JobParameters) -> Wanted:
    """How a job wants to have things found; ingest has filled in what the user left open."""
    if parameters.HasField("multi_camera"):
        several = parameters.multi_camera
        return Wanted(several.model, several.threshold, several.input_size, several.embedder)
    wanted = parameters.pitstop if parameters.HasField("pitstop") else parameters.instructor
    return Wanted(wanted.model, wanted.threshold, wanted.input_size)


def job_classes(parameters: parameters_pb2.JobParameters, model: Detector) -> NDArray[np.int16] | None:
    """The classes that a job is about, None for all: only pit stops are about more than people, if the model knows."""
    people = [number for number, label in enumerate(model.labels) if label == _PERSON]
    return np.array(people, np.int16) if people and not parameters.HasField("pitstop") else None


def frame_results(
    rows: TrackRows, start: int, stop: int, index: FrameIndex, model: Detector
) -> list[event_pb2.FrameResult]:
    """Every frame's objects, also of frames in which there is none."""
    borders = np.searchsorted(rows.frame_index, np.arange(start, stop + 1))
    return [
        event_pb2.FrameResult(
            frame_index=frame,
            time_sec=float(index.times[frame]),
            tracks=tracked_objects(
                rows.track_id[low:high], rows.box[low:high], rows.score[low:high], rows.class_id[low:high], model
            ),
        )
        for frame, low, high in zip(range(start, stop), borders[:-1], borders[1:], strict=True)
    ]


def tracked_objects(
    ids: NDArray[np.integer],
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    classes: NDArray[np.integer],
    model: Detector,
) -> list[tracking_pb2.TrackedObject]:
    """The tracks in one frame."""
    return [
        tracking_pb2.TrackedObject(
            track_id=track_id, box=_box(box), score=score, class_id=class_id, label=model.label(class_id)
        )
        for track_id, box, score, class_id in zip(
            ids.tolist(), boxes.tolist(), scores.tolist(), classes.tolist(), strict=True
        )
    ]


def detections(boxes: Boxes, kept: NDArray[np.intp], model: Detector) -> list[tracking_pb2.Detection]:
    """What was found in one picture, of the rows ``kept``."""
    return [
        tracking_pb2.Detection(box=_box(box), score=score, class_id=class_id, label=model.label(class_id))
        for box, score, class_id in zip(
            boxes.corners[kept].tolist(), boxes.scores[kept].tolist(), boxes.classes[kept].tolist(), strict=True
        )
    ]


def threshold_of(options: detect_track_pb2.DetectOptions, field: str) -> float:
    """The least score asked for.

    :raises InvalidArgument: OUT_OF_RANGE
    """
    threshold = options.threshold if options.HasField("threshold") else DEFAULT_THRESHOLD
    if not 0 <= threshold <= 1:
        raise InvalidArgument("OUT_OF_RANGE", "The threshold must lie between 0 and 1.", field=f"{field}.threshold")
    return threshold


def most_of(options: detect_track_pb2.DetectOptions, field: str) -> int:
    """The most objects asked for.

    :raises InvalidArgument: OUT_OF_RANGE
    """
    if not 0 <= options.max_detections <= _MOST_DETECTIONS:
        raise InvalidArgument(
            "OUT_OF_RANGE",
            f"max_detections must lie between 1 and {_MOST_DETECTIONS}.",
            field=f"{field}.max_detections",
        )
    return options.max_detections or _DEFAULT_DETECTIONS


def classes_of(labels: Sequence[str], model: Detector, field: str) -> NDArray[np.int16]:
    """The classes that have one of these names; all if there are none.

    :raises InvalidArgument: UNKNOWN_LABEL
    """
    unknown = sorted(set(labels) - set(model.labels))
    if unknown:
        raise InvalidArgument(
            "UNKNOWN_LABEL",
            f"The model {model.name} has no class {unknown[0][:64]!r}.",
            field=f"{field}.labels",
            model=model.name,
        )
    wanted = set(labels or model.labels)
    return np.array([number for number, label in enumerate(model.labels) if label in wanted], np.int16)


def parameters_of(options: detect_track_pb2.TrackOptions) -> Parameters:
    """How to follow.

    :raises InvalidArgument: OUT_OF_RANGE
    """
    if not (math.isfinite(options.max_lost_sec) and 0 <= options.max_lost_sec <= _LONGEST_LOST_S):
        raise InvalidArgument(
            "OUT_OF_RANGE",
            f"max_lost_sec must lie between 0 and {_LONGEST_LOST_S:g}.",
            field="options.max_lost_sec",
        )
    threshold = threshold_of(options.detect, "options.detect")
    parameters = parameters_for(
        threshold, options.max_lost_sec or _DEFAULT_LOST_S, camera_motion=options.camera_motion, hindsight=False
    )
    return replace(parameters, appearance=_APPEARANCE if options.embedder else 0.0)


def _box(corners: list[float]) -> common_pb2.Box:
    return common_pb2.Box(x1=corners[0], y1=corners[1], x2=corners[2], y2=corners[3])
