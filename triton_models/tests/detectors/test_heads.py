"""What detectors answer with, as boxes: against answers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh_models import heads


def close(found: NDArray[np.float32], expected: list[list[float]]) -> None:
    np.testing.assert_allclose(found, np.array(expected, np.float32).reshape(-1, 6), atol=1e-4)


def test_yolox_adds_the_grid_and_multiplies_probabilities() -> None:
    raw = np.zeros((126, 7), np.float32)
    raw[96 + 8] = [0.25, 0.5, np.log(3), np.log(2), 0.8, 0.1, 0.9]  # stride 16, row 1, column 2
    raw[1] = [0, 0, 0, 0, 0.9, 0.05, 0.05]  # 0.045: too little
    raw[2] = [0, 0, 200, 200, 0.9, 1, 0]  # no box, but an overflow: it must not hide the others
    found = heads.boxes("yolox", [raw], 64, 96)
    assert np.isfinite(found).all()
    close(found[found[:, 5] == 1], [[36 - 24, 24 - 16, 36 + 24, 24 + 16, 0.72, 1]])


def test_grids_are_row_by_row_and_stride_by_stride() -> None:
    grid = heads.grid(96, 64)
    assert grid.shape == (12 * 8 + 6 * 4 + 3 * 2, 3)
    assert grid[[0, 1, 12, 96, -1]].tolist() == [[0, 0, 8], [1, 0, 8], [0, 1, 8], [0, 0, 16], [2, 1, 32]]


def test_objectness_multiplies_and_classes_do_not() -> None:
    row = [30, 20, 10, 4, 0.5, 0.2, 0.8]
    close(heads.boxes("objectness", [np.array([row], np.float32)], 64, 96), [[25, 18, 35, 22, 0.4, 1]])
    column = np.array([[30, 20, 10, 4, 0.2, 0.8]], np.float32).T
    close(heads.boxes("classes", [column], 64, 96), [[25, 18, 35, 22, 0.8, 1]])


def test_overlapping_boxes_of_one_class_leave_the_best() -> None:
    rows = np.array(
        [[0, 0, 10, 10, 0.5, 0], [0, 0, 10, 11, 0.7, 0], [0, 0, 10, 10, 0.6, 1], [0, 7, 10, 17, 0.4, 0]], np.float32
    )
    assert heads.suppressed(rows).tolist() == rows[[1, 2, 3]].tolist()


def test_networks_with_nms_inside_are_put_in_order() -> None:
    dets = np.array([[0, 0, 5, 5, 0.2], [1, 1, 6, 6, 0.7], [0, 0, 5, 5, 0.04], [3, 3, 3, 9, 0.9]], np.float32)
    labels = np.array([4, 2, 0, 0], np.float32)
    expected = [[1, 1, 6, 6, 0.7, 2], [0, 0, 5, 5, 0.2, 4]]  # scores enough, and has an area
    close(heads.boxes("end2end", [dets, labels], 64, 96), expected)
    close(heads.boxes("nms", [np.concatenate([dets, labels[:, None]], axis=1)], 64, 96), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_box(value: float) -> None:
    raw = np.full((84, 8400), value, np.float32)
    raw[4:] = 0.9
    assert heads.boxes("classes", [raw], 640, 640).shape == (0, 6)
    assert heads.boxes("objectness", [np.full((20, 7), value, np.float32)], 640, 640).shape == (0, 6)


@pytest.mark.parametrize(("kind", "shape"), [("yolox", (126, 7)), ("objectness", (9, 7)), ("classes", (6, 9))])
def test_nothing_found(kind: str, shape: tuple[int, ...]) -> None:
    assert heads.boxes(kind, [np.zeros(shape, np.float32)], 64, 96).shape == (0, 6)
    assert heads.boxes("nms", [np.zeros((0, 6), np.float32)], 64, 96).shape == (0, 6)


def test_noise_gives_the_best_three_hundred() -> None:
    raw = np.random.default_rng(5).uniform(0, 1, (84, 8400)).astype(np.float32)
    raw[:2] *= 640
    raw[2:4] *= 20
    found = heads.boxes("classes", [raw], 640, 640)
    assert found.shape == (300, 6)
    assert (np.diff(found[:, 4]) <= 0).all()
    np.testing.assert_array_equal(found, heads.boxes("classes", [raw.copy()], 640, 640))


def test_parameters_are_read_as_they_were_written() -> None:
    head = heads.Head("yolox", "images", ("out, put",), 416, 256, True, True, "BGR", (1.5, 2, 3), half=True)
    assert heads.from_parameters(head.parameters()) == head
