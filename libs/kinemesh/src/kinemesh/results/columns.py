"""Dataclasses whose fields are equally long columns, as Parquet whose bytes follow from the values alone.

A column of numbers or strings is one of the table; rows of a matrix [R, K] become lists of K. Strings are null where
they are empty.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

R = TypeVar("R")


def select(rows: R, keep: NDArray[np.bool_] | NDArray[np.intp]) -> R:
    """The rows that a mask or an index array names."""
    return type(rows)(*(column[keep] for column in _columns(rows)))


def joined(parts: Sequence[R]) -> R:
    """The rows of all parts, of which there is at least one, in their order."""
    parts = [part for part in parts if len(_columns(part)[0])] or parts[:1]  # without rows, matrices have no width
    return type(parts[0])(*(np.concatenate(column) for column in zip(*map(_columns, parts), strict=True)))


def to_table(rows: object, schema: pa.Schema) -> pa.Table:
    """Columns as a table of a schema that has the fields' names in their order."""
    arrays = [_array(column, kind) for column, kind in zip(_columns(rows), schema.types, strict=True)]
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


def _columns(rows: object) -> list[NDArray[Any]]:
    return [getattr(rows, field.name) for field in fields(rows)]  # type: ignore[arg-type]


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
