"""Dynamic time warping of two courses."""

from __future__ import annotations

from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats, Ints

MOST_STEPS: Final = 2000
_BAND: Final = 0.5
"""How far from the straight diagonal two courses may get, as a fraction of their length: one may stop half-way."""


def warped(first: Floats, second: Floats) -> Floats:
    """Where in the second course one is when one is at each step of the first.

    Source: Sakoe & Chiba, "Dynamic programming algorithm optimization for spoken word recognition", IEEE Trans. ASSP
    26, 1978, symmetric, with a band around the diagonal. Both begin and end together. All cells of an anti-diagonal
    depend on the two before it only, and are computed at once.

    :param first: float64 [N, D], N ≥ 2.
    :param second: float64 [M, D], M ≥ 2.
    :returns: float64 [N], positions in the second from 0 to M - 1, never falling: the mean of what a step is paired
        with.
    """
    i, j = _path(first, second)
    total = np.bincount(i, j, len(first))
    return np.asarray(total / np.bincount(i, minlength=len(first)), np.float64)


def _path(first: Floats, second: Floats) -> tuple[Ints, Ints]:
    n, m = len(first), len(second)
    step = np.zeros((n + m - 1, n), np.uint8)  # 0: both go on, 1: the first only, 2: the second only
    before = np.full(n + 1, np.inf)  # costs of the last anti-diagonal but one, by position in the first, from 1
    last = np.full(n + 1, np.inf)
    for diagonal in range(n + m - 1):
        rows = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        columns = diagonal - rows
        here = np.full(n + 1, np.inf)
        inside = np.abs(rows / (n - 1) - columns / (m - 1)) <= _BAND + 1e-9
        rows, columns = rows[inside], columns[inside]
        distance = np.linalg.norm(first[rows] - second[columns], axis=1)
        if diagonal == 0:
            here[1] = distance[0]
        else:
            # Equal costs go to the diagonal, so that courses at rest keep pace.
            choices = np.stack([before[rows], last[rows], last[rows + 1]])
            chosen = np.argmin(choices, axis=0)
            step[diagonal, rows] = chosen
            here[rows + 1] = distance + choices[chosen, np.arange(len(rows))]
        before, last = last, here
    return _back(step, n, m)


def _back(step: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], n: int, m: int) -> tuple[Ints, Ints]:
    i, j = n - 1, m - 1
    path = [(i, j)]
    while i or j:
        taken = int(step[i + j, i])
        i, j = i - (taken != 2), j - (taken != 1)
        path.append((i, j))
    both = np.array(path[::-1], np.int64)
    return both[:, 0], both[:, 1]
