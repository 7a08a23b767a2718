"""Rows of boxes as Parquet, between stages and for users; the bytes follow from the values alone."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemesh.results.tracks import TrackRows

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
