from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq

from kinemesh.results.poses import (
    PoseRows,
    concatenate,
    empty_rows,
    landmark_table,
    rows_from_parquet,
    rows_to_parquet,
)


def some_rows(count: int) -> PoseRows:
    rng = np.random.default_rng(7)
    return PoseRows(
        np.arange(count, dtype=np.int64),
        np.arange(count) / 30.0,
        np.arange(count, dtype=np.int32) % 3,
        rng.random(count, dtype=np.float32),
        np.arange(count) < 2,
        rng.random((count, 33, 5), dtype=np.float32),
        rng.random((count, 33, 3), dtype=np.float32),
    )


def test_rows_survive_parquet_and_bytes_repeat() -> None:
    rows = some_rows(17)
    data = rows_to_parquet(rows)
    back = rows_from_parquet(data)
    for name in ("frame_index", "time_sec", "person_id", "score", "warm_up", "image", "world"):
        np.testing.assert_array_equal(getattr(back, name), getattr(rows, name), strict=True)
    assert rows_to_parquet(back) == data


def test_no_rows_survive_parquet() -> None:
    back = rows_from_parquet(rows_to_parquet(empty_rows()))
    assert len(back) == 0
    assert back.image.shape == (0, 33, 5)


def test_concatenate_keeps_order_and_where_selects() -> None:
    rows = some_rows(9)
    whole = concatenate([rows.where(rows.frame_index < 4), rows.where(rows.frame_index >= 4)])
    np.testing.assert_array_equal(whole.image, rows.image)


def test_landmark_table_has_one_row_per_landmark() -> None:
    rows = some_rows(4)
    names = [f"l{i}" for i in range(33)]
    table = pq.read_table(io.BytesIO(landmark_table(rows, names, smooth=rows.image[:, :, :3])))
    assert table.num_rows == 4 * 33
    record = table.slice(33 * 2 + 5, 1).to_pylist()[0]
    assert record["frame_index"] == 2
    assert record["landmark"] == "l5"
    assert record["world_y"] == rows.world[2, 5, 1]
    assert record["smooth_x"] == record["x"] == rows.image[2, 5, 0]
