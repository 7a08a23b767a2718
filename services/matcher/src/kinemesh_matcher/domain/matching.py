"""Whether and how a picture lies on a reference.

Pairs of features that look alike both ways give a first transform; what it predicts is then looked for beside every
feature, which finds several times as many pairs, and the transform is refined on them. A verdict says whether it can be
trusted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import gammaln

from kinemesh.geometry.homography import apply, condition, jacobians
from kinemesh.results.matches import Verdict
from kinemesh_matcher.domain.features import WORKING_SIDE, Features, Floats, roots
from kinemesh_matcher.domain.fitting import LEAST_PAIRS, Model, distances, is_plausible, refined, robust_fit

_RATIO: Final = 0.8
_THRESHOLD: Final = 2.0
"""Pixels of the reference, at the working size, within which a pair agrees."""

_BESIDE: Final = 6.0
"""Pixels, likewise, within which what a transform predicts is looked for."""

_SPREAD: Final = 2.5
"""Pixels, likewise, at which a pair counts half when the transform is refined."""

_ALIKE: Final = 0.65
_OCTAVES: Final = 0.6
_ELSEWHERE: Final = 13.0
"""Pixels, likewise, to the right and down, at which pairs are alike by chance only."""

_BY_CHANCE: Final = 0.05
"""Of the pairs that a transform predicts, so many may be alike by chance."""

_STEPS: Final = 36
_ROWS: Final = 2048

MATCHED_INLIERS: Final = 16
WEAK_INLIERS: Final = 9
_MATCHED_CHANCE: Final = -20.0
_WEAK_CHANCE: Final = -10.0
_LEAST_COVERAGE: Final = 0.02
_LARGEST_ERROR: Final = 3.0

NOT_ENOUGH_FEATURES: Final = "NOT_ENOUGH_FEATURES"
NOT_ENOUGH_MATCHES: Final = "NOT_ENOUGH_MATCHES"
IMPLAUSIBLE: Final = "TRANSFORM_IMPLAUSIBLE"
FEW_INLIERS: Final = "FEW_INLIERS"
SMALL_COVERAGE: Final = "SMALL_COVERAGE"
LARGE_ERROR: Final = "LARGE_ERROR"


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A picture that is matched.

    :ivar points: float64 [N, 2], where its features are, in pixels.
    :ivar size: float32 [N], how large they are.
    :ivar looks: float32 [N, 128], what they look like, see :func:`~kinemesh_matcher.domain.features.roots`.
    """

    points: Floats
    size: NDArray[np.float32]
    looks: NDArray[np.float32]
    width: int
    height: int

    @property
    def unit(self) -> float:
        """Pixels that are as much of this picture as one is at the working size."""
        return max(1.0, max(self.width, self.height) / WORKING_SIDE)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a match is.

    :ivar reason: why it is not MATCHED, in UPPER_SNAKE.
    :ivar image_features: of the picture.
    :ivar reference_features: of the reference.
    :ivar matches: pairs that look alike; with a transform also those that look alike where it predicts them.
    :ivar inliers: pairs that agree with the transform.
    :ivar coverage: fraction of the picture that the inliers' convex hull covers, 0 to 1.
    :ivar rms_error_px: root mean square of the inliers' distances, in pixels of the reference; NaN without a transform.
    :ivar condition_number: of the transform, in coordinates normalised on both sides; NaN without a transform.
    """

    verdict: Verdict
    reason: str = ""
    image_features: int = 0
    reference_features: int = 0
    matches: int = 0
    inliers: int = 0
    coverage: float = 0.0
    rms_error_px: float = math.nan
    condition_number: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """How a picture lies on a reference.

    :ivar matrix: float64 [3, 3], maps pixels of the picture to pixels of the reference; None if they cannot be matched.
    :ivar image: float64 [M, 2], the inliers in the picture.
    :ivar reference: float64 [M, 2], the inliers in the reference.
    """

    quality: Quality
    matrix: Floats | None
    image: Floats
    reference: Floats


def side_of(features: Features, width: int, height: int) -> Side:
    """A picture's features, ready to be compared."""
    return Side(features.points.astype(np.float64), features.size, roots(features.descriptors), width, height)


