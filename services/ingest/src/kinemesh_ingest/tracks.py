"""The instructor's track, read from a job's results: the rows of a range of frames, and the figures over all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.protobuf.json_format import ParseDict
from numpy.typing import NDArray

from kinemesh.session.v1 import session_pb2
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore

_CORNERS: Final = ("x1", "y1", "x2", "y2")
_COLUMNS: Final = ("frame_index", "time_sec", "track_id", *_CORNERS, "score", "interpolated")
# A row takes 25 bytes or so of an answer, which may have 32 MB.
_MOST_ROWS: Final = 500_000
_BLOCK_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Tracking:
    """The track within frames ``[start, stop)``."""

    version: str
    frame_count: int
    stop: int
    points: session_pb2.TrackPoints
    detections: session_pb2.FrameDetections
    metrics: session_pb2.TrackMetrics


def read_tracking(store: ObjectStore, job_id: str, start: int, most: int, with_detections: bool) -> Tracking:
    """Read frames from ``start`` on, ``most`` of them or fewer if more would not fit into an answer. Blocks.

    :raises NotFound: OBJECT_NOT_FOUND.
    """
    with store.open_range(keys.output(job_id, "metrics.json")) as file:
        measured: dict[str, Any] = json.loads(file.read())
    size = np.tile((measured["width"], measured["height"]), 2)
    frames = int(measured["frame_count"])
    stop = max(start, min(start + most, frames))
    detections = session_pb2.FrameDetections()
    if with_detections:
        table = _rows(store, keys.output(job_id, "tracks.parquet"), start, stop)
        table = table.filter(pc.invert(table["interpolated"]))
        if len(table) > _MOST_ROWS:
            stop = int(table["frame_index"][_MOST_ROWS].as_py())
            table = table.filter(pc.less(table["frame_index"], stop))
        x1, y1, x2, y2 = _box(table, size).T
        detections = session_pb2.FrameDetections(
            frame_index=_of(table, "frame_index"),
            track_id=_of(table, "track_id"),
            x1=x1,
            y1=y1,
            x2=x2,
            y2=y2,
            score=_of(table, "score"),
        )
    table = _rows(store, keys.output(job_id, "instructor.parquet"), start, stop)
    x1, y1, x2, y2 = _box(table, size).T
    points = session_pb2.TrackPoints(
        frame_index=_of(table, "frame_index"),
        time_sec=_of(table, "time_sec"),
        x=(x1 + x2) / 2,
        y=(y1 + y2) / 2,
        width=x2 - x1,
        height=y2 - y1,
        score=_of(table, "score"),
        interpolated=_of(table, "interpolated"),
    )
    metrics = ParseDict(measured["metrics"], session_pb2.TrackMetrics(), ignore_unknown_fields=True)
    return Tracking(str(measured["version"]), frames, stop, points, detections, metrics)


def _rows(store: ObjectStore, key: str, start: int, stop: int) -> pa.Table:
    """Rows of frames ``[start, stop)``; groups of rows outside them are not fetched."""
    within = [("frame_index", ">=", start), ("frame_index", "<", stop)]
    with store.open_range(key, block_bytes=_BLOCK_BYTES) as file:
        return pq.read_table(file, columns=list(_COLUMNS), filters=within, use_threads=False)


def _of(table: pa.Table, column: str) -> NDArray[Any]:
    return np.asarray(table[column].to_numpy())


def _box(table: pa.Table, size: NDArray[Any]) -> NDArray[np.float64]:
    """Corners [R, 4] as fractions of the picture."""
    corners: NDArray[np.float64] = np.stack([_of(table, corner) for corner in _CORNERS], axis=1) / size
    return corners
