"""Points of frames and where they lie on the reference, as columns: from the stage match to retarget.

One transform for a whole clip is estimated from the points of all frames that were looked at, so they are passed on
beside the rows of the stage match.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kinemesh.results import columns_parquet

SUFFIX: Final = "points"
"""Names the points beside the rows of the stage match."""

SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("image", pa.list_(pa.float64())),
        ("reference", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class PointRows:
    """R pairs of points that look alike, ordered by frame.

    :ivar frame_index: int64 [R], index of the frame in the asset.
    :ivar image: float64 [R, 2], x and y in pixels of the upright frame.
    :ivar reference: float64 [R, 2], x and y in pixels of the reference.
    """

    frame_index: NDArray[np.int64]
    image: NDArray[np.float64]
    reference: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame_index)


def no_points() -> PointRows:
    """No pair at all."""
    return PointRows(np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 2)))


def to_bytes(rows: PointRows) -> bytes:
    """Points as Parquet of :data:`SCHEMA`."""
    return columns_parquet.to_parquet(columns_parquet.to_table(rows, SCHEMA))


def from_bytes(data: bytes) -> PointRows:
    """The inverse of :func:`to_bytes`."""
    rows = columns_parquet.from_parquet(PointRows, data, SCHEMA)
    return rows if len(rows) else no_points()  # without rows, matrices have no width
