"""One identity for each person whom several cameras see, step by step.

A track belongs to one person, and a person has at most one track in a camera at a time. A track that has lasted a
moment is given to the person for whom most speaks: the place on the map, where views overlap or the person was seen a
moment ago; the time that the way takes, where they do not; and looks, as far as these tell. What speaks for a person
is the log of a likelihood ratio against somebody new (Blackman and Popoli, *Design and Analysis of Modern Tracking
Systems*, 1999, chapter 6), and all tracks of a step are given at once, so that the sum is largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinemesh.results.columns import select
from kinemesh_detect_track.domain.association import appearance, walking
from kinemesh_detect_track.domain.association.decisions import Decision, Kind
from kinemesh_detect_track.domain.association.evidence import IMPOSSIBLE, case
from kinemesh_detect_track.domain.association.merging import merged
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.association.places import Rules, Site
from kinemesh_detect_track.domain.association.splitting import split
from kinemesh_detect_track.domain.association.views import Seen
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.looks import Looks, alike

_RATIO_KEPT: Final = 0.95
_DOUBLE_S: Final = 3.0
_TRACK_KEPT_S: Final = 3.0
"""Longer than any tracker keeps an object that it does not see: a track unseen for so long does not come back."""


def step(
    people: People, seen: Seen, time_sec: float, site: Site, rules: Rules
) -> tuple[People, Ints, Sequence[Decision]]:
    """Take one step over all cameras.

    :param time_sec: on the environment's clock; later than the step before.
    :return: the state after it; int64 [N], the number of each row's person, 0 where it is not decided yet; and what was
        decided.
    """
    # In one order, so that sums and new numbers do not depend on the order of rows.
    order = np.lexsort((seen.track, seen.camera))
    seen = select(seen, order)
    passed = 0.0 if np.isnan(people.time[0]) else time_sec - float(people.time[0])
    mean, covariance = walking.predicted(people.mean, people.covariance, passed, site.metre)
    people = replace(people, time=np.array([time_sec]), mean=mean, covariance=covariance)
    noise = seen.covariance + np.eye(2) * (rules.bias_m * site.metre) ** 2
    people, at = _followed(people, seen, noise, time_sec)
    people = _alone(people, seen, at)
    people, decisions = split(people, seen, at, noise, site, rules)
    people, given = _given(people, seen, at, noise, site, rules)
    people = _placed(people, seen, at, noise, site)
    people, ones = merged(people, site, rules)
    number = np.empty(len(order), np.int64)
    number[order] = people.track_person[at]
    return people, number, [*decisions, *given, *ones]


def _followed(people: People, seen: Seen, noise: Floats, now: float) -> tuple[People, Ints]:
    """Note who is seen, and how; answers with the position of each row's track as well."""
    kept = np.flatnonzero(now - people.track_seen <= _TRACK_KEPT_S)
    camera = np.concatenate([people.track_camera[kept], seen.camera])
    track = np.concatenate([people.track_id[kept], seen.track])
    # What is known comes first, so that of the same track it is what stays.
    _, first, where = np.unique(np.stack([camera, track], axis=1), axis=0, return_index=True, return_inverse=True)
    fresh = len(seen.camera)

    def extended(known: NDArray[Any], start: float) -> NDArray[Any]:
        begun = np.full((fresh, *known.shape[1:]), start, known.dtype)
        whole: NDArray[Any] = np.concatenate([known[kept], begun])[first]
        return whole

    at = np.asarray(where).ravel()[len(kept) :].astype(np.int64)
    looks = extended(people.track_looks, 0)
    cosine = people.cosines
    looked = np.flatnonzero(seen.worth > 0)
    if len(looked):
        table = alike(seen.look[looked], appearance.mean_looks(looks)[at])
        own = looked[:, None] == np.arange(fresh)[None]
        beside = (seen.camera[looked][:, None] == seen.camera[None]) & ~own
        cosine = appearance.noted(cosine, appearance.SAME, table[own])
        cosine = appearance.noted(cosine, appearance.DIFFERENT, table[beside])
    gained = seen.look * seen.worth[:, None]
    looks[at] += gained
    ratio = extended(people.track_ratio, np.nan)
    ratio[at] = _mixed(ratio[at], seen.ratio)
    person = extended(people.track_person, 0)
    last_seen = extended(people.track_seen, now)
    last_seen[at] = now
    place, spread = extended(people.track_place, np.nan), extended(people.track_spread, 0)
    place[at], spread[at] = seen.position, noise
    people = replace(
        people,
        track_camera=camera[first],
        track_id=track[first],
        track_person=person,
        track_since=extended(people.track_since, now),
        track_born=extended(people.track_born, now),
        track_seen=last_seen,
        track_stray=extended(people.track_stray, np.nan),
        track_place=place,
        track_spread=spread,
        track_ratio=ratio,
        track_looks=looks,
        cosines=cosine,
    )
    return _shown(people, seen, at, gained), at


