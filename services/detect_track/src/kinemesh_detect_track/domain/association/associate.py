"""One identity for each person whom several cameras see, step by step.

A track belongs to one person, and a person has at most one track in a camera at a time. A track that has lasted a
moment is given to the person for whom most speaks: the place on the map, where views overlap or the person was seen a
moment ago; the time that the way takes, where they do not; and looks, as far as these tell. What speaks for a person
is the log of a likelihood ratio against somebody new (Blackman and Popoli, *Design and Analysis of Modern Tracking
Systems*, 1999, chapter 6), and all tracks of a step are given at once, so that the sum is largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinemesh_detect_track.domain.association import appearance, walking
from kinemesh_detect_track.domain.association.ground import USUAL_RATIO
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.looks import Looks, alike, cosines

_IMPOSSIBLE: Final = -1e6
_GATE: Final = 9.21
"""Squared Mahalanobis distance within which 99 % of what belongs together lies, in two dimensions."""
_RATIO_KEPT: Final = 0.95
_TRACK_KEPT_S: Final = 3.0
"""Longer than any tracker keeps an object that it does not see: a track unseen for so long does not come back."""


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """What is known of where the cameras are.

    :ivar metre: length of a metre in the map's unit.
    :ivar area: of the map in its unit squared, for how likely somebody is at a place by chance.
    :ivar least_travel: float64 [C, C], least seconds from one camera to another; inf where there is no way.
    :ivar longest_travel: float64 [C, C].
    """

    metre: float
    area: float
    least_travel: Floats
    longest_travel: Floats


@dataclass(frozen=True, slots=True)
class Rules:
    """How careful to be.

    :ivar settle_s: how long a track must last before it is given to anybody.
    :ivar patience_s: how long to wait for looks before somebody is taken for new.
    :ivar bias_m: standard deviation of what calibrations are off by.
    :ivar near_s: how long after being seen a person's place says who it is by itself.
    :ivar fastest: speed of a person in metres per second.
    :ivar stray_s: after how long of being elsewhere a track is taken from its person.
    :ivar join_s: after how long of being at one place two people are one.
    :ivar least_evidence: for a person who has no track at the moment and is not near.
    """

    settle_s: float = 0.25
    patience_s: float = 1.0
    bias_m: float = 0.25
    near_s: float = 1.0
    fastest: float = 3.0
    stray_s: float = 1.0
    join_s: float = 1.5
    least_evidence: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Everybody whom the cameras show at one step.

    :ivar camera: int64 [N], position among the site's cameras.
    :ivar track: int64 [N], id of the track within the camera; a camera shows each at most once.
    :ivar position: float64 [N, 2] on the map; NaN if the camera has no homography.
    :ivar covariance: float64 [N, 2, 2]; anything where ``position`` is NaN.
    :ivar look: float32 [N, E], embedding; zeros if none was made.
    :ivar worth: float32 [N], of the look, 0 to 1.
    :ivar ratio: float64 [N], height by width of the box; NaN where not the whole person was seen.
    """

    camera: Ints
    track: Ints
    position: Floats
    covariance: Floats
    look: Looks
    worth: NDArray[np.float32]
    ratio: Floats


class Kind(Enum):
    """What was decided."""

    APPEARED = "appeared"
    RECOGNISED = "recognised"
    SPLIT = "split"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class Decision:
    """Why somebody has, or no longer has, an identity.

    :ivar person: number of the person; of a merger the one who stays.
    :ivar camera: position of the camera; -1 for a merger.
    :ivar other: number of the person who was merged; 0 otherwise.
    :ivar by_place: what the place on the map said, as the log of a likelihood ratio.
    :ivar by_looks: what looks said.
    """

    kind: Kind
    time_sec: float
    person: int
    camera: int = -1
    track: int = 0
    other: int = 0
    by_place: float = 0.0
    by_looks: float = 0.0


def step(
    people: People, seen: Seen, time_sec: float, site: Site, rules: Rules
) -> tuple[People, Ints, Sequence[Decision]]:
    """Take one step over all cameras.

    :param time_sec: on the environment's clock; later than the step before.
    :return: the state after it; int64 [N], the number of each row's person, 0 where it is not decided yet; and what was
        decided.
    """
    passed = 0.0 if np.isnan(people.time[0]) else time_sec - float(people.time[0])
    mean, covariance = walking.predicted(people.mean, people.covariance, passed, site.metre)
    people = replace(people, time=np.array([time_sec]), mean=mean, covariance=covariance)
    people, at = _followed(people, seen, time_sec)
    noise = seen.covariance + np.eye(2) * (rules.bias_m * site.metre) ** 2
    people, decisions = _split(people, seen, at, noise, passed, rules)
    people, given = _given(people, seen, at, noise, site, rules)
    people = _placed(people, seen, at, noise, site)
    people, merged = _merged(people, site, rules)
    return people, people.track_person[at], [*decisions, *given, *merged]


