"""Poses as columns: what the stages pose, stitch, movement and render pass on, and the table that users get.

Between stages a row is one person in one frame (:data:`ROW_SCHEMA`). The table for users has one row per
landmark (:data:`LANDMARK_SCHEMA`), which pandas, DuckDB and Polars group without unpacking anything.
Both are Parquet whose bytes follow from the values alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

LANDMARKS = 33

ROW_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("time_sec", pa.float64()),
        ("person_id", pa.int32()),
        ("score", pa.float32()),
        ("warm_up", pa.bool_()),
        ("image", pa.list_(pa.float32(), LANDMARKS * 5)),
        ("world", pa.list_(pa.float32(), LANDMARKS * 3)),
    ]
)

LANDMARK_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("time_sec", pa.float64()),
        ("person_id", pa.int32()),
        ("landmark", pa.dictionary(pa.int8(), pa.string())),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("z", pa.float32()),
        ("visibility", pa.float32()),
        ("presence", pa.float32()),
        ("world_x", pa.float32()),
        ("world_y", pa.float32()),
        ("world_z", pa.float32()),
    ]
)
"""With smoothing, ``smooth_x``, ``smooth_y`` and ``smooth_z`` (FP32, as x, y, z) follow; of route jobs,
``interpolated``."""


@dataclass(frozen=True, slots=True)
class PoseRows:
    """R observations of persons, ordered by frame, then person.

    :ivar frame_index: int64 [R], index of the frame in the asset.
    :ivar time_sec: float64 [R], presentation time in seconds.
    :ivar person_id: int32 [R]; local to the segment before the stage stitch, to the clip after it.
    :ivar score: float32 [R], confidence 0 to 1.
    :ivar warm_up: bool [R], whether the frame lies before the segment and is there to be matched only.
    :ivar image: float32 [R, 33, 5]: x, y as fractions of the upright frame's width and height, z in the
        scale of x, visibility, presence.
    :ivar world: float32 [R, 33, 3]: metres, from the middle of the hips.
    """

    frame_index: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    person_id: NDArray[np.int32]
    score: NDArray[np.float32]
    warm_up: NDArray[np.bool_]
    image: NDArray[np.float32]
    world: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.frame_index)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> PoseRows:
        """The rows that a mask or an index array names."""
        return PoseRows(*(getattr(self, f.name)[keep] for f in fields(self)))

    def with_ids(self, person_id: NDArray[np.int32]) -> PoseRows:
        """The same rows with other ids."""
        return replace(self, person_id=person_id.astype(np.int32))


def empty_rows() -> PoseRows:
    """No observation at all."""
    return PoseRows(
        np.empty(0, np.int64),
        np.empty(0, np.float64),
        np.empty(0, np.int32),
        np.empty(0, np.float32),
        np.empty(0, np.bool_),
        np.empty((0, LANDMARKS, 5), np.float32),
        np.empty((0, LANDMARKS, 3), np.float32),
    )


def concatenate(parts: Sequence[PoseRows]) -> PoseRows:
    """The rows of all parts in their order."""
    if not parts:
        return empty_rows()
    return PoseRows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(PoseRows)))


def rows_to_parquet(rows: PoseRows) -> bytes:
    """Rows as Parquet of :data:`ROW_SCHEMA`."""
    count = len(rows)
    table = pa.table(
        [
            pa.array(rows.frame_index),
            pa.array(rows.time_sec),
            pa.array(rows.person_id),
            pa.array(rows.score),
            pa.array(rows.warm_up),
            _fixed_lists(rows.image.reshape(count, LANDMARKS * 5)),
            _fixed_lists(rows.world.reshape(count, LANDMARKS * 3)),
        ],
        schema=ROW_SCHEMA,
    )
    return _write(table)


def rows_from_parquet(data: bytes) -> PoseRows:
    """The inverse of :func:`rows_to_parquet`."""
    # Not by ``read_table``, which first imports what it needs for whole folders of files.
    table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).cast(ROW_SCHEMA).combine_chunks()
    flat = {name: table.column(name) for name in table.column_names}
    count = table.num_rows

    def numbers(name: str) -> NDArray[np.generic]:
        values: NDArray[np.generic] = flat[name].to_numpy()
        return values

    def lists(name: str, *shape: int) -> NDArray[np.float32]:
        column = flat[name].combine_chunks()
        values: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(count, *shape)

    return PoseRows(
        numbers("frame_index").astype(np.int64),
        numbers("time_sec").astype(np.float64),
        numbers("person_id").astype(np.int32),
        numbers("score").astype(np.float32),
        numbers("warm_up").astype(np.bool_),
        lists("image", LANDMARKS, 5),
        lists("world", LANDMARKS, 3),
    )


def landmark_table(
    rows: PoseRows,
    names: Sequence[str],
    smooth: NDArray[np.float32] | None = None,
    interpolated: NDArray[np.bool_] | None = None,
) -> bytes:
    """The users' table of :data:`LANDMARK_SCHEMA`.

    :param names: the 33 landmarks' names, in order.
    :param smooth: float32 [R, 33, 3], smoothed x, y, z, if there are any.
    :param interpolated: bool [R], what was filled in between other frames, if that is told.
    """
    count = len(rows)

    def repeated(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.repeat(values, LANDMARKS)

    landmark = pa.DictionaryArray.from_arrays(
        pa.array(np.tile(np.arange(LANDMARKS, dtype=np.int8), count)), pa.array(list(names), pa.string())
    )
    columns = [repeated(rows.frame_index), repeated(rows.time_sec), repeated(rows.person_id), landmark]
    columns += [rows.image[:, :, i].reshape(-1) for i in range(5)]
    columns += [rows.world[:, :, i].reshape(-1) for i in range(3)]
    schema = LANDMARK_SCHEMA
    if smooth is not None:
        columns += [smooth[:, :, i].reshape(-1).astype(np.float32) for i in range(3)]
        for name in ("smooth_x", "smooth_y", "smooth_z"):
            schema = schema.append(pa.field(name, pa.float32()))
    if interpolated is not None:
        columns.append(repeated(interpolated))
        schema = schema.append(pa.field("interpolated", pa.bool_()))
    return _write(pa.table([pa.array(c) if isinstance(c, np.ndarray) else c for c in columns], schema=schema))


def _fixed_lists(values: NDArray[np.float32]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _write(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=["landmark"], write_statistics=True)
    return buffer.getvalue()
