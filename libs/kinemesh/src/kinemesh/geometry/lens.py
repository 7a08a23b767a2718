"""Lenses that bend lines: from pixels as seen to pixels as a lens without distortion would show them, and back.

The formulas are those of OpenCV's calibration: Brown–Conrady, and the equidistant fisheye of Kannala and Brandt (2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-10)


class Model(Enum):
    """Which formula describes a lens, and how many coefficients it may have."""

    BROWN_CONRADY = (4, 5, 8)
    FISHEYE = (4,)


@dataclass(frozen=True, slots=True)
class Lens:
    """A lens.

    :ivar camera: float64 [3, 3], focal lengths and optical axis in pixels.
    :ivar coefficients: float64 [K], as OpenCV orders them.
    """

    model: Model
    camera: Floats
    coefficients: Floats


def straightened(lens: Lens | None, points: Floats) -> Floats:
    """Where points [N, 2] in pixels would lie without distortion; themselves without a lens."""
    if lens is None or not len(points):
        return points
    seen = np.ascontiguousarray(points, np.float64)[:, None]
    if lens.model is Model.FISHEYE:
        found = cv2.fisheye.undistortPoints(seen, lens.camera, lens.coefficients, P=lens.camera, criteria=_ROUNDS)
    else:
        found = cv2.undistortPoints(seen, lens.camera, lens.coefficients, P=lens.camera, criteria=_ROUNDS)
    return cast(Floats, found[:, 0])


def bent(lens: Lens | None, points: Floats) -> Floats:
    """Where points [N, 2] that a lens without distortion would show are seen; the inverse of :func:`straightened`."""
    if lens is None or not len(points):
        return points
    rays = np.linalg.solve(lens.camera, np.concatenate([points, np.ones((len(points), 1))], axis=1).T).T
    if lens.model is Model.FISHEYE:
        flat = np.ascontiguousarray(rays[:, None, :2])
        return cast(Floats, cv2.fisheye.distortPoints(flat, lens.camera, lens.coefficients)[:, 0])
    zero = np.zeros(3)
    return cast(Floats, cv2.projectPoints(rays[:, None], zero, zero, lens.camera, lens.coefficients)[0][:, 0])