def _followed(people: People, seen: Seen, now: float) -> tuple[People, Ints]:
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
    people = replace(
        people,
        track_camera=camera[first],
        track_id=track[first],
        track_person=person,
        track_since=extended(people.track_since, now),
        track_seen=last_seen,
        track_stray=extended(people.track_stray, 0),
        track_ratio=ratio,
        track_looks=looks,
        cosines=cosine,
    )
    return _shown(people, seen, at, gained), at


def _mixed(before: Floats, now: Floats) -> Floats:
    """Running means; where either is not known, the other."""
    mixed = np.where(np.isnan(before), now, _RATIO_KEPT * before + (1 - _RATIO_KEPT) * now)
    return np.where(np.isnan(now), before, mixed)


def ratios(people: People, camera: Ints, track: Ints) -> Floats:
    """Height by width of the people on tracks [N], as far as they have been seen whole, or that of most people: [N]."""
    found = np.full(len(camera), np.nan)
    if len(people.track_id) and len(camera):
        match = (people.track_camera[None] == camera[:, None]) & (people.track_id[None] == track[:, None])
        found = np.where(match.any(axis=1), people.track_ratio[match.argmax(axis=1)], np.nan)
    return np.where(np.isnan(found), USUAL_RATIO, found)


def _shown(people: People, seen: Seen, at: Ints, gained: Looks) -> People:
    """Let the people whose tracks are seen have been seen there and then."""
    decided = np.flatnonzero(people.track_person[at] > 0)
    whom = np.searchsorted(people.numbers, people.track_person[at[decided]])
    last, looks = people.last.copy(), people.looks.copy()
    last[whom, seen.camera[decided]] = people.time[0]
    np.add.at(looks, whom, gained[decided])
    return replace(people, last=last, looks=looks)


def _split(
    people: People, seen: Seen, at: Ints, noise: Floats, passed: float, rules: Rules
) -> tuple[People, list[Decision]]:
    """Take tracks from people whom another camera, that has known them for longer, shows elsewhere."""
    rows = np.flatnonzero((people.track_person[at] > 0) & np.isfinite(seen.position[:, 0]))
    order = rows[np.lexsort((seen.camera[rows], people.track_since[at[rows]], people.track_person[at[rows]]))]
    _, first, group = np.unique(people.track_person[at[order]], return_index=True, return_inverse=True)
    anchor = order[first][group]
    miss = seen.position[order] - seen.position[anchor]
    away = np.einsum("ni,nij,nj->n", miss, np.linalg.inv(noise[order] + noise[anchor]), miss) > _GATE
    stray = people.track_stray.copy()
    stray[at[order]] = np.where(away, stray[at[order]] + passed, 0.0)
    gone = np.unique(at[order][stray[at[order]] > rules.stray_s])
    if not len(gone):
        return replace(people, track_stray=stray), []
    person, since, looks, last = (
        people.track_person.copy(),
        people.track_since.copy(),
        people.looks.copy(),
        people.last.copy(),
    )
    decisions = []
    for track in gone.tolist():
        whom = int(np.searchsorted(people.numbers, person[track]))
        camera = int(people.track_camera[track])
        decisions.append(
            Decision(Kind.SPLIT, float(people.time[0]), int(person[track]), camera, int(people.track_id[track]))
        )
        looks[whom] -= people.track_looks[track]
        last[whom, camera] = -np.inf
    person[gone], stray[gone], since[gone] = 0, 0.0, people.time[0]
    return (
        replace(people, track_person=person, track_stray=stray, track_since=since, looks=looks, last=last),
        decisions,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """What speaks for each of U tracks being each of P people.

    :ivar score: float64 [U, P], all in all; ``_IMPOSSIBLE`` where it cannot be, or is not known well enough yet.
    :ivar place: float64 [U, P], of it, what places say.
    :ivar looks: float64 [U, P], of it, what looks say.
    """

    score: Floats
    place: Floats
    looks: Floats


def _case(
    people: People,
    seen: Seen,
    rows: Ints,
    tracks: Ints,
    ready: NDArray[np.bool_],
    noise: Floats,
    site: Site,
    rules: Rules,
) -> _Case:
    now = float(people.time[0])
    camera = seen.camera[rows]
    latest = people.last.max(axis=1, initial=-np.inf)
    gap = now - latest
    free = people.track_since[tracks][:, None] > people.last[:, camera].T
    known = people.placed[None] & np.isfinite(seen.position[rows, 0])[:, None]
    miss = np.where(known[..., None], seen.position[rows][:, None] - people.mean[None, :, :2], 0.0)
    spread = np.where(known[..., None, None], people.covariance[None, :, :2, :2] + noise[rows][:, None], np.eye(2))
    inverse = np.linalg.inv(spread)
    squared = np.einsum("upi,upij,upj->up", miss, inverse, miss)
    place = np.log(site.area) - squared / 2 - np.log(np.linalg.det(2 * np.pi * spread)) / 2
    near = known & (gap <= rules.near_s)[None]
    reach = rules.fastest * site.metre * gap[None] + 3 * np.sqrt(np.trace(noise[rows], axis1=1, axis2=2))[:, None]
    possible = free & np.where(near, squared <= _GATE, True)
    possible &= ~known | (np.linalg.norm(miss, axis=2) <= reach)
    seen_before = np.isfinite(latest)
    came_from = people.last.argmax(axis=1) if people.last.shape[1] else np.zeros(len(latest), np.int64)
    least = site.least_travel[came_from][:, camera].T
    longest = site.longest_travel[came_from][:, camera].T
    possible &= known | ~seen_before[None] | ((gap[None] >= least) & (gap[None] <= longest))
    possible &= near | ready[:, None]
    looks = appearance.evidence(
        people.cosines, alike(appearance.mean_looks(people.track_looks[tracks]), appearance.mean_looks(people.looks))
    )
    # Without a place, whoever was there before is as likely as everybody else who was, and as somebody new.
    among = -np.log1p((possible & ~known).sum(axis=1, keepdims=True))
    score = looks + np.where(known, place, among)
    possible &= score > np.where(near, 0.0, rules.least_evidence)
    return _Case(np.where(possible, score, _IMPOSSIBLE), np.where(known, place, 0.0), looks)


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
        embedded = people.track_looks.shape[1] > 0
        ready = people.track_looks[tracks].any(axis=1) | (age[rows] >= rules.patience_s) | (not embedded)
        case = _case(people, seen, rows, tracks, ready, noise, site, rules)
        chosen, whom = linear_sum_assignment(-case.score)
        sure = case.score[chosen, whom] > _IMPOSSIBLE
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
                    by_place=float(case.place[u, p]),
                    by_looks=float(case.looks[u, p]),
                )
            )
        left = np.setdiff1d(np.flatnonzero(ready), chosen)
        if len(left):
            row = int(rows[left[0]])
            owner[at[row]] = people.next_number
            decisions.append(
                Decision(Kind.APPEARED, now, people.next_number, int(seen.camera[row]), int(seen.track[row]))
            )
            people = _with_new(people, seen, row, noise, site)
        before, people = people.track_person, replace(people, track_person=owner)
        fresh = np.flatnonzero((before[at] == 0) & (owner[at] > 0))
        people = _shown(people, _only(seen, fresh), at[fresh], people.track_looks[at[fresh]])
        if not len(left):
            return people, decisions


