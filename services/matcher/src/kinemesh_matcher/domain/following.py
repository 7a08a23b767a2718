"""The transforms of a clip's frames, one after another.

Features are matched on every tenth frame of the clip, wherever a segment begins, and wherever following has failed; in
between the inliers are followed by optical flow (Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature
Tracker", 2000), forth and back, and the transform is fitted to where they have gone. A place on the reference is known
for each of them, so that nothing adds up but what flow misses within nine frames, and points that went astray disagree
with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.results.matches import Verdict
from kinemesh_matcher.domain.features import Features, Floats, detect
from kinemesh_matcher.domain.fitting import Model, distances, is_plausible, refined, robust_fit
from kinemesh_matcher.domain.matching import Match, Quality, Side, judged, match, no_match, side_of

ANCHOR_EVERY: Final = 10
"""Frames of the clip; as many as warm-up has, so that every segment can begin at one."""

LOST: Final = "LOST"
BLURRED: Final = "BLURRED"

Box = tuple[float, float, float, float]

_FOLLOWED: Final = 400
_GRID: Final = 24
_LEAST_FOLLOWED: Final = 16
_LEAST_SHARE: Final = 0.4
_BACK: Final = 1.0
_WINDOW: Final = (21, 21)
_PYRAMID: Final = 3
_NEAR: Final = 4.0
_SPREAD: Final = 2.5
_BLURRED: Final = 0.3
_SHARPNESS_SIDE: Final = 480


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """Points that are followed from the frame before.

    :ivar grey: uint8 [height, width], that frame.
    :ivar points: float32 [P, 2], where they were in it, in its pixels.
    :ivar reference: float64 [P, 2], where they are on the reference, in its pixels.
    :ivar matrix: float64 [3, 3], how that frame lies on the reference.
    :ivar followed: points that there were when features were matched.
    :ivar sharpness: of the frame in which features were matched.
    """

    grey: NDArray[np.uint8]
    points: NDArray[np.float32]
    reference: Floats
    matrix: Floats
    followed: int
    sharpness: float


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """How a frame lies on the reference.

    :ivar match: its matrix maps pixels of the frame as it was given.
    :ivar features: of the frame, where they were looked for; points were followed to it elsewhere.
    :ivar anchor: what the next frame can be followed from; None where it must be matched.
    """

    match: Match
    features: Features | None
    anchor: Anchor | None

    @property
    def followed(self) -> bool:
        """Whether points were followed to the frame."""
        return self.features is None


def place(
    grey: NDArray[np.uint8],
    number: int,
    masks: Sequence[Box],
    before: Anchor | None,
    reference: Side,
    model: Model,
    most: int,
) -> Placed:
    """Place a frame on the reference.

    :param grey: uint8 [height, width].
    :param number: index of the frame in the clip.
    :param masks: boxes in the frame's pixels that are not the wall: people.
    :param before: what the frame before left; None at the first.
    :param most: features of a frame.
    """
    if before is not None and number % ANCHOR_EVERY:
        followed = follow(grey, masks, before, reference, model)
        if followed.match.matrix is not None or followed.match.quality.reason == BLURRED:
            return followed
    height, width = grey.shape
    features = detect(grey, most, masks, levels=1)
    found = match(side_of(features, width, height), reference, model)
    if found.matrix is None:
        return Placed(found, features, None)
    return Placed(found, features, _anchor(grey, found, found.matrix))


def follow(grey: NDArray[np.uint8], masks: Sequence[Box], before: Anchor, reference: Side, model: Model) -> Placed:
    """Follow points to a frame. LOST if too few are found again or agree, BLURRED if it is much less sharp than the
    anchor's."""
    counts = Quality(
        Verdict.CANNOT_MATCH, image_features=before.followed, reference_features=len(reference.points), reason=LOST
    )
    if sharpness(grey) < _BLURRED * before.sharpness:
        # What is followed into a blur comes out of it somewhere else: go on from the frame before it.
        return Placed(no_match(replace(counts, reason=BLURRED)), None, before)
    points, good = _flow(before.grey, grey, before.points)
    good &= ~_inside(points, masks)
    a, b = points[good].astype(np.float64), before.reference[good]
    counts = replace(counts, matches=len(a))
    needed = max(_LEAST_FOLLOWED, _LEAST_SHARE * before.followed)
    # From frame to frame a plane moves almost affinely, whatever the perspective.
    motion = robust_fit(a, before.points[good].astype(np.float64), Model.AFFINE, _NEAR)
    if len(a) < needed or motion is None:
        return Placed(no_match(counts), None, None)
    matrix = refined(before.matrix @ motion[0], a, b, model, _SPREAD * reference.unit)
    near = distances(matrix, a, b) <= _NEAR * reference.unit
    counts = replace(counts, inliers=int(near.sum()))
    if near.sum() < needed or not is_plausible(matrix, a[near]):
        return Placed(no_match(counts), None, None)
    height, width = grey.shape
    quality = judged(counts, matrix, a[near], b[near], (width, height), reference.unit, sure=True)
    kept = np.flatnonzero(good)[near]
    anchor = Anchor(grey, points[kept], before.reference[kept], matrix, before.followed, before.sharpness)
    return Placed(Match(quality, matrix, a[near], b[near]), None, anchor)


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of a picture of at most 480 pixels, by the picture's own variance: blur takes the
    former first."""
    scale = _SHARPNESS_SIDE / max(grey.shape)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    return float(cv2.Laplacian(small, cv2.CV_32F).var() / max(float(small.var()), 1.0))


def _anchor(grey: NDArray[np.uint8], found: Match, matrix: Floats) -> Anchor:
    """Of the inliers as many as are worth following, spread over the frame."""
    height, width = grey.shape
    cell = (found.image / max(height, width) * _GRID).astype(np.int64)
    place_in_grid = cell[:, 1] * _GRID + cell[:, 0]
    order = np.argsort(place_in_grid, kind="stable")
    starts = np.unique(place_in_grid[order], return_index=True)[1]
    # How many of the same cell came before.
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    chosen = np.sort(np.lexsort((np.arange(len(rank)), rank))[:_FOLLOWED])
    points = found.image[chosen].astype(np.float32)
    return Anchor(grey, points, found.reference[chosen], matrix, len(chosen), sharpness(grey))


def _flow(
    before: NDArray[np.uint8], now: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points went, float32 [P, 2], and which of them come back to where they were, bool [P]."""
    forth, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points, points.copy(), winSize=_WINDOW, maxLevel=_PYRAMID)
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, forth, forth.copy(), winSize=_WINDOW, maxLevel=_PYRAMID)
    height, width = now.shape
    within = ((forth >= 0) & (forth < (width, height))).all(axis=1)
    close = np.abs(back - points).max(axis=1) < _BACK
    return np.asarray(forth, np.float32), found.ravel().astype(bool) & again.ravel().astype(bool) & within & close


def _inside(points: NDArray[np.float32], masks: Sequence[Box]) -> NDArray[np.bool_]:
    boxes = np.array(masks, np.float32).reshape(-1, 4)
    x, y = points[:, :1], points[:, 1:]
    return np.asarray(
        ((x >= boxes[:, 0]) & (x <= boxes[:, 2]) & (y >= boxes[:, 1]) & (y <= boxes[:, 3])).any(axis=1), np.bool_
    )
