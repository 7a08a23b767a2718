"""What a job of several cameras comes to: who everybody is, and which way they went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh_detect_track.domain.association.clock import Clock
from kinemesh_detect_track.domain.association.decisions import Decision, Kind
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.association.places import Rules, Site
from kinemesh_detect_track.domain.hindsight import (
    Observed,
    Reunion,
    Stray,
    final_numbers,
    renumbered,
    reunited,
    settled,
)
from kinemesh_detect_track.domain.looks import Looks
from kinemesh_detect_track.domain.ways import Ways, lengths, ways
from kinemesh_detect_track.site_documents import Person, Shown

_NOTHING: Final = 1e-4
"""Share of what the gallery remembers that rounding explains."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a job comes to.

    :ivar person: int32 [R], the final number of each row of all windows; 0 where it is not known.
    :ivar ids: global ids by final number.
    :ivar people: by number; those whom any camera showed.
    :ivar looks: float32 [E] by final number, sums of this job's embeddings times their worth.
    :ivar decisions: with the final number of each one's person.
    """

    person: NDArray[np.int32]
    ids: Mapping[int, str]
    people: Sequence[Person]
    looks: Mapping[int, Looks]
    decisions: Sequence[tuple[int, Decision]]
    reunions: Sequence[tuple[int, Reunion]]
    ways: Ways


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """All windows of a job in narrow columns.

    :ivar lasts: int16 [R], how many steps each row's frame is shown for.
    :ivar state: after the last window.
    :ivar known: global ids of the people whom the gallery knew, by number.
    :ivar cameras: ids, in the site's order.
    :ivar recalled: float32 [E] by number, what the gallery remembers, which is in the state's looks as well.
    """

    observed: Observed
    lasts: NDArray[np.int16]
    decisions: Sequence[Decision]
    state: People
    known: Mapping[int, str]
    cameras: Sequence[str]
    recalled: Mapping[int, Looks] = field(default_factory=dict)


def outcome(whole: Whole, clock: Clock, site: Site, fresh_id: Callable[[int], str]) -> Outcome:
    """Look at everything once more.

    :param fresh_id: the global id of a number that the gallery does not know.
    """
    observed, rules = whole.observed, Rules()
    merged = [(one.person, one.other) for one in whole.decisions if one.kind is Kind.MERGED]
    strays = [_stray(one, clock, rules) for one in whole.decisions if one.kind is Kind.SPLIT]
    person = settled(observed, merged, strays)
    online = dict(zip(whole.state.numbers.tolist(), whole.state.looks, strict=True))
    time_sec = clock.time_of(np.arange(int(observed.step.max(initial=-1)) + 1))
    reunions = reunited(observed, person, time_sec, online, whole.state.cosines, site)
    becomes = {goes: stays for stays, goes in merged} | final_numbers(reunions, sorted(whole.known))
    person = renumbered(person, becomes)

    def final(number: int) -> int:
        return int(renumbered(np.array([number], np.int32), becomes)[0])

    numbers = [number for number in np.unique(person).tolist() if number > 0]
    looks: dict[int, Looks] = {}
    for number, look in online.items():
        if (same := final(number)) in numbers:
            own = _of_this_job(look, whole.recalled.get(number))
            looks[same] = looks[same] + own if same in looks else own
    found = ways(observed, person, clock.rate, rules.bias_m * site.metre, site.metre)
    ids = {number: whole.known.get(number) or fresh_id(number) for number in numbers}
    return Outcome(
        person=person,
        ids=ids,
        people=_people(whole, person, ids, lengths(found, clock.rate)),
        looks=looks,
        decisions=[(final(one.person), one) for one in whole.decisions],
        reunions=[(final(one.stays), one) for one in reunions],
        ways=found,
    )


def _of_this_job(look: Looks, recalled: Looks | None) -> Looks:
    """Looks without what was known before, which the gallery has already."""
    if recalled is None or recalled.shape != look.shape:
        return look
    own = look - recalled
    return own if np.linalg.norm(own) > _NOTHING * np.linalg.norm(recalled) else np.zeros_like(own)


def _stray(decision: Decision, clock: Clock, rules: Rules) -> Stray:
    step = round((decision.time_sec - clock.start_sec) * clock.rate)
    return Stray(decision.camera, decision.track, step - round(rules.stray_s * clock.rate), step)


def _people(
    whole: Whole,
    person: NDArray[np.int32],
    ids: Mapping[int, str],
    distances: Mapping[int, float],
) -> list[Person]:
    observed = whole.observed
    rows = np.flatnonzero(person)
    rows = rows[np.lexsort((observed.step[rows], observed.camera[rows], person[rows]))]
    shown: dict[int, list[Shown]] = {number: [] for number in ids}
    differs = (np.diff(person[rows]) != 0) | (np.diff(observed.camera[rows]) != 0)
    for part in np.split(rows, np.flatnonzero(differs) + 1) if len(rows) else []:
        step = observed.step[part]
        once = np.diff(step, prepend=-1) != 0
        one = Shown(
            camera=whole.cameras[int(observed.camera[part[0]])],
            start=int(step[0]),
            stop=int((step + whole.lasts[part]).max()),
            steps=int(whole.lasts[part][once].sum()),
            tracks=np.unique(observed.track[part]).tolist(),
        )
        shown[int(person[part[0]])].append(one)
    return [Person(number, ids[number], number in whole.known, shown[number], distances.get(number)) for number in ids]
