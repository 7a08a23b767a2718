"""Pages of the table of per-frame match quality as JSON values."""

from __future__ import annotations

import math
from typing import Any

import pyarrow.parquet as pq

from kinemesh.positioned import PositionedFile

_COLUMNS = (
    *("attempt", "camera", "frame_index", "time_sec", "verdict", "reason", "source"),
    *("matches", "inliers", "coverage", "rms_error_px", "condition_number"),
)


def match_page(file: PositionedFile, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """At most ``limit`` rows after ``offset`` rows, and the number of rows in all.

    Only the row groups that hold the rows are read. Numbers that are none, and empty texts, are None.
    """
    parquet = pq.ParquetFile(file)
    rows: list[dict[str, Any]] = []
    end = offset + limit
    first = 0
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        start, stop = max(offset - first, 0), min(end - first, count)
        if start < stop:
            table = parquet.read_row_group(group, columns=list(_COLUMNS), use_threads=False)
            rows += table.slice(start, stop - start).to_pylist()
        first += count
    return [{name: _value(row[name]) for name in _COLUMNS} for row in rows], parquet.metadata.num_rows


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return None if value == "" else value
