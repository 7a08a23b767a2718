"""What speaks for a track's being a person: the place on the map, the time that the way takes, and looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh_detect_track.domain.association import appearance
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.association.places import Rules, Site
from kinemesh_detect_track.domain.association.views import Seen
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.looks import alike

IMPOSSIBLE: Final = -1e6
GATE: Final = 9.21
"""Squared Mahalanobis distance within which 99 % of what belongs together lies, in two dimensions."""
PRESENT_S: Final = 0.5
"""Cameras of different rates miss people now and then, and never show them at quite the same moments."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What speaks for each of U tracks being each of P people.

    :ivar score: float64 [U, P], all in all; ``IMPOSSIBLE`` where it cannot be, or is not known well enough yet.
    :ivar place: float64 [U, P], of it, what places say.
    :ivar looks: float64 [U, P], of it, what looks say.
    """

    score: Floats
    place: Floats
    looks: Floats


def case(
    people: People,
    seen: Seen,
    rows: Ints,
    tracks: Ints,
    ready: NDArray[np.bool_],
    noise: Floats,
    site: Site,
    rules: Rules,
) -> Case:
    """What speaks for the tracks of ``rows``, at the positions ``tracks`` of the state.

    :param ready: bool [U], whether a track has been looked at for long enough to be somebody who is not at its place.
    :param noise: float64 [N, 2, 2], covariance of the position of each row of ``seen``, calibration included.
    """
    now = float(people.time[0])
    camera = seen.camera[rows]
    latest = people.last.max(axis=1, initial=-np.inf)
    gap = now - latest
    free = people.track_since[tracks][:, None] >= people.last[:, camera].T
    known = people.placed[None] & np.isfinite(seen.position[rows, 0])[:, None]
    miss = np.where(known[..., None], seen.position[rows][:, None] - people.mean[None, :, :2], 0.0)
    spread = np.where(known[..., None, None], people.covariance[None, :, :2, :2] + noise[rows][:, None], np.eye(2))
    inverse = np.linalg.inv(spread)
    squared = np.einsum("upi,upij,upj->up", miss, inverse, miss)
    # Nobody leaves the map: where one could be anywhere, a place says nothing for or against it.
    narrow = np.maximum(np.log(site.area) - np.log(np.linalg.det(2 * np.pi * spread)) / 2, 0.0)
    place = narrow - squared / 2
    # What one camera had wrong of late must not hide that another one shows the person right here.
    beside = _beside(people, seen, rows, noise, site, rules)
    closer = known & (beside < squared)
    squared = np.where(closer, beside, squared)
    place = np.where(closer, np.maximum(place, narrow - beside / 2), place)
    near = known & (gap <= rules.near_s)[None]
    reach = rules.fastest * site.metre * gap[None] + 3 * np.sqrt(np.trace(noise[rows], axis1=1, axis2=2))[:, None]
    possible = free & np.where(near, squared <= GATE, True)
    possible &= ~known | (np.linalg.norm(miss, axis=2) <= reach)
    possible &= near | _in_time(people, camera, people.track_since[tracks], known, site)
    possible &= near | ready[:, None]
    looks = appearance.evidence(
        people.cosines, alike(appearance.mean_looks(people.track_looks[tracks]), appearance.mean_looks(people.looks))
    )
    # Without a place, whoever was there before is as likely as everybody else who was, and as somebody new.
    among = -np.log1p((possible & ~known).sum(axis=1, keepdims=True))
    score = looks + np.where(known, place, among)
    possible &= score > np.where(near, 0.0, rules.least_evidence)
    return Case(np.where(possible, score, IMPOSSIBLE), np.where(known, place, 0.0), looks)


def _beside(people: People, seen: Seen, rows: Ints, noise: Floats, site: Site, rules: Rules) -> Floats:
    """Squared Mahalanobis distance from where any other camera shows each person at the moment: float64 [U, P]; inf if
    none does."""
    ago = people.time[0] - people.track_seen
    there = np.flatnonzero((people.track_person > 0) & (ago <= PRESENT_S) & np.isfinite(people.track_place[:, 0]))
    miss = seen.position[rows][:, None] - people.track_place[there][None]
    walked = (rules.fastest * site.metre * ago[there]) ** 2
    spread = noise[rows][:, None] + people.track_spread[there][None] + np.eye(2) * walked[None, :, None, None]
    usable = np.isfinite(miss[..., 0]) & (seen.camera[rows][:, None] != people.track_camera[there][None])
    miss = np.where(usable[..., None], miss, 0.0)
    inverse = np.linalg.inv(np.where(usable[..., None, None], spread, np.eye(2)))
    squared = np.where(usable, np.einsum("uti,utij,utj->ut", miss, inverse, miss), np.inf)
    result = np.full((len(people.numbers), len(rows)), np.inf)
    np.minimum.at(result, np.searchsorted(people.numbers, people.track_person[there]), squared.T)
    return result.T


def _in_time(people: People, camera: Ints, since: Floats, known: NDArray[np.bool_], site: Site) -> NDArray[np.bool_]:
    """Whether people can have come from where they were to where tracks began: bool [U, P].

    Where places on the map are known, a way that the site does not name is judged by them.
    """
    if not people.last.size:
        return np.ones(known.shape, np.bool_)
    wait = np.maximum(since[:, None, None] - people.last[None], 0.0)
    least = site.least_travel[:, camera].T[:, None]
    least = np.where(np.isfinite(least) | ~known[..., None], least, 0.0)
    latest = people.last == people.last.max(axis=1, keepdims=True)
    longest = np.where(latest[None], site.longest_travel[:, camera].T[:, None], -np.inf).max(axis=2)
    new = np.isneginf(people.last).all(axis=1)
    result: NDArray[np.bool_] = (wait >= least).all(axis=2) & (new | (wait.min(axis=2) <= longest))
    return result
