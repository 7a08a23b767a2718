"""Boxes come back to where they were in the picture, whatever its proportions."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh.errors import InvalidArgument
from kinemesh.inference.detector import Detector, in_picture, letterbox, padded, resized, scaled

FIXED = Detector("fixed", 416, 416, False, ("person", "car"))
RESIZABLE = Detector("resizable", 416, 416, True, ("person",))


@pytest.mark.parametrize("size", [(768, 432), (432, 768), (416, 416), (1, 5000), (5000, 1), (33, 17)])
@pytest.mark.parametrize("detector", [FIXED, RESIZABLE])
def test_a_box_in_the_input_is_the_same_box_in_the_picture(detector: Detector, size: tuple[int, int]) -> None:
    width, height = size
    box = letterbox(detector, width, height)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:] = 200
    image = padded(scaled(picture, box), box)
    assert image.shape == (box.padded[1], box.padded[0], 3)
    rows, columns = np.nonzero(image[:, :, 0] == 200)
    whole = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9, 0]
    found = in_picture(np.array([whole], np.float32), box)
    np.testing.assert_allclose(found.corners, [[0, 0, width, height]], rtol=1e-6)


def test_a_resizable_input_is_no_larger_than_the_picture_needs() -> None:
    assert letterbox(RESIZABLE, 768, 432).padded == (416, 256)
    assert letterbox(RESIZABLE, 432, 768).padded == (256, 416)
    assert letterbox(FIXED, 768, 432).padded == (416, 416)


def test_a_larger_input_is_the_whole_of_what_changes() -> None:
    assert letterbox(resized(RESIZABLE, 960, "input_size"), 1280, 720).padded == (960, 544)
    assert resized(RESIZABLE, 0, "input_size") == RESIZABLE
    for detector, size, reason in (
        (RESIZABLE, 100, "OUT_OF_RANGE"),
        (RESIZABLE, 32, "OUT_OF_RANGE"),
        (RESIZABLE, 1568, "OUT_OF_RANGE"),
        (RESIZABLE, -64, "OUT_OF_RANGE"),
        (FIXED, 640, "FIXED_INPUT_SIZE"),
    ):
        with pytest.raises(InvalidArgument) as refusal:
            resized(detector, size, "input_size")
        assert refusal.value.reason == reason
        assert refusal.value.metadata["field"] == "input_size"


def test_what_pads_or_lies_outside_is_no_box() -> None:
    box = letterbox(FIXED, 832, 416)
    rows = np.array([[-10, -10, 20, 20, 0.9, 1], [10, 300, 50, 400, 0.8, 0], [0, 0, 0, 0, 0, 0]], np.float32)
    found = in_picture(rows, box)
    np.testing.assert_allclose(found.corners, [[0, 0, 40, 40]])
    assert found.classes.tolist() == [1]


def test_a_class_without_a_name_goes_by_its_number() -> None:
    assert [FIXED.label(number) for number in (0, 1, 2, -1)] == ["person", "car", "2", "-1"]
