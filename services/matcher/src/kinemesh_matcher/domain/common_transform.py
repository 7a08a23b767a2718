"""One transform for a whole clip, from the matching points of all frames that were looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from kinemesh.bodies.skeleton import Bools, Floats, Ints
from kinemesh_matcher.domain.projective import mapped, oriented

_THRESHOLD: Final = 0.004
"""How far off a pair of points may be that agrees, in widths of the reference."""
_AGREES: Final = 0.01
"""How far off half of a frame's points may be if the frame agrees, in widths of the reference."""
_LEAST_INLIERS: Final = 12
_LEAST_COVERAGE: Final = 0.005
_MOST_POINTS: Final = 20_000
_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """How a clip lies on the reference.

    :ivar matrix: float64 [3, 3], see :mod:`kinemesh_matcher.domain.projective`.
    :ivar inliers: pairs of points that agree.
    :ivar coverage: fraction of the frame that they span, 0 to 1.
    """

    matrix: Floats
    inliers: int
    coverage: float


def common_transform(
    points: Floats, images: Floats, frame: tuple[int, int], width: int, *, affine: bool
) -> Common | None:
    """The transform that most pairs of points agree with; None if there is none that can be trusted.

    It is sought by MAGSAC++ (Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020)
    and refined by least squares on what agrees. It can be trusted if 12 pairs agree, span a two-hundredth of the
    frame, and do not mirror it.

    :param points: float64 [R, 2], pixels of the frame.
    :param images: float64 [R, 2], pixels of the reference.
    :param frame: width and height of the upright frames in pixels.
    :param width: of the reference in pixels.
    """
    if len(points) < _LEAST_INLIERS:
        return None
    middle = np.array(frame, np.float64) / 2
    scale = np.array([frame[0], width], np.float64)
    a, b = (points - middle) / scale[0], images / scale[1]
    sought = _sought(a, b, affine=affine)
    if sought is None:
        return None
    normal, near = _refined(sought, a, b, affine=affine)
    matrix = np.diag([scale[1], scale[1], 1.0]) @ normal
    matrix = matrix @ np.array(
        [[1 / scale[0], 0, -middle[0] / scale[0]], [0, 1 / scale[0], -middle[1] / scale[0]], [0, 0, 1]]
    )
    matrix = oriented(matrix, middle)
    coverage = _coverage(points[near], frame)
    if near.sum() < _LEAST_INLIERS or coverage < _LEAST_COVERAGE or not np.linalg.det(matrix) > 0:
        return None
    return Common(matrix, int(near.sum()), coverage)


def agreeing_frames(frame_index: Ints, points: Floats, images: Floats, matrix: Floats, width: int) -> Ints:
    """The frames of which half of the pairs are within a hundredth of the reference's width of where they should be.

    :param frame_index: int64 [R], frame of every pair.
    :param points: float64 [R, 2], pixels of the frame.
    :param images: float64 [R, 2], pixels of the reference.
    :param matrix: float64 [3, 3], from pixels of the frame to pixels of the reference.
    :param width: of the reference in pixels.
    """
    near = np.linalg.norm(mapped(matrix, points) - images, axis=1) < _AGREES * width
    frames, which = np.unique(frame_index, return_inverse=True)
    return frames[np.bincount(which, near, len(frames)) > 0.5 * np.bincount(which, minlength=len(frames))]


def _sought(a: Floats, b: Floats, *, affine: bool) -> Floats | None:
    some = np.unique(np.linspace(0, len(a) - 1, min(len(a), _MOST_POINTS)).astype(np.int64))
    settings = cv2.UsacParams()
    settings.threshold = _THRESHOLD
    settings.confidence = 0.9999
    settings.maxIterations = 10_000
    settings.score = cv2.SCORE_METHOD_MAGSAC
    settings.sampler = cv2.SAMPLING_UNIFORM
    settings.loMethod = cv2.LOCAL_OPTIM_SIGMA
    settings.loIterations = 10
    settings.loSampleSize = 14
    settings.final_polisher = cv2.MAGSAC
    settings.final_polisher_iterations = 3
    settings.randomGeneratorState = 0
    settings.isParallel = False
    estimate = cv2.estimateAffine2D if affine else cv2.findHomography
    try:
        found = estimate(a[some], b[some], settings)[0]
    except cv2.error:  # of points that all lie on a line
        return None
    if found is None or not np.isfinite(found).all():
        return None
    return np.vstack([found, [0, 0, 1]]) if affine else np.asarray(found, np.float64)


def _refined(normal: Floats, a: Floats, b: Floats, *, affine: bool) -> tuple[Floats, Bools]:
    """Least squares on what agrees, until that no longer changes."""
    near = np.zeros(len(a), np.bool_)
    for _ in range(_ROUNDS):
        now = np.linalg.norm(mapped(oriented(normal, np.zeros(2)), a) - b, axis=1) < _THRESHOLD
        if now.sum() < _LEAST_INLIERS or np.array_equal(now, near):
            return normal, now
        near = now
        if affine:
            design = np.column_stack([a[near], np.ones(int(near.sum()))])
            normal = np.vstack([np.linalg.lstsq(design, b[near], rcond=None)[0].T, [0, 0, 1]])
        else:
            # Without a method, all points count, and Levenberg–Marquardt makes the distances in the reference least.
            normal = np.asarray(cv2.findHomography(a[near], b[near])[0], np.float64)
    return normal, near


def _coverage(points: Floats, frame: tuple[int, int]) -> float:
    if len(points) < 3:
        return 0.0
    return float(cv2.contourArea(cv2.convexHull(points.astype(np.float32)))) / (frame[0] * frame[1])
