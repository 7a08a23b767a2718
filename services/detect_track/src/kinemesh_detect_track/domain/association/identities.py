"""Whole recordings allow what live ones do not: people are compared once more when everything of them has been seen.

People whom the step-by-step association kept apart become one where their looks and the way between where one was last
seen and the other first speak for it, best first, as long as nothing speaks against it: nobody is twice in one camera's
picture, or at two places, at one time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from kinemesh_detect_track.domain.association import appearance, walking
from kinemesh_detect_track.domain.association.places import Site
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.looks import Looks, alike

_LEAST_EVIDENCE: Final = 2.0
_APART_M: Final = 2.0
"""Distance in metres that errors of calibration and boxes do not explain."""
_OFTEN: Final = 3
"""Steps in which two are seen at once before they count as two: boxes of one person double for a moment."""


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """Everybody whom any camera showed at any step, by step.

    :ivar step: int64 [R].
    :ivar time_sec: float64 [R], on the environment's clock.
    :ivar camera: int64 [R], position among the site's cameras.
    :ivar person: int64 [R], position among the people, from 0.
    :ivar position: float64 [R, 2] on the map; NaN where it is not known.
    """

    step: Ints
    time_sec: Floats
    camera: Ints
    person: Ints
    position: Floats


@dataclass(frozen=True, slots=True)
class Join:
    """Two people who are one: ``goes`` is ``stays``, both positions among the people."""

    stays: int
    goes: int
    by_place: float
    by_looks: float


@dataclass(slots=True, eq=False)
class _Known:
    """What is known of P people; grows as they are joined."""

    first: Floats
    last: Floats
    start: Floats
    end: Floats
    looks: Looks
    apart: NDArray[np.bool_]
    gone: NDArray[np.bool_]


def joined(sightings: Sightings, looks: Looks, cosines: Floats, site: Site) -> Sequence[Join]:
    """Who of P people is who.

    :param looks: float32 [P, E], sums of embeddings times their worth.
    :param cosines: float64 [2, 3], see :mod:`~kinemesh_detect_track.domain.association.appearance`.
    :return: in the order in which they were found, each with people who are still there.
    """
    known = _known(sightings, looks, site)
    joins: list[Join] = []
    score, place, seen_alike = _scores(known, cosines, site)
    while score.size and score.max() > _LEAST_EVIDENCE:
        a, b = (int(i) for i in np.unravel_index(int(score.argmax()), score.shape))
        stays, goes = (a, b) if (known.first[a], a) <= (known.first[b], b) else (b, a)
        joins.append(Join(stays, goes, float(place[a, b]), float(seen_alike[a, b])))
        _join(known, stays, goes)
        score, place, seen_alike = _scores(known, cosines, site)
    return joins


def _known(sightings: Sightings, looks: Looks, site: Site) -> _Known:
    count = len(looks)
    order = np.lexsort((sightings.step, sightings.person))
    person, time, position = sightings.person[order], sightings.time_sec[order], sightings.position[order]
    first_row = np.searchsorted(person, np.arange(count), "left")
    last_row = np.searchsorted(person, np.arange(count), "right") - 1
    present = last_row >= first_row
    safe_first, safe_last = np.where(present, first_row, 0), np.where(present, last_row, 0)
    placed = np.isfinite(position[:, 0])
    start, end = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    if placed.any():
        rows = np.flatnonzero(placed)
        whose, at = np.unique(person[rows], return_index=True)
        start[whose] = position[rows[at]]
        _, from_end = np.unique(person[rows][::-1], return_index=True)
        end[whose] = position[rows[len(rows) - 1 - from_end]]
    return _Known(
        first=np.where(present, time[safe_first] if len(time) else 0.0, np.inf),
        last=np.where(present, time[safe_last] if len(time) else 0.0, -np.inf),
        start=start,
        end=end,
        looks=looks.copy(),
        apart=_apart(sightings, count, site),
        gone=~present,
    )


def _apart(sightings: Sightings, count: int, site: Site) -> NDArray[np.bool_]:
    """Who is certainly not who: seen by one camera at once, or at two places at once."""
    times = np.zeros((count, count))
    for camera in np.unique(sightings.camera).tolist():
        here = np.flatnonzero(sightings.camera == camera)
        shape = (int(sightings.step.max(initial=0)) + 1, count)
        shown = csr_array((np.ones(len(here)), (sightings.step[here], sightings.person[here])), shape=shape)
        times += (shown.T @ shown).toarray()
    rows = np.flatnonzero(np.isfinite(sightings.position[:, 0]))
    borders = np.flatnonzero(np.diff(sightings.step[rows], prepend=-1, append=-1))
    far = np.zeros((count, count))
    for begin, stop in pairwise(borders.tolist()):
        of_step = rows[begin:stop]
        whom, position = sightings.person[of_step], sightings.position[of_step]
        distance = np.linalg.norm(position[:, None] - position[None], axis=2)
        a, b = np.nonzero(distance > _APART_M * site.metre)
        far[whom[a], whom[b]] += 1
    return np.asarray((times >= _OFTEN) | (far >= _OFTEN))


def _scores(known: _Known, cosines: Floats, site: Site) -> tuple[Floats, Floats, Floats]:
    """What speaks for each pair [P, P], of places [P, P], and of looks [P, P]; below the diagonal it is -inf."""
    mean = appearance.mean_looks(known.looks)
    by_looks = appearance.evidence(cosines, alike(mean, mean))
    by_place = _ways(known, site)
    by_place = np.fmax(by_place, by_place.T)
    possible = ~known.apart & ~known.gone[:, None] & ~known.gone[None]
    possible &= np.triu(np.ones(possible.shape, np.bool_), 1)
    people = np.log1p(max(int((~known.gone).sum()) - 1, 0))
    place = np.where(np.isnan(by_place), -people, by_place)
    return np.where(possible, by_looks + place, -np.inf), np.where(np.isnan(by_place), 0.0, by_place), by_looks


def _ways(known: _Known, site: Site) -> Floats:
    """What the way from where each was last seen to where each other was first seen says [P, P]; NaN if neither is
    known, or if the other was there before."""
    gap = known.first[None, :] - known.last[:, None]
    later = np.isfinite(gap) & (gap > 0)
    miss = known.start[None] - known.end[:, None]
    variance = walking.spread(np.where(later, gap, 1.0), site.metre)
    log = np.log(site.area) - (miss**2).sum(axis=2) / (2 * variance) - np.log(2 * np.pi * variance)
    return np.where(later, log, np.nan)


def _join(known: _Known, stays: int, goes: int) -> None:
    known.looks[stays] += known.looks[goes]
    if known.last[goes] > known.last[stays]:
        known.end[stays] = known.end[goes]
    known.first[stays] = min(known.first[stays], known.first[goes])
    known.last[stays] = max(known.last[stays], known.last[goes])
    known.apart[stays] |= known.apart[goes]
    known.apart[:, stays] |= known.apart[:, goes]
    known.gone[goes] = True
