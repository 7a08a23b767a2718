"""Who everybody was, once everything has been seen: what was decided late holds for what was seen before as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh_detect_track.domain.association.identities import Sightings, joined
from kinemesh_detect_track.domain.association.places import Site
from kinemesh_detect_track.domain.boxes import Floats
from kinemesh_detect_track.domain.looks import Looks


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """R boxes of people in all cameras, by step; narrow, because a job has millions.

    :ivar step: int32 [R].
    :ivar camera: int16 [R], position among the site's cameras.
    :ivar track: int32 [R], unique within the camera.
    :ivar person: int32 [R], number; 0 where it was not decided yet.
    :ivar position: float64 [R, 2] on the map; NaN where it is not known.
    :ivar covariance: float32 [R, 3], its ``xx xy yy``.
    """

    step: NDArray[np.int32]
    camera: NDArray[np.int16]
    track: NDArray[np.int32]
    person: NDArray[np.int32]
    position: Floats
    covariance: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Stray:
    """Steps ``start`` to ``stop``, exclusive, in which a track was no longer the person it was thought to be."""

    camera: int
    track: int
    start: int
    stop: int


def settled(observed: Observed, merged: Sequence[tuple[int, int]], strays: Sequence[Stray]) -> NDArray[np.int32]:
    """The number of each row's person, int32 [R], by all decisions of all windows; 0 where nobody was ever decided on.

    A track belongs to the person it is given to from its beginning, or from when it began to stray, save where the same
    camera showed the person elsewhere in its picture.

    :param merged: (who stays, who goes), in the order of time.
    """
    person = observed.person.copy()
    for stray in strays:
        first, last = np.searchsorted(observed.step, [stray.start, stray.stop]).tolist()
        part = slice(first, last)
        person[part][(observed.camera[part] == stray.camera) & (observed.track[part] == stray.track)] = 0
    decided = person > 0
    order = np.lexsort((observed.step, observed.track, observed.camera))
    filled, camera, track = person[order], observed.camera[order], observed.track[order]
    known = np.flatnonzero(filled)
    open_rows = np.flatnonzero(filled == 0)
    after = np.searchsorted(known, open_rows)
    open_rows, after = open_rows[after < len(known)], known[after[after < len(known)]]
    same = (camera[open_rows] == camera[after]) & (track[open_rows] == track[after])
    filled[open_rows[same]] = filled[after[same]]
    person[order] = filled
    person = renumbered(person, {goes: stays for stays, goes in merged})
    cameras, people = int(observed.camera.max(initial=0)) + 1, int(person.max(initial=0)) + 1
    once = (observed.step.astype(np.int64) * cameras + observed.camera) * people + person
    person[~decided & np.isin(once, once[decided])] = 0
    return person


def renumbered(person: NDArray[np.int32], becomes: Mapping[int, int]) -> NDArray[np.int32]:
    """Numbers after each has become another, and that one perhaps another still."""
    numbers, which = np.unique(person, return_inverse=True)
    final = np.array([_last(number, becomes) for number in numbers.tolist()], np.int32)
    return final[which.ravel()]


def _last(number: int, becomes: Mapping[int, int]) -> int:
    for _ in range(len(becomes)):
        if number not in becomes:
            break
        number = becomes[number]
    return number


@dataclass(frozen=True, slots=True)
class Reunion:
    """Two numbers that turned out to be one person; the figures are those of
    :class:`~kinemesh_detect_track.domain.association.identities.Join`."""

    stays: int
    goes: int
    by_place: float
    by_looks: float


def reunited(
    observed: Observed,
    person: NDArray[np.int32],
    time_sec: Floats,
    looks: Mapping[int, Looks],
    cosines: Floats,
    site: Site,
) -> list[Reunion]:
    """Compare everybody once more, see :mod:`~kinemesh_detect_track.domain.association.identities`.

    :param person: int32 [R], as :func:`settled` says.
    :param time_sec: float64 [S], of each step.
    :param looks: float32 [E] by number, sums of embeddings times their worth.
    """
    rows = np.flatnonzero(person)
    numbers, which = np.unique(person[rows], return_inverse=True)
    if not len(numbers):
        return []
    nothing = np.zeros(max((len(look) for look in looks.values()), default=0), np.float32)
    step = observed.step[rows].astype(np.int64)
    sightings = Sightings(
        step, time_sec[step], observed.camera[rows].astype(np.int64), which.ravel(), observed.position[rows]
    )
    total = np.stack([looks.get(number, nothing) for number in numbers.tolist()])
    return [
        Reunion(int(numbers[join.stays]), int(numbers[join.goes]), join.by_place, join.by_looks)
        for join in joined(sightings, total, cosines, site)
    ]


def final_numbers(reunions: Sequence[Reunion], known: Sequence[int]) -> dict[int, int]:
    """What numbers become; where one of several is of the gallery, that one.

    :param known: numbers of people whom the gallery knew.
    """
    becomes = {reunion.goes: reunion.stays for reunion in reunions}
    for number in known:
        if (root := _last(number, becomes)) != number and root not in known:
            del becomes[number]
            becomes[root] = number
    return becomes
