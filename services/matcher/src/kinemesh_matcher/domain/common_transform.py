"""One transform for a whole clip, from the matching points of all frames that were looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats, Ints
from kinemesh_matcher.domain.fitting import Model, distances, is_plausible, refined, robust_fit
from kinemesh_matcher.domain.matching import covered
from kinemesh_matcher.domain.projective import oriented

_THRESHOLD: Final = 0.004
"""How far off a pair of points may be that agrees, in widths of the reference; at least 3 pixels."""
_LEAST_THRESHOLD_PX: Final = 3.0
_AGREES: Final = 0.01
"""How far off half of a frame's points may be if the frame agrees, in widths of the reference."""
_LEAST_INLIERS: Final = 12
_LEAST_SHARE: Final = 0.01
_LEAST_COVERAGE: Final = 0.005
_MOST_POINTS: Final = 20_000


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

    It is sought among all pairs and refined on those that agree. It can be trusted if 12 pairs and a hundredth of
    all agree, span a two-hundredth of the frame, and a plane can be seen like that. Of very many pairs some do, evenly
    spread over the frames.

    :param points: float64 [R, 2], pixels of the frames.
    :param images: float64 [R, 2], pixels of the reference.
    :param frame: width and height of the upright frames in pixels.
    :param width: of the reference in pixels.
    """
    some = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MOST_POINTS)).astype(np.int64))
    points, images = points[some], images[some]
    model = Model.AFFINE if affine else Model.HOMOGRAPHY
    threshold = max(_LEAST_THRESHOLD_PX, _THRESHOLD * width)
    found = robust_fit(points, images, model, threshold)
    if found is None or found[1].sum() < _LEAST_INLIERS:
        return None
    near = found[1]
    matrix = refined(found[0], points[near], images[near], model, threshold / 2)
    near = distances(matrix, points, images) < threshold
    least = max(_LEAST_INLIERS, _LEAST_SHARE * len(points))
    if near.sum() < least or not is_plausible(matrix, points[near]):
        return None
    coverage = covered(points[near], frame)
    if coverage < _LEAST_COVERAGE:
        return None
    return Common(oriented(matrix, np.array(frame, np.float64) / 2), int(near.sum()), coverage)


def agreeing_frames(frame_index: Ints, points: Floats, images: Floats, matrix: Floats, width: int) -> Ints:
    """The frames of which half of the pairs are within a hundredth of the reference's width of where they should be.

    :param frame_index: int64 [R], frame of every pair.
    :param points: float64 [R, 2], pixels of the frame.
    :param images: float64 [R, 2], pixels of the reference.
    :param matrix: float64 [3, 3], from pixels of the frame to pixels of the reference.
    :param width: of the reference in pixels.
    """
    near = distances(matrix, points, images) < _AGREES * width
    frames, which = np.unique(frame_index, return_inverse=True)
    return frames[np.bincount(which, near, len(frames)) > 0.5 * np.bincount(which, minlength=len(frames))]
