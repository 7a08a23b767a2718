"""Homographies between an image and a map: fitting, applying, and how sure a mapped point is.

A homography is a 3×3 matrix ``H`` with ``(u, v, w) = H (x, y, 1)`` and the mapped point ``(u / w, v / w)``. Formulas
follow Hartley and Zisserman, *Multiple View Geometry in Computer Vision*, 2nd edition, 2004, chapters 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import InvalidArgument

Floats = NDArray[np.float64]

LEAST_POINTS: Final = 4
_FLAT: Final = 1e-3
"""Four points that span less than this share of a square of their extent are on a line, as hands click."""
_WORST_CONDITION: Final = 1e7
_NO_SCALE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a homography agrees with the points it was fitted to.

    :ivar errors: float64 [N], distance on the map between each mapped image point and its map point.
    :ivar errors_px: float64 [N], distance in the image, in pixels.
    """

    errors: Floats
    errors_px: Floats


def fit(image: Floats, target: Floats) -> Floats:
    """The homography [3, 3] that maps image points [N, 2] to map points [N, 2] best.

    Four points are met exactly; more of them in the sense of least squares, by the normalised direct linear transform.

    :raises InvalidArgument: TOO_FEW_POINTS, POINTS_DEGENERATE (the points of one side, or too many of them, lie on a
        line or on one another), POINTS_INCONSISTENT (some would lie behind the camera).
    """
    if len(image) != len(target):
        raise InvalidArgument(
            "POINTS_MISMATCH", "Image and map must have the same number of points.", image=len(image), map=len(target)
        )
    if len(image) < LEAST_POINTS:
        raise InvalidArgument(
            "TOO_FEW_POINTS", f"A homography needs at least {LEAST_POINTS} points.", points=len(image)
        )
    for side, points in (("image", image), ("map", target)):
        if not np.isfinite(points).all():
            raise InvalidArgument("POINTS_INVALID", f"The {side} points hold a value that is no number.", side=side)
        if not _spans_a_plane(points):
            raise InvalidArgument(
                "POINTS_DEGENERATE",
                f"The {side} points determine no homography: of any four, three lie on a line or two on one another.",
                side=side,
            )
    to_image, to_map = normaliser(image), normaliser(target)
    x, y = apply(to_image, image).T
    u, v = apply(to_map, target).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1),
        ]
    )
    solution = np.linalg.svd(rows, full_matrices=True)[2][-1].reshape(3, 3)
    return checked(np.linalg.inv(to_map) @ solution @ to_image, image)


def checked(matrix: Floats, seen: Floats) -> Floats:
    """The same homography, scaled so that points in front of the camera have ``w > 0``.

    :param seen: float64 [N, 2], image points that must be in front of the camera.
    :raises InvalidArgument: MATRIX_SINGULAR; POINTS_INCONSISTENT, if the horizon runs between the points.
    """
    if not np.isfinite(matrix).all() or condition(matrix, seen) > _WORST_CONDITION:
        raise InvalidArgument("MATRIX_SINGULAR", "The matrix maps the whole image onto a line or a point.")
    w: Floats = homogeneous(seen) @ matrix[2]
    if (w > 0).all() or (w < 0).all():
        scale = np.abs(w).max() * np.sign(w[0])
        return np.asarray(matrix / scale, np.float64)
    raise InvalidArgument(
        "POINTS_INCONSISTENT",
        "The horizon runs between the points: some would lie behind the camera. Is a pair mixed up, or are the axes?",
    )


def apply(matrix: Floats, points: Floats) -> Floats:
    """Map points [N, 2]. A point on or beyond the horizon gives NaN if ``matrix`` comes from :func:`checked`."""
    mapped = homogeneous(points) @ matrix.T
    w = np.where(np.abs(mapped[:, 2:]) > _NO_SCALE, mapped[:, 2:], np.nan)
    result: Floats = mapped[:, :2] / w
    return result


def in_front(matrix: Floats, points: Floats) -> NDArray[np.bool_]:
    """Which image points [N, 2] lie below the horizon, for a matrix of :func:`checked`."""
    w = homogeneous(points) @ matrix[2]
    return np.asarray(w > _NO_SCALE)


def inverse(matrix: Floats) -> Floats:
    """From the map to the image."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def jacobians(matrix: Floats, points: Floats) -> Floats:
    """Derivative of the mapped point by the image point: [N, 2, 2]."""
    mapped = homogeneous(points) @ matrix.T
    w = mapped[:, 2, None, None]
    result: Floats = (matrix[:2, :2] - (mapped[:, :2, None] / w) * matrix[2, :2]) / w
    return result


def covariances(matrix: Floats, points: Floats, covariance: Floats) -> Floats:
    """Covariance of mapped points [N, 2, 2], to first order, from that of the image points [N, 2, 2] in pixels²."""
    turn = jacobians(matrix, points)
    result: Floats = turn @ covariance @ turn.transpose(0, 2, 1)
    return result


def agreement(matrix: Floats, image: Floats, target: Floats) -> Fit:
    """Distances that are left between points [N, 2] and their counterparts."""
    return Fit(
        np.linalg.norm(apply(matrix, image) - target, axis=1),
        np.linalg.norm(apply(inverse(matrix), target) - image, axis=1),
    )


def condition(matrix: Floats, seen: Floats) -> float:
    """Condition number of the matrix in normalised coordinates of both sides; infinite if it is singular."""
    with np.errstate(all="ignore"):
        normal = matrix @ np.linalg.inv(normaliser(seen))
        mapped = homogeneous(seen) @ matrix.T
        target = mapped[:, :2] / mapped[:, 2:]
        if not np.isfinite(target).all():
            return float("inf")
        values = np.linalg.svd(normaliser(target) @ normal, compute_uv=False)
    return float(values[0] / values[-1]) if values[-1] > 0 else float("inf")


def homogeneous(points: Floats) -> Floats:
    """Points [N, 2] with a third coordinate 1: [N, 3]."""
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def normaliser(points: Floats) -> Floats:
    """The similarity that puts the centroid at 0 and the mean distance from it at √2."""
    centre = points.mean(axis=0)
    spread = float(np.linalg.norm(points - centre, axis=1).mean())
    scale = np.sqrt(2) / max(spread, np.finfo(np.float64).tiny)
    return np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])


def _spans_a_plane(points: Floats) -> bool:
    """Whether four of the points are in general position.

    Greedy: the two farthest apart, the one farthest from their line, and one that lies on none of the three lines.
    """
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    extent = float(distance.max())
    if extent <= 0:
        return False
    a, b = np.unravel_index(int(distance.argmax()), distance.shape)
    area = np.abs(_twice_area(points[a], points[b], points))
    c = int(area.argmax())
    lines = ((points[a], points[b]), (points[b], points[c]), (points[c], points[a]))
    rest = np.min([np.abs(_twice_area(p, q, points)) for p, q in lines], axis=0)
    return bool(area[c] > _FLAT * extent**2 and rest.max() > _FLAT * extent**2)


def _twice_area(a: Floats, b: Floats, points: Floats) -> Floats:
    edge, to_point = b - a, points - a
    result: Floats = edge[0] * to_point[:, 1] - edge[1] * to_point[:, 0]
    return result
