"""Simple polygons: corners [K, 2] in order, the last joined to the first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def inside(points: Floats, corners: Floats) -> NDArray[np.bool_]:
    """Which points [N, 2] lie in a polygon, by the even-odd rule (Shimrat, Algorithm 112, 1962); NaN lies nowhere."""
    x, y = points[:, 0, None], points[:, 1, None]
    x1, y1 = corners[:, 0], corners[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    spans = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x1 + (y - y1) / (y2 - y1) * (x2 - x1)
    return np.asarray((spans & (x < crossing)).sum(axis=1) % 2 == 1)


def area(corners: Floats) -> float:
    """Area, in the unit squared (the shoelace formula)."""
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def is_simple(corners: Floats) -> bool:
    """Whether no edge crosses or touches another, save its neighbours at their common corner."""
    start, stop = corners, np.roll(corners, -1, axis=0)
    count = len(corners)
    for i in range(count):
        for j in range(i + 1, count):
            beside = j == i + 1 or (i == 0 and j == count - 1)
            if beside:
                shared = stop[i] if j == i + 1 else start[i]
                ends = (start[i], stop[j]) if j == i + 1 else (stop[i], start[j])
                a, b = ends[0] - shared, ends[1] - shared
                if a[0] * b[1] == a[1] * b[0] and a @ b >= 0:
                    return False
            elif _cross(start[i], stop[i], start[j], stop[j]):
                return False
    return True


def _cross(a: Floats, b: Floats, c: Floats, d: Floats) -> bool:
    def side(p: Floats, q: Floats, r: Floats) -> float:
        return float(np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])))

    def on(p: Floats, q: Floats, r: Floats) -> bool:
        return bool((np.minimum(p, q) <= r).all() and (r <= np.maximum(p, q)).all())

    sides = side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    triples = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(s == 0 and on(*triple) for s, triple in zip(sides, triples, strict=True))
