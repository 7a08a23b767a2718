"""Features as Parquet: what is kept of reference images, and with attempts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kinemesh.results.columns_parquet import to_parquet
from kinemesh_matcher.domain.features import Features, no_features

SUFFIX: Final = "features"
"""Names the features of an attempt's frames beside the rows of the stage match."""

_LENGTH: Final = 128
_COLUMNS: Final = [
    ("x", pa.float32()),
    ("y", pa.float32()),
    ("size", pa.float32()),
    ("angle", pa.float32()),
    ("response", pa.float32()),
    ("descriptor", pa.list_(pa.uint8(), _LENGTH)),
]
SCHEMA: Final = pa.schema(_COLUMNS)
FRAME_SCHEMA: Final = pa.schema([("frame_index", pa.int64()), *_COLUMNS])


def to_bytes(features: Features) -> bytes:
    """Features of one picture as Parquet of :data:`SCHEMA`."""
    return to_parquet(pa.table(_arrays(features), schema=SCHEMA))


def from_bytes(data: bytes) -> Features:
    """The inverse of :func:`to_bytes`."""
    table = pq.ParquetFile(io.BytesIO(data)).read(columns=SCHEMA.names, use_threads=False).combine_chunks()
    if not table.num_rows:
        return no_features()
    x, y, size, angle, response = (table[name].to_numpy().astype(np.float32) for name in SCHEMA.names[:-1])
    descriptors = table["descriptor"].combine_chunks().flatten().to_numpy().reshape(-1, _LENGTH)
    return Features(np.stack([x, y], axis=1), size, angle, response, descriptors.astype(np.uint8))


def frames_to_bytes(frames: Sequence[tuple[int, Features]]) -> bytes:
    """Features of several frames, given with their indices, as Parquet of :data:`FRAME_SCHEMA`."""
    parts = [
        pa.table([pa.array(np.full(len(features), frame, np.int64)), *_arrays(features)], schema=FRAME_SCHEMA)
        for frame, features in frames
    ]
    return to_parquet(pa.concat_tables(parts) if parts else FRAME_SCHEMA.empty_table())


def _arrays(features: Features) -> list[pa.Array]:
    numbers = [*features.points.T, features.size, features.angle, features.response]
    flat = pa.array(np.ascontiguousarray(features.descriptors).ravel())
    return [
        *(pa.array(np.ascontiguousarray(column, np.float32)) for column in numbers),
        pa.FixedSizeListArray.from_arrays(flat, _LENGTH),
    ]
