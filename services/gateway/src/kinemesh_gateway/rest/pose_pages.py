"""Pages of the landmark table as JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kinemesh.positioned import PositionedFile

_KEYS = ("frame_index", "time_sec", "person_id", "landmark")


def frames_in(file: PositionedFile) -> int:
    """One more than the last frame in which somebody was seen."""
    metadata = pq.ParquetFile(file).metadata
    groups = (metadata.row_group(i).column(0).statistics for i in range(metadata.num_row_groups))
    return max((int(group.max) + 1 for group in groups if group is not None and group.has_min_max), default=0)


def pose_page(file: PositionedFile, first: int, end: int) -> list[dict[str, Any]]:
    """The frames ``[first, end)`` of a table of :data:`kinemesh.results.poses.LANDMARK_SCHEMA`.

    Every frame is there once; one without persons has none, and no time since the table does not know it. Only the
    row groups that hold the frames are read.
    """
    frames: list[dict[str, Any]] = [
        {"frame_index": index, "time_sec": None, "persons": []} for index in range(first, end)
    ]
    parquet = pq.ParquetFile(file)
    for group in range(parquet.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(0).statistics
        if statistics is not None and statistics.has_min_max and not (statistics.max >= first and statistics.min < end):
            continue
        table = parquet.read_row_group(group, use_threads=False)
        index = table.column("frame_index")
        _fill(frames, table.filter(pc.and_(pc.greater_equal(index, first), pc.less(index, end))), first)
    return frames


def _fill(frames: Sequence[dict[str, Any]], table: pa.Table, first: int) -> None:
    """Add rows, which are ordered by frame and person."""
    values = [name for name in table.column_names if name not in _KEYS]
    columns = [table.column(name).to_pylist() for name in values]
    person: dict[str, Any] = {}
    before: tuple[int, int] | None = None
    keys = (table.column(name).to_pylist() for name in _KEYS)
    for row, (index, time_sec, person_id, landmark) in enumerate(zip(*keys, strict=True)):
        frame = frames[index - first]
        if (index, person_id) != before:
            before = (index, person_id)
            person = {"person_id": person_id, "landmarks": []}
            frame["time_sec"] = time_sec
            frame["persons"].append(person)
        numbers = {name: _number(column[row]) for name, column in zip(values, columns, strict=True)}
        person["landmarks"].append({"name": landmark} | numbers)


def _number(value: float | None) -> float | None:
    return round(value, 6) if value is not None and math.isfinite(value) else None
