"""Lenses as messages tell of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from kinemesh.environment.v1 import calibration_pb2
from kinemesh.geometry.lens import Lens, Model

LENS_MODELS: Final = {
    calibration_pb2.LENS_MODEL_UNSPECIFIED: Model.BROWN_CONRADY,
    calibration_pb2.LENS_MODEL_BROWN_CONRADY: Model.BROWN_CONRADY,
    calibration_pb2.LENS_MODEL_FISHEYE: Model.FISHEYE,
}


def lens_of(distortion: calibration_pb2.LensDistortion, size: tuple[int, int] | None = None) -> Lens:
    """A lens whose message has been checked.

    :param size: width and height of the pictures that it is wanted for; those that its values hold for if None.
    """
    given = distortion.image_width, distortion.image_height
    across, down = (own / of for own, of in zip(size, given, strict=True)) if size and all(given) else (1.0, 1.0)
    camera = [
        [distortion.fx * across, 0, distortion.cx * across],
        [0, distortion.fy * down, distortion.cy * down],
        [0, 0, 1],
    ]
    return Lens(LENS_MODELS[distortion.model], np.array(camera), np.array(distortion.coefficients, np.float64))