def _alone(people: People, seen: Seen, at: Ints) -> People:
    """Let a track begin when it is alone: at first it may be a second box of somebody whom the camera shows already."""
    decided = people.track_person > 0
    pairs = (people.track_camera[None] == seen.camera[:, None]) & (people.track_id[None] == seen.doubles[:, None])
    second = (pairs & decided).any(axis=1) & ~decided[at] & (people.time[0] - people.track_born[at] < _DOUBLE_S)
    since = people.track_since.copy()
    since[at[second]] = people.time[0]
    return replace(people, track_since=since)


def _mixed(before: Floats, now: Floats) -> Floats:
    """Running means; where either is not known, the other."""
    mixed = np.where(np.isnan(before), now, _RATIO_KEPT * before + (1 - _RATIO_KEPT) * now)
    return np.where(np.isnan(now), before, mixed)


def _shown(people: People, seen: Seen, at: Ints, gained: Looks) -> People:
    """Let the people whose tracks are seen have been seen there and then."""
    decided = np.flatnonzero(people.track_person[at] > 0)
    whom = np.searchsorted(people.numbers, people.track_person[at[decided]])
    last, looks = people.last.copy(), people.looks.copy()
    last[whom, seen.camera[decided]] = people.time[0]
    np.add.at(looks, whom, gained[decided])
    return replace(people, last=last, looks=looks)


def _given(
    people: People, seen: Seen, at: Ints, noise: Floats, site: Site, rules: Rules
) -> tuple[People, list[Decision]]:
    """Give tracks to the people whom they show, and to new ones where nobody else is likely."""
    now = float(people.time[0])
    decisions: list[Decision] = []
    while True:
        age = now - people.track_since[at]
        rows = np.flatnonzero((people.track_person[at] == 0) & (age >= rules.settle_s))
        if not len(rows):
            return people, decisions
        tracks = at[rows]
        ready = people.track_looks[tracks].any(axis=1) | (age[rows] >= rules.patience_s)
        found = case(people, seen, rows, tracks, ready, noise, site, rules)
        chosen, whom = linear_sum_assignment(-found.score)
        sure = found.score[chosen, whom] > IMPOSSIBLE
        chosen, whom = chosen[sure], whom[sure]
        owner = people.track_person.copy()
        owner[tracks[chosen]] = people.numbers[whom]
        for u, p in zip(chosen.tolist(), whom.tolist(), strict=True):
            decisions.append(
                Decision(
                    Kind.RECOGNISED,
                    now,
                    int(people.numbers[p]),
                    int(seen.camera[rows[u]]),
                    int(seen.track[rows[u]]),
                    by_place=float(found.place[u, p]),
                    by_looks=float(found.looks[u, p]),
                )
            )
        left = np.setdiff1d(np.flatnonzero(ready), chosen)
        # Who is new is seen by other cameras at this step, perhaps: one at a time, when nobody else can be given.
        if len(left) and not len(chosen):
            row = int(rows[left[0]])
            owner[at[row]] = people.next_number
            decisions.append(
                Decision(Kind.APPEARED, now, people.next_number, int(seen.camera[row]), int(seen.track[row]))
            )
            people = _with_new(people, seen, row, noise, site)
        before, people = people.track_person, replace(people, track_person=owner)
        fresh = np.flatnonzero((before[at] == 0) & (owner[at] > 0))
        people = _shown(people, select(seen, fresh), at[fresh], people.track_looks[at[fresh]])
        if not len(left):
            return people, decisions


def _with_new(people: People, seen: Seen, row: int, noise: Floats, site: Site) -> People:
    """One person more, who stands where a row is."""
    placed = bool(np.isfinite(seen.position[row, 0]))
    mean, covariance = np.zeros((1, 4)), np.zeros((1, 4, 4))
    if placed:
        mean, covariance = walking.started(seen.position[row : row + 1], noise[row : row + 1], site.metre)
    return replace(
        people,
        next_number=people.next_number + 1,
        numbers=np.append(people.numbers, people.next_number),
        placed=np.append(people.placed, placed),
        mean=np.concatenate([people.mean, mean]),
        covariance=np.concatenate([people.covariance, covariance]),
        last=np.concatenate([people.last, np.full((1, people.last.shape[1]), -np.inf)]),
        looks=np.concatenate([people.looks, np.zeros((1, people.looks.shape[1]), np.float32)]),
    )


def _placed(people: People, seen: Seen, at: Ints, noise: Floats, site: Site) -> People:
    """Put people where all cameras together say that they are."""
    rows = np.flatnonzero((people.track_person[at] > 0) & np.isfinite(seen.position[:, 0]))
    if not len(rows):
        return people
    number, group = np.unique(people.track_person[at[rows]], return_inverse=True)
    position, spread = walking.fused(np.asarray(group), seen.position[rows], noise[rows], len(number))
    whom = np.searchsorted(people.numbers, number)
    mean, covariance, placed = people.mean.copy(), people.covariance.copy(), people.placed.copy()
    old = placed[whom]
    mean[whom[old]], covariance[whom[old]] = walking.corrected(
        mean[whom[old]], covariance[whom[old]], position[old], spread[old]
    )
    mean[whom[~old]], covariance[whom[~old]] = walking.started(position[~old], spread[~old], site.metre)
    placed[whom] = True
    return replace(people, mean=mean, covariance=covariance, placed=placed)
