"""Tracks that are taken from people whom another camera, that has known them for longer, shows elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kinemesh_detect_track.domain.association.decisions import Decision, Kind
from kinemesh_detect_track.domain.association.evidence import GATE, PRESENT_S
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.association.places import Rules, Site
from kinemesh_detect_track.domain.association.views import Seen
from kinemesh_detect_track.domain.boxes import Floats, Ints


def split(
    people: People, seen: Seen, at: Ints, noise: Floats, site: Site, rules: Rules
) -> tuple[People, list[Decision]]:
    """Take away what has strayed for long enough.

    :param at: int64 [N], position of each row's track.
    :param noise: float64 [N, 2, 2], covariance of each row's position, calibration included.
    """
    now = float(people.time[0])
    rows = np.flatnonzero((people.track_person[at] > 0) & np.isfinite(seen.position[:, 0]))
    anchor = _oldest(people)[at[rows]]
    miss = seen.position[rows] - people.track_place[anchor]
    # Cameras do not show people at the same moments: meanwhile these may have walked.
    walked = (rules.fastest * site.metre * (now - people.track_seen[anchor])) ** 2
    spread = noise[rows] + people.track_spread[anchor] + np.eye(2) * walked[:, None, None]
    away = np.einsum("ni,nij,nj->n", miss, np.linalg.inv(spread), miss) > GATE
    since = people.track_stray[at[rows]]
    stray = people.track_stray.copy()
    stray[at[rows]] = np.where(away, np.where(np.isnan(since), now, since), np.nan)
    gone = np.unique(at[rows][now - stray[at[rows]] > rules.stray_s])
    person, begun = people.track_person.copy(), people.track_since.copy()
    looks, last = people.looks.copy(), people.last.copy()
    decisions = []
    for track in gone.tolist():
        whom = int(np.searchsorted(people.numbers, person[track]))
        camera = int(people.track_camera[track])
        decisions.append(Decision(Kind.SPLIT, now, int(person[track]), camera, int(people.track_id[track])))
        looks[whom] -= people.track_looks[track]
        last[whom, camera] = -np.inf
    person[gone], stray[gone], begun[gone] = 0, np.nan, now
    people = replace(people, track_person=person, track_stray=stray, track_since=begun, looks=looks, last=last)
    return people, decisions


def _oldest(people: People) -> Ints:
    """Of each track, the one that has shown its person for longest, of those seen a moment ago: int64 [T]; itself if
    there is none."""
    own = np.arange(len(people.track_id))
    recent = (people.time[0] - people.track_seen <= PRESENT_S) & (people.track_person > 0)
    able = np.flatnonzero(recent & np.isfinite(people.track_place[:, 0]))
    order = able[np.lexsort((people.track_camera[able], people.track_since[able], people.track_person[able]))]
    whom, first = np.unique(people.track_person[order], return_index=True)
    if not len(whom):
        return own
    found = np.minimum(np.searchsorted(whom, people.track_person), len(whom) - 1)
    return np.where(whom[found] == people.track_person, order[first[found]], own)
