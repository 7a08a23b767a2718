"""The way of a person over the map, from what all cameras saw of them, looked at from both ends."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.linalg import solveh_banded

from kinemesh_detect_track.domain.boxes import Floats, Ints

_TURN_MPS: Final = 1.5
"""Standard deviation of how much a velocity changes within a second, in metres per second."""
_BAND: Final = 8


def smoothed(time: Floats, seen: Ints, position: Floats, covariance: Floats, metre: float) -> tuple[Floats, Floats]:
    """Places and velocities at all times, from sightings at some of them.

    The most likely path under white-noise acceleration (Bar-Shalom, Li and Kirubarajan, *Estimation with Applications
    to Tracking and Navigation*, 2001, section 6.2.2): one banded system of equations holds what Rauch, Tung and
    Striebel's smoother finds with two passes.

    :param time: float64 [F], seconds, ascending.
    :param seen: int64 [N], ascending, position in ``time`` of each sighting; several may be of one time.
    :param position: float64 [N, 2], on the map.
    :param covariance: float64 [N, 2, 2].
    :param metre: length of a metre in the map's unit.
    :return: places and velocities, both float64 [F, 2].
    """
    count = len(time)
    # Unknowns are x, y, vx, vy of each time in turn; row k of the band holds what couples each with the k-th after it.
    band = np.zeros((_BAND, 4 * count))
    pull = np.zeros(4 * count)
    weight = np.linalg.inv(covariance)
    np.add.at(band[0], 4 * seen, weight[:, 0, 0])
    np.add.at(band[0], 4 * seen + 1, weight[:, 1, 1])
    np.add.at(band[1], 4 * seen, weight[:, 0, 1])
    drawn = (weight @ position[:, :, None])[:, :, 0]
    np.add.at(pull, 4 * seen, drawn[:, 0])
    np.add.at(pull, 4 * seen + 1, drawn[:, 1])
    passed = np.diff(time)
    power = (_TURN_MPS * metre) ** 2
    # Inverse of the noise of a step, [[t³/3, t²/2], [t²/2, t]] · power, for each axis.
    far, mixed, fast = 12 / (power * passed**3), -6 / (power * passed**2), 4 / (power * passed)
    for axis in (0, 1):
        place = 4 * np.arange(count - 1) + axis
        speed = place + 2
        # The error of a step is (x' - x - t v, v' - v); its quadratic form is spread over the band.
        band[0, place] += far
        band[0, place + 4] += far
        band[0, speed] += far * passed**2 + 2 * mixed * passed + fast
        band[0, speed + 4] += fast
        band[2, place] += far * passed + mixed
        band[2, place + 4] += mixed
        band[4, place] -= far
        band[4, speed] -= mixed * passed + fast
        band[2, speed] -= far * passed + mixed
        band[6, place] -= mixed
    # Nobody runs: holds the velocity where a path is a single point.
    band[0, 2::4] += 1 / (3 * metre) ** 2 / count
    band[0, 3::4] += 1 / (3 * metre) ** 2 / count
    found = solveh_banded(band, pull, lower=True, check_finite=False).reshape(count, 4)
    return found[:, :2], found[:, 2:]