def match(image: Side, reference: Side, model: Model) -> Match:
    """Match a picture with a reference. The same two give the same answer."""
    counts = Quality(Verdict.CANNOT_MATCH, image_features=len(image.points), reference_features=len(reference.points))
    if min(len(image.points), len(reference.points)) < WEAK_INLIERS:
        return no_match(replace(counts, reason=NOT_ENOUGH_FEATURES))
    ours, theirs = mutual_pairs(image.looks, reference.looks)
    counts = replace(counts, matches=len(ours), reason=NOT_ENOUGH_MATCHES)
    threshold = _THRESHOLD * reference.unit
    found = robust_fit(image.points[ours], reference.points[theirs], model, threshold)
    if found is None:
        return no_match(counts)
    matrix, agree = found
    count = int(agree.sum())
    counts = replace(counts, inliers=count)
    chance = log_chance(len(ours), count, model, threshold, reference)
    if count < WEAK_INLIERS or chance > _WEAK_CHANCE:
        return no_match(counts)
    if not is_plausible(matrix, image.points[ours[agree]]):
        return no_match(replace(counts, reason=IMPLAUSIBLE))
    a, b = guided_pairs(image, reference, matrix)
    if len(a) <= max(LEAST_PAIRS[model], count // 2):
        a, b = image.points[ours[agree]], reference.points[theirs[agree]]
    better = refined(matrix, a, b, model, _SPREAD * reference.unit)
    near = distances(better, a, b) <= 2 * threshold
    if near.sum() < max(LEAST_PAIRS[model], count // 2) or not is_plausible(better, a[near]):
        better, near = matrix, distances(matrix, a, b) <= 2 * threshold
    counts = replace(counts, matches=max(len(ours), len(a)))
    sure = count >= MATCHED_INLIERS and chance <= _MATCHED_CHANCE
    quality = judged(counts, better, a[near], b[near], (image.width, image.height), reference.unit, sure=sure)
    return Match(quality, better, a[near], b[near])


def judged(
    counts: Quality, matrix: Floats, a: Floats, b: Floats, size: tuple[int, int], unit: float, *, sure: bool
) -> Quality:
    """The verdict on a transform by the pairs that agree with it.

    :param a: float64 [M, 2], in the picture.
    :param b: float64 [M, 2], in the reference.
    :param size: width and height of the picture.
    :param unit: of the reference, see :attr:`Side.unit`.
    :param sure: whether there are enough of them.
    """
    coverage = covered(a, size)
    rms = float(np.sqrt(np.square(distances(matrix, a, b)).mean()))
    reason = ""
    if not sure:
        reason = FEW_INLIERS
    elif coverage < _LEAST_COVERAGE:
        reason = SMALL_COVERAGE
    elif rms > _LARGEST_ERROR * unit:
        reason = LARGE_ERROR
    return replace(
        counts,
        verdict=Verdict.WEAK if reason else Verdict.MATCHED,
        reason=reason,
        inliers=len(a),
        coverage=coverage,
        rms_error_px=rms,
        condition_number=condition(matrix, a),
    )


def mutual_pairs(
    image: NDArray[np.float32], reference: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Features that are most alike both ways, and clearly more than the next: indices [P] of both sides.

    Lowe's ratio test, on distances of RootSIFT.
    """
    count = len(image)
    best = np.empty(count, np.intp)
    clear = np.empty(count, np.bool_)
    back = np.full(len(reference), -np.inf, np.float32)
    back_at = np.zeros(len(reference), np.intp)
    everywhere = np.arange(len(reference))
    for start in range(0, count, _ROWS):
        alike = image[start : start + _ROWS] @ reference.T
        rows = np.arange(len(alike))
        at = alike.argmax(axis=0)
        most = alike[at, everywhere]
        better = most > back
        back[better], back_at[better] = most[better], at[better] + start
        first = alike.argmax(axis=1)
        nearest = alike[rows, first]
        alike[rows, first] = -np.inf
        second = alike.max(axis=1)
        best[start : start + _ROWS] = first
        # |a − b|² = 2 − 2 a·b for vectors of length 1.
        clear[start : start + _ROWS] = (1 - nearest) < _RATIO**2 * (1 - second)
    ours = np.flatnonzero(clear & (back_at[best] == np.arange(count)))
    return ours, best[ours]


def guided_pairs(image: Side, reference: Side, matrix: Floats) -> tuple[Floats, Floats]:
    """Features of the picture and of the reference, float64 [P, 2] each, that lie, are as large and look as a transform
    predicts.

    Where features are dense, some are beside any place and look like any other by chance. How many do is seen a little
    way off, where nothing is predicted; pairs must look so much alike that hardly any of them is one of those.
    """
    ours, theirs, alike = _beside(image, reference, matrix, 0.0)
    chance = _beside(image, reference, matrix, _ELSEWHERE * reference.unit)[2]
    steps = np.append(np.linspace(_ALIKE, 1, _STEPS), np.inf)
    found, by_chance = (len(each) - np.searchsorted(np.sort(each), steps) for each in (alike, chance))
    sure = alike >= steps[np.argmax(by_chance <= _BY_CHANCE * found)]
    return image.points[ours[sure]], reference.points[theirs[sure]]


def covered(points: Floats, size: tuple[int, int]) -> float:
    """Fraction of a picture of (width, height) that the convex hull of points [N, 2] covers."""
    if len(points) < 3:
        return 0.0
    hull = cv2.convexHull(points.astype(np.float32))
    return min(1.0, float(cv2.contourArea(hull)) / (size[0] * size[1]))


def log_chance(pairs: int, inliers: int, model: Model, threshold: float, reference: Side) -> float:
    """Decimal logarithm of how many transforms so well supported are to be expected among unrelated pairs.

    The number of false alarms of Moisan and Stival, "A probabilistic criterion to detect rigid point matches between
    two images", IJCV 57(3), 2004: ``(n − s) C(n, k) C(k, s) pᵏ⁻ˢ``, with a share ``p`` of the reference within the
    threshold of a point.
    """
    sample = LEAST_PAIRS[model]
    if inliers <= sample:
        return 0.0
    share = min(1.0, math.pi * (2 * threshold) ** 2 / (reference.width * reference.height))
    ways = _log_choose(pairs, inliers) + _log_choose(inliers, sample)
    return math.log10(max(pairs - sample, 1)) + ways + (inliers - sample) * math.log10(share)


def _log_choose(n: int, k: int) -> float:
    return float((gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)) / math.log(10))


def _beside(
    image: Side, reference: Side, matrix: Floats, shift: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Features that are most alike both ways of those beside where a transform and a shift put them: indices [P] of
    both sides, and how alike they are."""
    seen = apply(matrix, image.points) + shift
    turns = jacobians(matrix, image.points)
    with np.errstate(invalid="ignore"):
        scale = np.sqrt(np.abs(np.linalg.det(turns)))
    usable = np.flatnonzero(np.isfinite(seen).all(axis=1) & np.isfinite(scale) & (scale > 0))
    tree = cKDTree(reference.points)
    near = cKDTree(seen[usable]).sparse_distance_matrix(tree, _BESIDE * reference.unit, output_type="coo_matrix")
    ours, theirs = usable[near.row], near.col.astype(np.intp)
    ratio = reference.size[theirs] / (image.size[ours] * scale[ours])
    alike = np.einsum("nd,nd->n", image.looks[ours], reference.looks[theirs])
    keep = (np.abs(np.log2(ratio)) < _OCTAVES) & (alike > _ALIKE)
    ours, theirs, alike = ours[keep], theirs[keep], alike[keep]
    mutual = _first_of(ours, theirs, alike) & _first_of(theirs, ours, alike)
    return ours[mutual], theirs[mutual], alike[mutual]


def _first_of(groups: NDArray[np.intp], others: NDArray[np.intp], alike: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pairs are the most alike of their group."""
    order = np.lexsort((others, -alike, groups))
    first = np.zeros(len(groups), np.bool_)
    first[order[np.unique(groups[order], return_index=True)[1]]] = True
    return first


def no_match(quality: Quality) -> Match:
    """That a picture does not lie on a reference, and why."""
    nothing = np.empty((0, 2))
    return Match(quality, None, nothing, nothing)
