from __future__ import annotations

import pytest

from kinemesh.environment.v1 import calibration_pb2
from kinemesh.geometry.lens import Model
from kinemesh.geometry.messages import lens_of


@pytest.mark.parametrize(
    ("size", "scale"), [(None, (1.0, 1.0)), ((1280, 720), (1.0, 1.0)), ((640, 360), (0.5, 0.5)), ((640, 720), (0.5, 1))]
)
def test_a_lens_is_scaled_with_the_picture(size: tuple[int, int] | None, scale: tuple[float, float]) -> None:
    given = calibration_pb2.LensDistortion(fx=900, fy=910, cx=640, cy=360, image_width=1280, image_height=720)
    given.coefficients.extend([0.1, 0.01, 0.0, 0.0])
    found = lens_of(given, size)
    assert found.model is Model.BROWN_CONRADY
    across, down = scale
    assert found.camera.tolist() == [[900 * across, 0, 640 * across], [0, 910 * down, 360 * down], [0, 0, 1]]
    assert found.coefficients.tolist() == [0.1, 0.01, 0.0, 0.0]


def test_values_without_a_size_hold_for_every_picture() -> None:
    given = calibration_pb2.LensDistortion(model=calibration_pb2.LENS_MODEL_FISHEYE, fx=9, fy=9, coefficients=[0.0] * 4)
    found = lens_of(given, (640, 480))
    assert (found.model, found.camera[0, 0]) == (Model.FISHEYE, 9)
