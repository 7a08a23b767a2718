from __future__ import annotations

import numpy as np

from kinemesh_matcher import points


def test_points_come_back_as_they_were_written() -> None:
    rows = points.PointRows(
        np.array([3, 3, 7], np.int64), np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2) / 3
    )
    data = points.to_bytes(rows)
    read = points.from_bytes(data)
    assert points.to_bytes(rows) == data
    assert read.frame_index.tolist() == [3, 3, 7]
    assert np.array_equal(read.image, rows.image)
    assert np.array_equal(read.reference, rows.reference)


def test_no_points_keep_their_form() -> None:
    read = points.from_bytes(points.to_bytes(points.no_points()))
    assert read.frame_index.shape == (0,)
    assert read.image.shape == (0, 2)
    assert read.reference.shape == (0, 2)
