"""Who was in which area from when to when, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh_detect_track.domain.boxes import Ints
from kinemesh_detect_track.domain.zones import FLICKER_SEC, union


@dataclass(frozen=True, slots=True)
class Stay:
    """One person in one zone without a break: the steps ``start`` to ``stop``, exclusive."""

    zone: str
    person: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Count:
    """From this step on, this many people are there."""

    step: int
    people: int


def stays(zone: str, person: NDArray[np.integer], start: Ints, stop: Ints, rate: float) -> list[Stay]:
    """All stays in a zone, by their beginnings, then person.

    :param person: int [R], who is inside.
    :param start: int64 [R], from which step.
    :param stop: int64 [R], to which, exclusive.
    :param rate: steps per second; an absence of no more than :data:`FLICKER_SEC` is none.
    """
    if not len(person):
        return []
    order = np.lexsort((start, person))
    person, start, stop = person[order], start[order], stop[order]
    new = np.diff(person, prepend=-1) != 0
    # Several cameras have rows of different lengths, so that not the last row but the longest decides.
    until = _running_most(stop, new)
    flicker = round(FLICKER_SEC * rate)
    first = np.flatnonzero(new | (start - np.roll(until, 1) > flicker))
    last = np.append(first[1:], len(person)) - 1
    found = [
        Stay(zone, *values)
        for values in zip(person[first].tolist(), start[first].tolist(), until[last].tolist(), strict=True)
    ]
    return sorted(found, key=lambda stay: (stay.start, stay.person))


def counts(found: Sequence[Stay]) -> list[Count]:
    """How many people are in one zone, whenever that changes; a person counts once."""
    if not found:
        return []
    steps = np.array([step for stay in found for step in (stay.start, stay.stop)])
    change = np.tile([1, -1], len(found))
    at, which = np.unique(steps, return_inverse=True)
    people = np.cumsum(np.bincount(which.ravel(), change, len(at))).astype(np.int64)
    differs = np.diff(people, prepend=0) != 0
    return [Count(*values) for values in zip(at[differs].tolist(), people[differs].tolist(), strict=True)]


def occupied(found: Sequence[Stay]) -> int:
    """Steps in which anybody is in a zone."""
    return int(sum(end - start for start, end in union([(float(stay.start), float(stay.stop)) for stay in found])))


def _running_most(values: Ints, new: NDArray[np.bool_]) -> Ints:
    """The largest value so far in each group; ``new`` marks where groups begin."""
    group = np.cumsum(new)
    height = np.int64(values.max() + 1)
    result: Ints = np.maximum.accumulate(values + group * height) - group * height
    return result
