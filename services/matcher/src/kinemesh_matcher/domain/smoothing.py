"""One transform per frame of a moving camera: outliers left out, noise smoothed, gaps filled.

All of it is done on **where a transform puts five fixed points of the frame** (its anchors), never on coefficients. The
coefficients of a homography are not comparable with one another, so that their means shear and flicker; where points
land is in pixels of the reference throughout. Every frame's anchors get the same weights in time, so a mean of affine
transforms is the affine transform of their means, of rotations a rotation (made smaller by next to nothing), and
whatever is done to the reference (turned, scaled, sheared) comes out turned, scaled and sheared alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Bools, Floats, Ints
from kinemesh_matcher.domain.local_fit import local_fit
from kinemesh_matcher.domain.projective import anchors_of, fitted, mapped, oriented

_HALF_WINDOW_S: Final = 0.15
"""With a parabola over 0.3 s, movements of up to about 5 Hz pass: hands that hold a camera are slower."""
_SLOPE_WINDOW_S: Final = 0.8
"""Speeds beside a gap are those of a pan, not of a tremble."""
_REACH_S: Final = 2.0
_NEIGHBOURS: Final = np.array([-9, -6, -4, -3, -2, -1, 1, 2, 3, 4, 6, 9])
_TOLERANCE: Final = 0.005
"""How far off its neighbours' course a transform may put points, in widths of the reference."""
_TRUST: Final = 6.0
"""How many times as far one may be that matched well: a jolt looks like an outlier, but is none."""
_ROUGH: Final = 0.0005
"""Errors that are smaller make no difference to what a frame tells about others, in widths of the reference."""
_DOUBT: Final = 3.0
_CHUNK: Final = 256


class Source(IntEnum):
    """Where the transform of a frame comes from."""

    NONE = 0
    MEASURED = 1
    """Features of this frame, or of the whole clip where one transform does for it."""
    FOLLOWED = 2
    """Points followed from the frame before."""
    INTERPOLATED = 3
    """The frames before and after."""
    HELD = 4
    """The nearest frame, at the beginning or the end."""


