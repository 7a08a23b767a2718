"""Columns as Parquet whose bytes follow from the values alone.

A column of numbers or strings is one of the table; rows of a matrix [R, K] become lists of K. Strings are null where
they are empty.
"""

from __future__ import annotations

import io
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemesh.results.columns import columns

R = TypeVar("R")

LOOK_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("row", pa.int32()),
        ("track_id", pa.int32()),
        ("quality", pa.float32()),
        ("embedding", pa.list_(pa.float32())),
    ]
)

_COVARIANCE = [("cov_xx", pa.float64()), ("cov_xy", pa.float64()), ("cov_yy", pa.float64())]

SIGHTING_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("time_sec", pa.float64()),
        ("camera", pa.string()),
        ("recording", pa.string()),
        ("camera_frame_index", pa.int64()),
        ("track_id", pa.int32()),
        ("person", pa.int32()),
        ("global_id", pa.string()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("x2", pa.float32()),
        ("y2", pa.float32()),
        ("score", pa.float32()),
        ("class_id", pa.int16()),
        ("interpolated", pa.bool_()),
        ("map_x", pa.float64()),
        ("map_y", pa.float64()),
        *_COVARIANCE,
        ("feet_hidden", pa.bool_()),
    ]
)

PATH_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("time_sec", pa.float64()),
        ("person", pa.int32()),
        ("global_id", pa.string()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("vx", pa.float64()),
        ("vy", pa.float64()),
        ("cameras", pa.int32()),
    ]
)

PERSON_SCHEMA = pa.schema(
    [
        ("person", pa.int32()),
        ("global_id", pa.string()),
        ("known", pa.bool_()),
        ("first_sec", pa.float64()),
        ("last_sec", pa.float64()),
        ("cameras", pa.string()),
        ("worth", pa.float32()),
        ("embedding", pa.list_(pa.float32())),
    ]
)

MATCH_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("time_sec", pa.float64()),
        ("verdict", pa.int8()),
        ("reason", pa.string()),
        ("followed", pa.bool_()),
        ("image_features", pa.int32()),
        ("matches", pa.int32()),
        ("inliers", pa.int32()),
        ("coverage", pa.float64()),
        ("rms_error_px", pa.float64()),
        ("condition_number", pa.float64()),
        ("matrix", pa.list_(pa.float64())),
    ]
)

COURSE_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("time_sec", pa.float64()),
        ("attempt", pa.int32()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("interpolated", pa.bool_()),
    ]
)

HOLD_SCHEMA = pa.schema(
    [
        ("attempt", pa.int32()),
        ("limb", pa.string()),
        ("hold", pa.int32()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("start_sec", pa.float64()),
        ("stop_sec", pa.float64()),
    ]
)


def to_table(rows: object, schema: pa.Schema) -> pa.Table:
    """Columns as a table of a schema that has the fields' names in their order."""
    arrays = [_array(column, kind) for column, kind in zip(columns(rows), schema.types, strict=True)]
    return pa.table(arrays, schema=schema)


def to_parquet(table: pa.Table) -> bytes:
    """A table as Parquet."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False, write_statistics=True)
    return buffer.getvalue()


def from_parquet(kind: type[R], data: bytes, schema: pa.Schema) -> R:
    """Read what :func:`to_parquet` wrote of rows of a kind."""
    # Not by ``read_table``, which first imports what it needs for whole folders of files.
    table = pq.ParquetFile(io.BytesIO(data)).read(columns=schema.names, use_threads=False)
    return kind(*(_numbers(table[name], column) for name, column in zip(schema.names, schema.types, strict=True)))


def _array(column: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array(column.astype(object), kind, mask=column == "")
    if pa.types.is_list(kind):
        # Of variable length in the schema, as the length differs from job to job, but the same in all rows.
        offsets = np.arange(len(column) + 1, dtype=np.int32) * np.int32(column.shape[1])
        return pa.ListArray.from_arrays(offsets, pa.array(column.ravel().astype(kind.value_type.to_pandas_dtype())))
    return pa.array(column, kind)


def _numbers(column: pa.ChunkedArray, kind: pa.DataType) -> NDArray[Any]:
    if pa.types.is_string(kind):
        return np.array([text or "" for text in column.to_pylist()], np.str_)
    if pa.types.is_list(kind):
        flat: NDArray[Any] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), -1) if len(column) else flat.reshape(0, 0)
    result: NDArray[Any] = column.to_numpy()
    return result
