"""Local regression in time over unevenly timed samples, all at once."""

from __future__ import annotations

from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats

_CHUNK: Final = 2048
_RIDGE: Final = np.array([0.0, 1e-9, 1e-6])


def local_fit(time: Floats, values: Floats, weight: Floats, at: Floats, half: float | Floats) -> tuple[Floats, Floats]:
    """Fit a parabola to the samples around each of T times, by weighted least squares with the tricube kernel.

    On evenly timed samples this is the filter of Savitzky and Golay (Anal. Chem. 36, 1964) with a taper; it
    neither lags nor cuts off what is straight or parabolic. With too few samples the parabola becomes a line, then
    the one sample's value.

    Source of the kernel: Cleveland, "Robust Locally Weighted Regression and Smoothing Scatterplots", JASA 1979.

    :param time: float64 [G], increasing.
    :param values: float64 [G, D].
    :param weight: float64 [G], above 0.
    :param at: float64 [T]; a sample must lie within ``half`` of each.
    :param half: half width of the kernel in seconds; the same for all, or float64 [T].
    :returns: values and their change per second, float64 [T, D] each.
    """
    result = np.empty((len(at), values.shape[1]))
    slopes = np.empty_like(result)
    halves = np.broadcast_to(np.asarray(half, np.float64), len(at))
    for start in range(0, len(at), _CHUNK):
        where, width = at[start : start + _CHUNK], halves[start : start + _CHUNK, None]
        first = np.searchsorted(time, where - width[:, 0], side="right")
        stop = np.searchsorted(time, where + width[:, 0], side="left")
        rows = first[:, None] + np.arange(max(int((stop - first).max()), 1))
        there = rows < stop[:, None]
        rows = np.minimum(rows, len(time) - 1)
        u = np.where(there, (time[rows] - where[:, None]) / width, 0.0)
        share = np.where(there, weight[rows] * (1 - np.abs(u) ** 3) ** 3, 0.0)
        share /= share.sum(axis=1, keepdims=True)
        basis = np.stack([np.ones_like(u), u, u**2], axis=2)
        weighted = np.swapaxes(basis * share[..., None], 1, 2)
        solved = np.linalg.solve(weighted @ basis + np.diag(_RIDGE), weighted @ values[rows])
        result[start : start + _CHUNK] = solved[:, 0]
        slopes[start : start + _CHUNK] = solved[:, 1] / width
    return result, slopes
