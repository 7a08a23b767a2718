"""Many 3×3 transforms of the plane at once.

A transform maps (x, y, 1) in pixels of an upright frame to pixels of the reference. It is kept so scaled that the third
coordinate of the frame's middle is 1; what lies beyond the horizon then has one of 0 or less.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats

_HORIZON: Final = 1e-6
_CENTRAL: Final = 0.3
"""Half the side of a frame's central part, as a fraction of the frame."""


def anchors_of(width: int, height: int) -> Floats:
    """The points by which transforms are compared and smoothed: float64 [5, 2] pixels of the frame.

    The corners of the frame's central part and its middle: where climbers are, and inside of what matching points span,
    so that a transform's noise there is that of the points and not that of an extrapolation.
    """
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (0, 0)], np.float64)
    return (0.5 + _CENTRAL * corners) * np.array([width, height], np.float64)


def mapped(matrix: Floats, points: Floats) -> Floats:
    """Points through transforms: ``[..., 3, 3]`` and ``[..., K, 2]`` → ``[..., K, 2]``; NaN from the horizon on."""
    homogeneous = points @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]
    depth = homogeneous[..., 2:]
    beyond = ~(depth > _HORIZON)
    return np.where(beyond, np.nan, homogeneous[..., :2] / np.where(beyond, 1.0, depth))


def oriented(matrix: Floats, middle: Floats) -> Floats:
    """Scale transforms ``[..., 3, 3]`` so that the third coordinate of ``middle`` [2] becomes 1; NaN where it is 0."""
    depth = matrix[..., 2, :2] @ middle + matrix[..., 2, 2]
    return np.asarray(matrix / np.where(depth == 0, np.nan, depth)[..., None, None], np.float64)


def fitted(points: Floats, images: Floats, *, affine: bool) -> Floats:
    """The transforms that take points nearest to where they are to go, by least squares.

    A homography's equations are those of the direct linear transform, made inhomogeneous by the third coordinate's
    being 1 in the middle of the points (Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 4.1.2): a
    homography that really maps the points so is found exactly.

    :param points: [K, 2], the same for all; at least 3 for affine transforms, else 4, spread over the plane.
    :param images: [F, K, 2].
    :returns: [F, 3, 3].
    """
    centre, size = points.mean(axis=0), float(np.abs(points - points.mean(axis=0)).max())
    own = (points - centre) / size
    middle = images.mean(axis=1)
    extent = np.maximum(np.abs(images - middle[:, None]).max(axis=(1, 2)), 1e-9)
    target = (images - middle[:, None]) / extent[:, None, None]
    count, ones = len(images), np.ones((len(points), 1))
    result = np.zeros((count, 3, 3))
    result[:, 2, 2] = 1
    if affine:
        result[:, :2] = np.swapaxes(np.linalg.pinv(np.hstack([own, ones])) @ target, 1, 2)
    else:
        design = np.zeros((count, 2, len(points), 8))
        design[:, 0, :, 0:3] = design[:, 1, :, 3:6] = np.hstack([own, ones])
        for axis in (0, 1):
            design[:, axis, :, 6:8] = -own * target[:, :, axis, None]
        system = design.reshape(count, -1, 8)
        right = np.swapaxes(target, 1, 2).reshape(count, -1, 1)
        transposed = np.swapaxes(system, 1, 2)
        solved = np.linalg.pinv(transposed @ system, rcond=1e-12, hermitian=True) @ (transposed @ right)
        result.reshape(count, 9)[:, :8] = solved[..., 0]
    before = np.array([[1 / size, 0, -centre[0] / size], [0, 1 / size, -centre[1] / size], [0, 0, 1]])
    after = np.zeros((count, 3, 3))
    after[:, 0, 0] = after[:, 1, 1] = extent
    after[:, :2, 2] = middle
    after[:, 2, 2] = 1
    return np.asarray(after @ result @ before, np.float64)
