"""Detections drawn on a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kinemesh.errors import InvalidArgument
from kinemesh_client.detections import Box, Detection
from kinemesh_client.drawing import draw

CAR = Detection(Box(100.0, 80.0, 300.0, 200.0), 0.87, 0, "car")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.zeros((240, 400, 3), np.uint8))
    return path


def drawn(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, np.uint8)


def test_boxes_have_edges_and_a_label_above(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    draw(picture, (400, 240), [CAR], out)
    image = drawn(out)
    assert image[200, 100:300].any(axis=1).all(), "the lower edge"
    assert image[80:200, 300].any(axis=1).all(), "the right edge"
    assert not image[90:190, 110:290].any(), "the object itself stays"
    assert image[70, 102].any(), "the label"
    again = tmp_path / "again.png"
    draw(picture, (400, 240), [CAR], again)
    assert out.read_bytes() == again.read_bytes()


def test_boxes_that_reach_over_the_border_are_drawn_as_far_as_they_go(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    draw(picture, (400, 240), [Detection(Box(-50.0, -20.0, 450.0, 120.0), 0.5, 300, "car")], out)
    assert drawn(out)[120].any(axis=1).all()


def test_nothing_found_leaves_the_picture_as_it_is(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    draw(picture, (400, 240), [], out)
    assert not drawn(out).any()


@pytest.mark.parametrize("size", [(240, 400), (1, 1)])
def test_boxes_of_another_picture_are_refused(picture: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgument) as raised:
        draw(picture, size, [CAR], tmp_path / "out.png")
    assert raised.value.reason == "PICTURE_UNREADABLE"
