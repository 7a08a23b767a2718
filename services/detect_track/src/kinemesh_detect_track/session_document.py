"""The result of a recorded session as JSON, in camelCase as the clients of that surface read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from kinemesh.media import FrameIndex
from kinemesh.results.tracks import TrackRows
from kinemesh_detect_track.domain.path import COLUMNS, ROWS, PathMetrics
from kinemesh_detect_track.values import rounded, six

VERSION: Final = "v1"
_CHUNK: Final = 2000  # frames that are objects of Python at a time


def tracking_json(
    rows: TrackRows, own: TrackRows, subject: int | None, index: FrameIndex, figures: PathMetrics
) -> Iterator[bytes]:
    """The result document, some frames at a time: a long recording's detections would fill the memory as objects."""
    video = {
        "width": index.width,
        "height": index.height,
        "fps": six(float(index.frame_rate)),
        "frameCount": index.frame_count,
        "durationSec": six(index.duration_s),
    }
    yield b'{"version":' + orjson.dumps(VERSION) + b',"video":' + orjson.dumps(video) + b',"frameDetections":['
    seen = rows.where(~rows.interpolated)
    for start in range(0, index.frame_count, _CHUNK):
        frames = range(start, min(start + _CHUNK, index.frame_count))
        yield b"," * (start > 0) + orjson.dumps(_frame_detections(seen, subject, frames, index))[1:-1]
    yield b'],"trackPoints":['
    for start in range(0, len(own), _CHUNK):
        part = own.where(np.arange(start, min(start + _CHUNK, len(own))))
        yield b"," * (start > 0) + orjson.dumps(_track_points(part, index))[1:-1]
    yield b'],"derivedMetrics":' + orjson.dumps(_derived(figures)) + b"}"


def metrics_of(figures: PathMetrics) -> dict[str, Any]:
    """Keys as in kinemesh.session.v1.TrackMetrics."""
    return {
        "coverage_percent": six(figures.coverage_percent),
        "gaps_count": figures.gaps_count,
        "longest_gap_sec": six(figures.longest_gap_sec),
        "total_distance": six(figures.total_distance),
        "jitter": six(figures.jitter),
        "mean_speed": six(figures.mean_speed),
        "max_speed": six(figures.max_speed),
        "rest_sec": six(figures.rest_sec),
        "speed_profile": rounded(figures.speed_profile),
        "heat_map": {"columns": COLUMNS, "rows": ROWS, "seconds": rounded(figures.heat_map.ravel())},
    }


def _derived(figures: PathMetrics) -> dict[str, Any]:
    metrics = metrics_of(figures)
    return {
        "coveragePercent": metrics["coverage_percent"],
        "gapsCount": metrics["gaps_count"],
        "longestGapSec": metrics["longest_gap_sec"],
        "totalDistance": metrics["total_distance"],
        "jitter": metrics["jitter"],
        "meanSpeed": metrics["mean_speed"],
        "maxSpeed": metrics["max_speed"],
        "timeAtRestSec": metrics["rest_sec"],
        "speedProfile": metrics["speed_profile"],
        "heatMap": metrics["heat_map"],
    }


def _frame_detections(seen: TrackRows, subject: int | None, frames: range, index: FrameIndex) -> list[dict[str, Any]]:
    starts = np.searchsorted(seen.frame_index, np.arange(frames.start, frames.stop + 1)).tolist()
    part = seen.where(np.arange(starts[0], starts[-1]))
    ids, scores, boxes = part.track_id.tolist(), rounded(part.score), np.round(_fractions(part, index), 6).tolist()
    detections = [
        {
            "trackId": track_id,
            "x1": x1,
            "y1": y1,
            "x2": x2,
            "y2": y2,
            "score": score,
            "isInstructor": track_id == subject,
        }
        for track_id, score, (x1, y1, x2, y2) in zip(ids, scores, boxes, strict=True)
    ]
    times = rounded(index.times[frames.start : frames.stop])
    return [
        {
            "frameIndex": frame,
            "timeSec": time,
            "detections": detections[starts[number] - starts[0] : starts[number + 1] - starts[0]],
        }
        for number, (frame, time) in enumerate(zip(frames, times, strict=True))
    ]


def _track_points(own: TrackRows, index: FrameIndex) -> list[dict[str, Any]]:
    box = _fractions(own, index)
    middle, sides = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
    columns = (
        own.frame_index.tolist(),
        rounded(index.times[own.frame_index]),
        *(rounded(values) for values in (*middle.T, *sides.T, own.score)),
        own.interpolated.tolist(),
    )
    names = ("frameIndex", "timeSec", "x", "y", "width", "height", "score", "interpolated")
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _fractions(rows: TrackRows, index: FrameIndex) -> NDArray[np.float64]:
    return np.asarray(rows.box.astype(np.float64) / np.array([index.width, index.height] * 2))
