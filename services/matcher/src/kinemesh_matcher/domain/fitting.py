"""Transforms between planes, fitted to pairs of points: robustly among wrong pairs, then as exactly as right ones
allow."""

from __future__ import annotations

from enum import Enum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.geometry.homography import apply, condition, homogeneous, in_front, jacobians, normaliser
from kinemesh_matcher.domain.features import Floats


class Model(Enum):
    """What a transform may do."""

    AFFINE = "affine"
    HOMOGRAPHY = "homography"


LEAST_PAIRS: Final = {Model.AFFINE: 3, Model.HOMOGRAPHY: 4}
_CONFIDENCE: Final = 0.9999
_ROUNDS: Final = 10_000
_STEPS: Final = 12
_STILL: Final = 1e-10
_LEAST_SCALE, _MOST_SCALE = 1 / 40, 40.0
_WORST_CONDITION: Final = 200.0


def robust_fit(
    image: Floats, reference: Floats, model: Model, threshold: float
) -> tuple[Floats, NDArray[np.bool_]] | None:
    """A transform that many pairs agree with, and which do; None if there is none.

    Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020, as OpenCV has it; it draws the
    same samples every time.

    :param image: float64 [N, 2].
    :param reference: float64 [N, 2].
    :param threshold: distance in the reference beyond which a pair does not agree.
    :returns: [3, 3], which maps image to reference, with ``w > 0`` where pairs agree, and bool [N].
    """
    if len(image) < LEAST_PAIRS[model] + 1:
        return None
    if model is Model.HOMOGRAPHY:
        matrix, agree = cv2.findHomography(
            image, reference, cv2.USAC_MAGSAC, threshold, maxIters=_ROUNDS, confidence=_CONFIDENCE
        )
    else:
        matrix, agree = cv2.estimateAffine2D(
            image,
            reference,
            method=cv2.USAC_MAGSAC,
            ransacReprojThreshold=threshold,
            maxIters=_ROUNDS,
            confidence=_CONFIDENCE,
        )
        if matrix is not None:
            matrix = np.vstack([matrix, (0, 0, 1)])
    if matrix is None or not np.isfinite(matrix).all():
        return None
    agreeing = np.asarray(agree, np.bool_).ravel()
    # The picture's corner may lie beyond the horizon, but what is seen does not.
    depth = homogeneous(image[agreeing]) @ matrix[2]
    return np.asarray(matrix * (-1.0 if depth.sum() < 0 else 1.0), np.float64), agreeing


def refined(matrix: Floats, image: Floats, reference: Floats, model: Model, spread: float = 1.0) -> Floats:
    """The transform with the least robust error, found from one that is near.

    Gauss–Newton on the distances in the reference with Cauchy's weights ``1 / (1 + (r / spread)²)``: Hartley and
    Zisserman, *Multiple View Geometry*, 2nd edition, 2004, A6.8. Both sides are normalised first (the same, 4.4).

    :param spread: distance in the reference at which a pair counts half.
    """
    to_image, to_reference = normaliser(image), normaliser(reference)
    x, y = apply(to_image, image), apply(to_reference, reference)
    current = to_reference @ matrix @ np.linalg.inv(to_image)
    current = current / current[2, 2]
    unit = spread * to_reference[0, 0]
    free = 8 if model is Model.HOMOGRAPHY else 6
    for _ in range(_STEPS):
        mapped = homogeneous(x) @ current.T
        w = mapped[:, 2:]
        if (np.abs(w) < _STILL).any():
            break
        at = mapped[:, :2] / w
        away = y - at
        weight = 1 / (1 + (np.square(away).sum(axis=1) / unit**2))
        rows = _derivatives(x, at, w)[:, :, :free]
        left = np.einsum("nki,n,nkj->ij", rows, weight, rows)
        right = np.einsum("nki,n,nk->i", rows, weight, away)
        try:
            step = np.linalg.solve(left + np.eye(free) * 1e-12 * np.trace(left), right)
        except np.linalg.LinAlgError:
            break
        current = current + np.append(step, np.zeros(9 - free)).reshape(3, 3)
        if float(np.abs(step).max()) < _STILL:
            break
    if not np.isfinite(current).all():
        return matrix
    whole = np.linalg.inv(to_reference) @ current @ to_image
    return np.asarray(whole / abs(whole[2, 2]), np.float64)


def distances(matrix: Floats, image: Floats, reference: Floats) -> Floats:
    """Of pairs, in the reference: float64 [N]; infinite where the horizon is met."""
    away = np.linalg.norm(apply(matrix, image) - reference, axis=1)
    return np.asarray(np.where(np.isnan(away), np.inf, away), np.float64)


def is_plausible(matrix: Floats, image: Floats) -> bool:
    """Whether a plane can have been seen like that at these points: from its front, without mirroring, at a scale from
    a fortieth to forty times, and not edge-on."""
    if not in_front(matrix * np.sign(homogeneous(image[:1]) @ matrix[2]), image).all():
        return False
    turn = jacobians(matrix, image.mean(axis=0, keepdims=True))[0]
    area = float(np.linalg.det(turn))
    return (
        area > 0
        and _LEAST_SCALE <= float(np.sqrt(area)) <= _MOST_SCALE
        and condition(matrix, image) <= _WORST_CONDITION
    )


def _derivatives(x: Floats, at: Floats, w: Floats) -> Floats:
    """Of mapped points by the transform's entries, row by row: [N, 2, 9]."""
    whole = homogeneous(x) / w
    zero = np.zeros_like(whole)
    along_x = np.concatenate([whole, zero, -at[:, :1] * whole], axis=1)
    along_y = np.concatenate([zero, whole, -at[:, 1:] * whole], axis=1)
    return np.stack([along_x, along_y], axis=1)
