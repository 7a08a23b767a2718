"""Boxes as columns: what the stages detect, track and refine pass on, and the table that users get.

A row is one object in one frame. Parquet whose bytes follow from the values alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_CORNERS = ("x1", "y1", "x2", "y2")

TRACK_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("time_sec", pa.float64()),
        ("track_id", pa.int32()),
        *((corner, pa.float32()) for corner in _CORNERS),
        ("score", pa.float32()),
        ("class_id", pa.int16()),
        ("interpolated", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class TrackRows:
    """R boxes, ordered by frame.

    :ivar frame_index: int64 [R], index of the frame in the asset.
    :ivar time_sec: float64 [R], presentation time in seconds.
    :ivar track_id: int32 [R], from 1; 0 where a box belongs to no track.
    :ivar box: float32 [R, 4], ``x1 y1 x2 y2`` in pixels of the upright picture.
    :ivar score: float32 [R], confidence 0 to 1.
    :ivar class_id: int16 [R], as the model counts its classes.
    :ivar interpolated: bool [R], whether the box was filled in between frames where the object was seen.
    """

    frame_index: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    track_id: NDArray[np.int32]
    box: NDArray[np.float32]
    score: NDArray[np.float32]
    class_id: NDArray[np.int16]
    interpolated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.frame_index)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> TrackRows:
        """The rows that a mask or an index array names."""
        return TrackRows(*(getattr(self, f.name)[keep] for f in fields(self)))


def empty_rows() -> TrackRows:
    """No box at all."""
    return TrackRows(
        np.empty(0, np.int64),
        np.empty(0, np.float64),
        np.empty(0, np.int32),
        np.empty((0, 4), np.float32),
        np.empty(0, np.float32),
        np.empty(0, np.int16),
        np.empty(0, np.bool_),
    )


def concatenate(parts: Sequence[TrackRows]) -> TrackRows:
    """The rows of all parts in their order."""
    if not parts:
        return empty_rows()
    return TrackRows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(TrackRows)))


def to_table(rows: TrackRows) -> pa.Table:
    """Rows as a table of :data:`TRACK_SCHEMA`."""
    columns = [rows.frame_index, rows.time_sec, rows.track_id]
    columns += [rows.box[:, corner] for corner in range(4)]
    columns += [rows.score, rows.class_id, rows.interpolated]
    return pa.table([pa.array(column) for column in columns], schema=TRACK_SCHEMA)


def rows_to_parquet(rows: TrackRows) -> bytes:
    """Rows as Parquet of :data:`TRACK_SCHEMA`."""
    buffer = io.BytesIO()
    pq.write_table(to_table(rows), buffer, compression="zstd", use_dictionary=False, write_statistics=True)
    return buffer.getvalue()


def rows_from_parquet(data: bytes) -> TrackRows:
    """Read what :func:`rows_to_parquet` wrote."""
    table = pq.read_table(io.BytesIO(data), schema=TRACK_SCHEMA)

    def column(name: str) -> NDArray[np.generic]:
        values: NDArray[np.generic] = table[name].to_numpy()
        return values

    return TrackRows(
        column("frame_index").astype(np.int64),
        column("time_sec").astype(np.float64),
        column("track_id").astype(np.int32),
        np.stack([column(corner) for corner in _CORNERS], axis=1).astype(np.float32),
        column("score").astype(np.float32),
        column("class_id").astype(np.int16),
        column("interpolated").astype(np.bool_),
    )
