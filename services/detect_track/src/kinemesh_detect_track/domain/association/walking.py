"""How people move on the map: a Kalman filter whose velocity is forgotten, for all of them at once.

The velocity is an Ornstein–Uhlenbeck process: a person who is out of sight may have turned, so that where they are
expected drifts only as long as people usually keep a direction, and uncertainty grows with the root of the time.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kinemesh_detect_track.domain.boxes import Floats, Ints

_KEPT_S: Final = 3.0
"""Seconds for which people keep a direction."""
_SPEED: Final = 1.0
"""Standard deviation of a velocity along one axis, in metres per second."""
_STANCE_M: Final = 0.35
"""Standard deviation of a single sighting's place, in metres."""


def started(position: Floats, covariance: Floats, metre: float) -> tuple[Floats, Floats]:
    """Mean [P, 4] ``x y vx vy`` and covariance [P, 4, 4] of people first seen at ``position`` [P, 2]."""
    mean = np.concatenate([position, np.zeros_like(position)], axis=1)
    whole = np.zeros((len(position), 4, 4))
    whole[:, :2, :2] = covariance
    whole[:, [2, 3], [2, 3]] = (_SPEED * metre) ** 2
    return mean, whole


def predicted(mean: Floats, covariance: Floats, seconds: float, metre: float) -> tuple[Floats, Floats]:
    """The same after a time; ``metre`` is its length in the map's unit."""
    if seconds <= 0:
        return mean, covariance
    kept = np.exp(-seconds / _KEPT_S)
    reach = _KEPT_S * (1 - kept)
    turn = np.eye(4)
    turn[0, 2] = turn[1, 3] = reach
    turn[2, 2] = turn[3, 3] = kept
    # The integrated process's own noise (Uhlenbeck and Ornstein, 1930).
    variance = (_SPEED * metre) ** 2
    far = float(_drift(np.array(seconds))) * variance
    mixed = variance * _KEPT_S * (1 - kept) ** 2
    fast = variance * (1 - kept**2)
    noise = np.zeros((4, 4))
    noise[[0, 1], [0, 1]] = far
    noise[[0, 1, 2, 3], [2, 3, 0, 1]] = mixed
    noise[[2, 3], [2, 3]] = fast
    return mean @ turn.T, turn @ covariance @ turn.T + noise


def _drift(seconds: Floats) -> Floats:
    """Variance of where somebody is after a time, for a velocity of variance 1 that was known at its beginning."""
    kept = np.exp(-seconds / _KEPT_S)
    result: Floats = 2 * _KEPT_S * seconds - _KEPT_S**2 * (3 - 4 * kept + kept**2)
    return result


def spread(seconds: Floats, metre: float) -> Floats:
    """Variance along one axis, in the map's unit squared, of where people are whose place was known that long ago, and
    their velocity not."""
    reach = _KEPT_S * (1 - np.exp(-seconds / _KEPT_S))
    result: Floats = (_SPEED * metre) ** 2 * (_drift(seconds) + reach**2) + (_STANCE_M * metre) ** 2
    return result


def corrected(mean: Floats, covariance: Floats, position: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """The same after each was seen at ``position`` [P, 2] with the covariance ``noise`` [P, 2, 2]."""
    gain = covariance[:, :, :2] @ np.linalg.inv(covariance[:, :2, :2] + noise)
    miss = (position - mean[:, :2])[:, :, None]
    after = covariance - gain @ covariance[:, :2, :]
    return mean + (gain @ miss)[:, :, 0], (after + after.transpose(0, 2, 1)) / 2


def fused(person: Ints, position: Floats, noise: Floats, count: int) -> tuple[Floats, Floats]:
    """What several cameras say together of ``count`` people: positions [count, 2] and covariances [count, 2, 2].

    :param person: int64 [N], whom each row shows, from 0; everybody at least once.
    """
    information = np.zeros((count, 2, 2))
    pull = np.zeros((count, 2))
    weight = np.linalg.inv(noise)
    np.add.at(information, person, weight)
    np.add.at(pull, person, (weight @ position[:, :, None])[:, :, 0])
    covariance: Floats = np.linalg.inv(information).astype(np.float64, copy=False)
    return (covariance @ pull[:, :, None])[:, :, 0], covariance