def _only(seen: Seen, rows: Ints) -> Seen:
    return Seen(
        seen.camera[rows],
        seen.track[rows],
        seen.position[rows],
        seen.covariance[rows],
        seen.look[rows],
        seen.worth[rows],
        seen.ratio[rows],
    )


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


def _merged(people: People, site: Site, rules: Rules) -> tuple[People, list[Decision]]:
    """Make one of two people who have been at one place for a while, each seen by cameras that do not see the other."""
    now = float(people.time[0])
    here = np.flatnonzero(people.placed & (people.last.max(axis=1, initial=-np.inf) == now))
    i, j = (here[side] for side in np.triu_indices(len(here), 1))
    together = (people.last[i] > now - rules.join_s - 1) & (people.last[j] > now - rules.join_s - 1)
    miss = people.mean[i, :2] - people.mean[j, :2]
    spread = people.covariance[i, :2, :2] + people.covariance[j, :2, :2] + np.eye(2) * (rules.bias_m * site.metre) ** 2
    squared = np.einsum("ni,nij,nj->n", miss, np.linalg.inv(spread), miss)
    looks = appearance.mean_looks(people.looks)
    evidence = appearance.evidence(people.cosines, cosines(looks[i], looks[j]))
    close = ~together.any(axis=1) & (squared <= _GATE) & (evidence > -1)
    pair = np.stack([people.numbers[i[close]], people.numbers[j[close]]], axis=1)
    match = (pair[:, None] == people.pair[None]).all(axis=2)
    since = np.full(len(pair), now)
    old = match.any(axis=1)
    since[old] = people.pair_since[match.argmax(axis=1)[old]] if len(people.pair) else now
    people = replace(people, pair=pair, pair_since=since)
    decisions: list[Decision] = []
    gone: set[int] = set()
    for at in np.flatnonzero(now - since >= rules.join_s).tolist():
        stays, goes = (int(number) for number in pair[at])
        if {stays, goes} & gone:
            continue
        gone.add(goes)
        decisions.append(
            Decision(Kind.MERGED, now, stays, other=goes, by_looks=float(evidence[np.flatnonzero(close)[at]]))
        )
        people = _joined(people, stays, goes)
    return people, decisions


def _joined(people: People, stays: int, goes: int) -> People:
    a, b = np.searchsorted(people.numbers, [stays, goes])
    last, looks = people.last.copy(), people.looks.copy()
    last[a] = np.maximum(last[a], last[b])
    looks[a] += looks[b]
    kept = people.numbers != goes
    left = ~(people.pair == goes).any(axis=1)
    return replace(
        people,
        numbers=people.numbers[kept],
        placed=people.placed[kept],
        mean=people.mean[kept],
        covariance=people.covariance[kept],
        last=last[kept],
        looks=looks[kept],
        track_person=np.where(people.track_person == goes, stays, people.track_person),
        pair=people.pair[left],
        pair_since=people.pair_since[left],
    )
