"""People who turn out to be one: at one place for a while, each seen by cameras that do not see the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinemesh_detect_track.domain.association import appearance
from kinemesh_detect_track.domain.association.decisions import Decision, Kind
from kinemesh_detect_track.domain.association.evidence import GATE, PRESENT_S
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.association.places import Rules, Site
from kinemesh_detect_track.domain.looks import cosines


def merged(people: People, site: Site, rules: Rules) -> tuple[People, list[Decision]]:
    """Make one of two people who have been at one place for a while, each seen by cameras that do not see the other."""
    now = float(people.time[0])
    here = np.flatnonzero(people.placed & (now - people.last.max(axis=1, initial=-np.inf) <= PRESENT_S))
    i, j = (here[side] for side in np.triu_indices(len(here), 1))
    together = (people.last[i] > now - rules.join_s - 1) & (people.last[j] > now - rules.join_s - 1)
    miss = people.mean[i, :2] - people.mean[j, :2]
    spread = people.covariance[i, :2, :2] + people.covariance[j, :2, :2] + np.eye(2) * (rules.bias_m * site.metre) ** 2
    squared = np.einsum("ni,nij,nj->n", miss, np.linalg.inv(spread), miss)
    looks = appearance.mean_looks(people.looks)
    evidence = appearance.evidence(people.cosines, cosines(looks[i], looks[j]))
    close = ~together.any(axis=1) & (squared <= GATE) & (evidence > -1)
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
