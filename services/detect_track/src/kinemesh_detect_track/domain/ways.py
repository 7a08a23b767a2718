"""The ways of everybody over the map, at every step of a job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.results.columns import joined, select
from kinemesh_detect_track.domain.association.paths import smoothed
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.hindsight import Observed

_FILLED_S: Final = 2.0
"""A longer absence is one: nobody knows the way that was taken meanwhile."""


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """R places, by step, then person.

    :ivar step: int64 [R].
    :ivar person: int32 [R].
    :ivar place: float64 [R, 2], in the map's unit.
    :ivar velocity: float64 [R, 2], in the map's unit per second.
    :ivar cameras: int32 [R], how many cameras saw the person; 0 where the place was filled in.
    """

    step: Ints
    person: NDArray[np.int32]
    place: Floats
    velocity: Floats
    cameras: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.step)


def ways(observed: Observed, person: NDArray[np.int32], rate: float, bias: float, metre: float) -> Ways:
    """Everybody's way, from all cameras together and with hindsight.

    :param person: int32 [R], whom each row shows; 0 for nobody known.
    :param rate: steps per second.
    :param bias: standard deviation of what calibrations are off by, in the map's unit.
    :param metre: length of a metre in the map's unit.
    """
    rows = np.flatnonzero((person > 0) & np.isfinite(observed.position[:, 0]))
    rows = rows[np.lexsort((observed.step[rows], person[rows]))]
    parts = [
        _way(observed, part, int(person[part[0]]), rate, bias, metre) for part in _spells(observed, person, rows, rate)
    ]
    if not parts:
        nowhere = np.empty((0, 2))
        return Ways(np.empty(0, np.int64), np.empty(0, np.int32), nowhere, nowhere, np.empty(0, np.int32))
    whole = joined(parts)
    return select(whole, np.lexsort((whole.person, whole.step)))


def lengths(found: Ways, rate: float) -> dict[int, float]:
    """How far each person went, by number, in the map's unit; what nobody saw is left out."""
    order = np.lexsort((found.step, found.person))
    step, person, place = found.step[order], found.person[order], found.place[order]
    on = (np.diff(person) == 0) & (np.diff(step) <= _FILLED_S * rate)
    leg = np.where(on, np.linalg.norm(np.diff(place, axis=0), axis=1), 0.0)
    numbers, which = np.unique(person, return_inverse=True)
    total = np.bincount(which.ravel()[1:], leg, len(numbers))
    return dict(zip(numbers.tolist(), total.tolist(), strict=True))


def _spells(
    observed: Observed, person: NDArray[np.int32], rows: NDArray[np.intp], rate: float
) -> Iterator[NDArray[np.intp]]:
    if len(rows):
        breaks = (np.diff(person[rows]) != 0) | (np.diff(observed.step[rows]) > _FILLED_S * rate)
        yield from np.split(rows, np.flatnonzero(breaks) + 1)


def _way(observed: Observed, rows: NDArray[np.intp], number: int, rate: float, bias: float, metre: float) -> Ways:
    seen = observed.step[rows].astype(np.int64)
    step = np.arange(seen[0], seen[-1] + 1)
    xx, xy, yy = observed.covariance[rows].astype(np.float64).T
    covariance = np.stack([np.stack([xx + bias**2, xy], axis=1), np.stack([xy, yy + bias**2], axis=1)], axis=1)
    # Places are counted from the first one: maps in national grids have coordinates of many digits.
    origin = observed.position[rows[0]]
    place, velocity = smoothed(
        (step - step[0]) / rate, seen - step[0], observed.position[rows] - origin, covariance, metre
    )
    pair = np.unique(np.stack([seen, observed.camera[rows].astype(np.int64)], axis=1), axis=0)
    cameras = np.bincount(pair[:, 0] - step[0], minlength=len(step)).astype(np.int32)
    return Ways(step, np.full(len(step), number, np.int32), place + origin, velocity, cameras)
