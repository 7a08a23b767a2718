"""When something stood still."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh_detect_track.domain.boxes import Floats, Ints

STILL_SPEED: Final = 0.1
"""Sizes per second; what moves more slowly stands: people sway by some centimetres per second."""
STILL_SEC: Final = 0.5
"""A shorter stop is a step, or the turning point of a movement."""
_SPREAD: Final = 0.04  # sizes, root mean square: a turning point is slow on average, but nothing stays in its place
_END_SEC: Final = 1.0
_PLACE: Final = 0.01  # sizes; less is tremble
_BRIDGE_SEC: Final = 1.0  # somebody who walks past changes a box for a moment
_BRIDGE: Final = 0.25  # sizes between the places before and after


def stops(time_sec: Floats, points: Floats, size: Floats) -> list[tuple[int, int]]:
    """Spans in which an object stood still, as first and last of its N rows; they do not overlap.

    An object stands over a window of :data:`STILL_SEC` (of one step where frames are farther apart) if the line
    fitted to its points (least squares) rises by less than :data:`STILL_SPEED` and the points stay within 0.04 sizes
    (root mean square) of their mean. Windows that overlap make a stop. It begins with its first row that is at its
    place: the median of its first second, to twice the usual distance from it, at least 0.01 sizes; its end is found
    likewise. What is then shorter than :data:`STILL_SEC` is none. Stops less than a second apart are one if their
    places are within a quarter of a size, since whoever walks past changes a box for a moment.

    So tremble of the detector up to a standard deviation of 2 % of the size per coordinate ends no stop, and the ends
    are those of 0.01 sizes' way: 0.1 s too early and too late for something that brakes by two sizes per second
    squared.

    :param time_sec: float64 [N], growing.
    :param points: float64 [N, P, 2], points of the object; speed and distance are root mean squares over them.
    :param size: float64 [N], of the object, in the unit of the points.
    """
    moved = np.concatenate([[False], _covered(time_sec, points, size), [False]])
    edges = np.flatnonzero(np.diff(moved.astype(np.int8))).reshape(-1, 2)
    found: list[tuple[int, int]] = []
    place = np.zeros(points.shape[1:])
    for first, last in edges.tolist():
        tall = float(np.mean(size[first : last + 1]))
        ahead = slice(first, min(last + 1, int(np.searchsorted(time_sec, time_sec[first] + _END_SEC, "right"))))
        behind = slice(max(first, int(np.searchsorted(time_sec, time_sec[last] - _END_SEC))), last + 1)
        begin = first + int(_at_place(points[ahead], tall).argmax())
        end = last - int(_at_place(points[behind], tall)[::-1].argmax())
        if time_sec[end] - time_sec[begin] < STILL_SEC - 1e-6:
            continue
        here = np.median(points[begin : end + 1], axis=0)
        soon = bool(found) and time_sec[begin] - time_sec[found[-1][1]] < _BRIDGE_SEC
        if soon and _length(here - place) <= _BRIDGE * tall:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
            place = here
    return found


def _at_place(points: Floats, size: float) -> NDArray[np.bool_]:
    """Which rows of points [M, P, 2] are near their median: bool [M]."""
    away = _length(points - np.median(points, axis=0))
    return np.asarray(away <= max(_PLACE * size, 2 * float(np.median(away))))


def _length(vectors: Floats) -> Floats:
    """Root mean square over P of vectors [..., P, 2]: [...]."""
    return np.asarray(np.sqrt(np.square(vectors).sum(axis=-1).mean(axis=-1)))


def _covered(time_sec: Floats, points: Floats, size: Floats) -> NDArray[np.bool_]:
    """Which of the steps between rows lie in a window of standing still: bool [N - 1]."""
    rows = len(time_sec)
    covered = np.zeros(max(rows - 1, 0), np.bool_)
    end = np.searchsorted(time_sec, time_sec + STILL_SEC - 1e-6)
    first = np.flatnonzero(end < rows)
    if not len(first):
        return covered
    last = end[first]
    still = _still(time_sec, points, size, first, last)
    change = np.zeros(rows, np.int64)
    np.add.at(change, first[still], 1)
    np.add.at(change, last[still], -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def _still(time_sec: Floats, points: Floats, size: Floats, first: Ints, last: Ints) -> NDArray[np.bool_]:
    """Whether the object stands over each window of rows ``first`` to ``last``: bool, as long as these."""
    count, t1, t2, scale = (np.zeros(len(first)) for _ in range(4))
    y1, y2, ty = (np.zeros((len(first), *points.shape[1:])) for _ in range(3))
    for offset in range(int((last - first).max()) + 1):
        use = np.flatnonzero(first + offset <= last)
        row = first[use] + offset
        t = time_sec[row] - time_sec[first[use]]
        y = points[row] - points[first[use]]
        count[use] += 1
        t1[use] += t
        t2[use] += t * t
        scale[use] += size[row]
        y1[use] += y
        y2[use] += y * y
        ty[use] += t[:, None, None] * y
    count3, t13 = count[:, None, None], t1[:, None, None]
    slope = (count3 * ty - t13 * y1) / (count * t2 - t1 * t1)[:, None, None]
    spread = np.sqrt(np.maximum(y2 / count3 - np.square(y1 / count3), 0))
    scale /= count
    return np.asarray((_length(slope) < STILL_SPEED * scale) & (_length(spread) < _SPREAD * scale))
