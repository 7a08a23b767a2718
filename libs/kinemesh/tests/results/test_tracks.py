"""Rows of boxes survive being written, whatever they hold."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from kinemesh.results.tracks import TrackRows, concatenate, empty_rows
from kinemesh.results.tracks_parquet import TRACK_SCHEMA, rows_from_parquet, rows_to_parquet


def some_rows(count: int, seed: int = 0) -> TrackRows:
    random = np.random.default_rng(seed)
    return TrackRows(
        np.sort(random.integers(0, 50, count)),
        np.sort(random.random(count)),
        random.integers(0, 9, count).astype(np.int32),
        random.random((count, 4)).astype(np.float32),
        random.random(count).astype(np.float32),
        random.integers(0, 80, count).astype(np.int16),
        random.random(count) < 0.5,
    )


def same(a: TrackRows, b: TrackRows) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
        for name in TrackRows.__slots__
    )


@given(count=st.integers(0, 40), seed=st.integers(0, 99))
def test_rows_survive_being_written(count: int, seed: int) -> None:
    rows = some_rows(count, seed)
    assert same(rows_from_parquet(rows_to_parquet(rows)), rows)


def test_the_same_rows_are_the_same_bytes() -> None:
    assert rows_to_parquet(some_rows(30)) == rows_to_parquet(some_rows(30))


def test_a_reader_without_our_code_finds_the_documented_columns() -> None:
    table = pq.read_table(io.BytesIO(rows_to_parquet(some_rows(3))))
    assert table.schema.equals(TRACK_SCHEMA)


def test_parts_join_in_their_order() -> None:
    a, b = some_rows(5), some_rows(7, seed=1)
    joined = concatenate([a, empty_rows(), b])
    assert same(joined.where(np.arange(5)), a)
    assert same(joined.where(np.arange(5, 12)), b)
    assert same(concatenate([]), empty_rows())