@dataclass(frozen=True, slots=True, eq=False)
class Transforms:
    """How F frames lie on the reference.

    :ivar matrix: float64 [F, 3, 3], see :mod:`kinemesh_matcher.domain.projective`; NaN where there is none.
    :ivar source: int8 [F], see :class:`Source`.
    """

    matrix: Floats
    source: Ints

    @property
    def filled(self) -> Bools:
        """Whether a frame's transform comes from other frames: bool [F]."""
        return np.isin(self.source, (Source.INTERPOLATED, Source.HELD))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the frames of a clip were measured to be: F frames.

    :ivar time_sec: float64 [F], increasing.
    :ivar matrix: float64 [F, 3, 3]; NaN where a frame cannot be matched.
    :ivar sure: bool [F], matched well.
    :ivar followed: bool [F], by following points.
    :ivar error: float64 [F], how far off its anchors are likely to be, in pixels of the reference, above 0.
    """

    time_sec: Floats
    matrix: Floats
    sure: Bools
    followed: Bools
    error: Floats


@dataclass(frozen=True, slots=True)
class Options:
    """:ivar longest_gap_sec: longer gaps have no transform.
    :ivar longest_hold_sec: how long the first and the last transform hold before and after their time.
    """

    longest_gap_sec: float = 2.0
    longest_hold_sec: float = 0.5


def smoothed(
    measured: Measured, frame: tuple[int, int], width: int, *, affine: bool, options: Options | None = None
) -> Transforms:
    """The transforms of a clip.

    :param frame: width and height of the upright frames in pixels.
    :param width: of the reference in pixels.
    :param affine: whether transforms are affine; homographies otherwise.
    """
    options = options or Options()
    anchors = anchors_of(*frame)
    matrix = oriented(measured.matrix, anchors[-1])
    places = mapped(matrix, anchors)
    usable = np.flatnonzero(np.isfinite(places).all(axis=(1, 2)))
    tolerance = _TOLERANCE * width * np.where(measured.sure[usable], _TRUST, 1.0)
    good = usable[agreeing(measured.time_sec[usable], places[usable], tolerance)]
    count = len(matrix)
    source = np.full(count, Source.NONE, np.int64)
    if not len(good):
        return Transforms(np.full((count, 3, 3), np.nan), source)
    source[good] = np.where(measured.followed[good], Source.FOLLOWED, Source.MEASURED)

    time, error = measured.time_sec[good], measured.error[good]
    weight = 1 / (np.square(error) + np.square(_ROUGH * width))
    course = without_noise(time, places[good].reshape(len(good), -1), weight, error)
    everywhere = np.full((count, course.shape[1]), np.nan)
    everywhere[good] = course
    _fill(everywhere, source, measured.time_sec, good, course, weight, options)

    known = np.flatnonzero(source != Source.NONE)
    result = np.full((count, 3, 3), np.nan)
    result[known] = oriented(
        fitted(anchors, everywhere[known].reshape(-1, len(anchors), 2), affine=affine), anchors[-1]
    )
    lost = ~np.isfinite(mapped(result, anchors)).all(axis=(1, 2))
    result[lost] = np.nan
    return Transforms(result, np.where(lost, Source.NONE, source))


def agreeing(time: Floats, places: Floats, tolerance: Floats) -> Bools:
    """Which of G transforms agree with their neighbours.

    A frame's neighbours are the six good ones before and after it at growing distance, at most 2 s away. Of all
    lines in time through two of them, the one is taken that half of the neighbours are nearest to (least median of
    squares: Rousseeuw, "Least Median of Squares Regression", JASA 1984), so that nearly half of them may be wrong. The
    frame agrees if it is as near to that line as ``tolerance``, or as its neighbours are to it. What disagreed is left
    out, and all are looked at once more. Without two neighbours nothing speaks against a frame.

    :param time: float64 [G], increasing.
    :param places: float64 [G, K, 2], where the anchors are put.
    :param tolerance: float64 [G], pixels, root mean square over the anchors.
    """
    flat = places.reshape(len(places), 2 * places.shape[1])
    keep = np.ones(len(time), np.bool_)
    for _ in range(2):
        keep = _near(time, flat, tolerance, keep)
    return keep


def _near(time: Floats, flat: Floats, tolerance: Floats, given: Bools) -> Bools:
    """One look: every frame against those that are ``given``."""
    rows = np.flatnonzero(given)
    first, second = np.triu_indices(len(_NEIGHBOURS), 1)
    result = np.ones(len(time), np.bool_)
    for start in range(0, len(time), _CHUNK):
        frames = np.arange(start, min(start + _CHUNK, len(time)))
        after = np.searchsorted(rows, frames, side="right")
        before = np.searchsorted(rows, frames, side="left")
        position = np.where(_NEIGHBOURS < 0, before[:, None] + _NEIGHBOURS, after[:, None] + _NEIGHBOURS - 1)
        there = (position >= 0) & (position < len(rows))
        near = rows[np.clip(position, 0, max(len(rows) - 1, 0))] if len(rows) else np.zeros(position.shape, np.int64)
        apart = time[near] - time[frames][:, None]
        there &= np.abs(apart) <= _REACH_S
        value = flat[near] - flat[frames][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = apart[:, second] - apart[:, first]
            share = (apart[:, None, :] - apart[:, first, None]) / reach[..., None]
            away = _distances(value @ np.swapaxes(value, 1, 2), first, second, share, flat.shape[1])
            origin = (-apart[:, first] / reach)[..., None]
            base = (1 - origin) * value[:, first] + origin * value[:, second]
        away = np.where(there[:, None, :], away, np.inf)
        count = there.sum(axis=1)
        middle = np.sort(away, axis=2)[np.arange(len(frames)), :, np.minimum((count + 1) // 2, len(_NEIGHBOURS) - 1)]
        middle = np.where(there[:, first] & there[:, second], middle, np.inf)
        best = np.argmin(middle, axis=1)
        own = np.arange(len(frames))
        spread = 1.4826 * (1 + 5 / np.maximum(count - 2, 1)) * middle[own, best]
        off = np.sqrt(np.square(base[own, best]).mean(axis=1) * 2)
        agrees = off <= np.maximum(tolerance[frames], 3 * np.where(np.isfinite(spread), spread, 0))
        result[frames] = agrees | (count < 3)
    return result


def _distances(gram: Floats, first: Ints, second: Ints, share: Floats, size: int) -> Floats:
    """How far neighbours are from the lines through two of them, by their scalar products alone.

    :param gram: [C, W, W], products of the places of W neighbours of C frames.
    :param share: [C, P, W], where on each of P lines each neighbour should be: 0 at ``first``, 1 at ``second``.
    :param size: numbers that make up a place.
    :returns: [C, P, W], root mean squares over the anchors.
    """
    left, right = 1 - share, share
    own = np.diagonal(gram, axis1=1, axis2=2)
    square = left * (left * own[:, first, None] - 2 * gram[:, first])
    square += right * (right * own[:, second, None] - 2 * gram[:, second])
    square += 2 * left * right * gram[:, first, second][..., None] + own[:, None, :]
    return np.asarray(np.sqrt(np.maximum(square, 0) * (2 / size)), np.float64)


def without_noise(time: Floats, values: Floats, weight: Floats, error: Floats) -> Floats:
    """Smooth a course as much as its values are in doubt.

    A parabola is fitted around every frame. What is off it by no more than its error is put onto it; the farther it is
    off, the more of its own value stays: a hand trembles faster than any smoothing can follow, and many good points
    tell where it is.

    :param time: float64 [G], increasing.
    :param values: float64 [G, D].
    :param weight: float64 [G], for the fit.
    :param error: float64 [G], how far off values are likely to be, in their unit.
    """
    fit, _ = local_fit(time, values, weight, time, _HALF_WINDOW_S)
    rest = values - fit
    off = np.square(rest).mean(axis=1) * 2
    kept = off / (off + np.square(_DOUBT * error))
    return np.asarray(fit + kept[:, None] * rest, np.float64)


def _fill(
    everywhere: Floats, source: Ints, time: Floats, good: Ints, course: Floats, weight: Floats, options: Options
) -> None:
    """Put into ``everywhere`` and ``source`` what lies between and beside good frames.

    Between two, a cubic goes through both with the speeds that the camera had there, as hands that pan swing and
    do not jerk: of bridges over made-up pans, straight ones were two to ten times as far off.
    """
    missing = np.flatnonzero(source == Source.NONE)
    right = np.searchsorted(good, missing)
    inside = (right > 0) & (right < len(good))
    rows, right = missing[inside], right[inside]
    left = right - 1
    gap = time[good[right]] - time[good[left]]
    short = gap <= options.longest_gap_sec
    rows, left, right, gap = rows[short], left[short], right[short], gap[short][:, None]
    if len(rows):
        edges = np.unique(np.concatenate([left, right]))
        at = time[good[edges]]
        _, slopes = local_fit(time[good], course, weight, at, np.maximum(_SLOPE_WINDOW_S, _reach(time[good], edges)))
        chord = (course[right] - course[left]) / gap
        begin, end = (slopes[np.searchsorted(edges, side)] for side in (left, right))
        u = (time[rows] - time[good[left]])[:, None] / gap
        straight = course[left] + u * (course[right] - course[left])
        bend = u * (1 - u) * gap * ((1 - u) * (begin - chord) - u * (end - chord))
        everywhere[rows] = straight + bend
        source[rows] = Source.INTERPOLATED
    for edge, beside in ((0, missing[missing < good[0]]), (-1, missing[missing > good[-1]])):
        held = beside[np.abs(time[beside] - time[good[edge]]) <= options.longest_hold_sec]
        everywhere[held] = course[edge]
        source[held] = Source.HELD


def _reach(time: Floats, rows: Ints) -> Floats:
    """Half widths of windows around samples that hold the three others nearest to each, if there are so many."""
    beside = rows[:, None] + np.array([-3, -2, -1, 1, 2, 3])
    apart = np.abs(time[np.clip(beside, 0, len(time) - 1)] - time[rows][:, None])
    apart = np.where((beside >= 0) & (beside < len(time)), apart, np.inf)
    third = np.sort(apart, axis=1)[:, 2]
    return np.minimum(1.2 * third, _REACH_S)
