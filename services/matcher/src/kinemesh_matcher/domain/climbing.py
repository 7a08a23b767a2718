"""What a climber does on the wall: leaves the ground, rests limbs on holds, moves, pauses.

Signals are those of :mod:`kinemesh_matcher.domain.motion`; "size" is the body's size, about 0.43 m of an adult.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats
from kinemesh_matcher.domain.local_fit import local_fit
from kinemesh_matcher.domain.motion import RATE_HZ, Motion, calmed, resting, runs, speed_of

PLACE: Final = 0.3
"""Places that are nearer to one another are one: in body sizes, about 13 cm, the width of a hand and a half."""
_AWAY: Final = 0.5
_ONSET: Final = 0.15
_FOR_GOOD_S: Final = 2.0
_LANDED_S: Final = 1.0
_INITIAL_S: Final = 1.0
_LIMB_RESTS: Final = (0.3, 0.6)
"""Body sizes per second. A limb at rest trembles with less than 0.1, and one that reaches makes more than 2."""
_BODY_RESTS: Final = (0.15, 0.3)
_SHORTEST_REST_S: Final = 0.2
_SHORTEST_PAUSE_S: Final = 1.0
_REGRIP_S: Final = 1.0
_GROUND: Final = 0.4
_STEP_S: Final = 0.2
_SMOOTH_S: Final = 0.6


@dataclass(frozen=True, slots=True)
class Climb:
    """When somebody is on the wall, in seconds from the recording's first frame.

    :ivar start_sec: when they leave the ground; the recording's beginning if that is not seen.
    :ivar stop_sec: when they are back on it; the recording's end if that is not seen.
    :ivar leaves_ground: whether leaving the ground is seen.
    :ivar ground: where feet stand before, in heights from the reference's upper edge; NaN if not seen.
    """

    start_sec: float
    stop_sec: float
    leaves_ground: bool
    ground: float


@dataclass(frozen=True, slots=True)
class Rest:
    """A limb rests somewhere.

    :ivar limb: position in :data:`kinemesh_matcher.domain.motion.LIMBS`.
    :ivar start_sec: when it comes to rest.
    :ivar stop_sec: when it leaves.
    :ivar x: in heights of the reference.
    :ivar y: in heights of the reference.
    :ivar on_ground: a foot on the ground.
    """

    limb: int
    start_sec: float
    stop_sec: float
    x: float
    y: float
    on_ground: bool


@dataclass(frozen=True, slots=True)
class Move:
    """A limb goes from where it rested to another place; both are positions in the list of rests."""

    origin: int
    target: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """As ``kinemesh.route.v1.ClimbMetrics``.

    :ivar time_on_route_sec: from leaving the ground to the end of the last move; to the end of the climb if there was
        no move. If leaving the ground is not seen, the recording begins on the wall, and time with it.
    :ivar moves: how often a hand or foot comes to rest at a place on the wall farther than :data:`PLACE` from where it
        rested last. A limb's first rest is no move, and stepping back to the ground is none.
    :ivar pauses: how often, in that time, the centre of mass rests for more than a second: its speed falls below 0.15
        body sizes per second and does not rise above 0.3.
    :ivar pause_sec: seconds in pauses.
    :ivar path_length: of the way of the centre of mass in that time, in heights of the reference along both axes,
        measured every 0.2 s after smoothing, so that trembling adds nothing. Where it is not seen, straight.
    :ivar straightness: straight distance from the way's beginning to its end by its length, 0 to 1; 0 without a way.
    :ivar holds_touched: how many holds a limb rested on for 0.2 s and longer during the climb.
    """

    time_on_route_sec: float
    moves: int
    pauses: int
    pause_sec: float
    path_length: float
    straightness: float
    holds_touched: int


def climb_of(motion: Motion) -> Climb:
    """When somebody leaves the ground for good, and when they are back.

    The initial place is the median of the centre of mass over its first second. They leave it when the centre rises by
    more than half a body size for at least 2 s, or until the recording ends; on a route that does not rise, when it is
    as far away in any direction. The start is the last moment before at which the centre had risen by at most 0.15: so
    neither trembling nor a try that ends on the ground counts. They are back when the centre is as low again for a
    second.
    """
    whole = Climb(motion.start_sec, motion.time_of(max(len(motion.centre) - 1, 0)), False, np.nan)
    centre = calmed(motion.centre, 0.15)
    seen = np.flatnonzero(np.isfinite(centre).all(axis=1))
    if not len(seen):
        return whole
    initial = np.median(centre[seen[seen < seen[0] + _INITIAL_S * RATE_HZ]], axis=0)
    last = np.maximum.accumulate(np.where(np.isfinite(centre).all(axis=1), np.arange(len(centre)), seen[0]))
    offset = (centre[last] - initial) / motion.size  # what is not seen stays where it was
    rise = -offset[:, 1]
    for measure in (rise, np.linalg.norm(offset, axis=1)):
        first = _lasting(measure > _AWAY, _FOR_GOOD_S)
        if first is None:
            continue
        still = np.flatnonzero(measure[:first] <= _ONSET)
        start = int(still[-1]) if len(still) else 0
        feet = motion.limbs[:, 2:, 1][max(0, start - int(_INITIAL_S * RATE_HZ)) : start + 1]
        ground = float(np.nanmax(np.nanmedian(feet, axis=0))) if np.isfinite(feet).all(axis=1).any() else np.nan
        back = _lasting(rise[first:] <= _AWAY, _LANDED_S) if measure is rise else None
        stop = whole.stop_sec if back is None else motion.time_of(first + back)
        return Climb(motion.time_of(start), stop, True, ground if measure is rise else np.nan)
    return whole


def _lasting(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], seconds: float) -> int | None:
    """Where the first run begins that lasts so long, or a fifth of it up to the end."""
    found = runs(flags)
    long = found[:, 1] - found[:, 0] >= seconds * RATE_HZ
    long |= (found[:, 1] == len(flags)) & (found[:, 1] - found[:, 0] >= 0.2 * seconds * RATE_HZ)
    return int(found[long][0, 0]) if long.any() else None


def rests_of(motion: Motion, climb: Climb) -> list[Rest]:
    """Where hands and feet rest, limb by limb in order of time, also before and after the climb.

    A limb rests from when its speed falls below 0.3 body sizes per second until it rises above 0.6, for 0.2 s at least.
    Rests at one place within a second of each other are one: a hold is gripped anew, not another one.
    """
    found: list[Rest] = []
    for limb in range(motion.limbs.shape[1]):
        course = motion.limbs[:, limb]
        rest = resting(speed_of(calmed(course, 0.1)) / motion.size, *_LIMB_RESTS)
        places: list[tuple[int, int, Floats]] = []
        for first, stop in runs(rest).tolist():
            if stop - first < _SHORTEST_REST_S * RATE_HZ:
                continue
            place = np.nanmedian(course[first:stop], axis=0)
            if places:
                begin, end, before = places[-1]
                near = np.linalg.norm(place - before) <= PLACE * motion.size
                if near and first - end <= _REGRIP_S * RATE_HZ:
                    share = (end - begin) / (end - begin + stop - first)
                    places[-1] = (begin, stop, before * share + place * (1 - share))
                    continue
            places.append((first, stop, place))
        for first, stop, place in places:
            ground = limb >= 2 and bool(place[1] > climb.ground - _GROUND * motion.size)
            times = motion.time_of(first), motion.time_of(stop)
            found.append(Rest(limb, *times, float(place[0]), float(place[1]), ground))
    return found


def moves_of(rests: Sequence[Rest], climb: Climb, size: float) -> list[Move]:
    """The moves of a climb, in order of the time at which they end.

    :param size: the body's size in heights of the reference.
    """
    found = []
    for row in range(1, len(rests)):
        before, after = rests[row - 1], rests[row]
        if before.limb != after.limb or after.on_ground or not climb.start_sec < after.start_sec <= climb.stop_sec:
            continue
        if np.hypot(after.x - before.x, after.y - before.y) > PLACE * size:
            found.append(Move(row - 1, row))
    return sorted(found, key=lambda move: (rests[move.target].start_sec, move.target))


def touches_of(rests: Sequence[Rest], climb: Climb) -> list[int]:
    """Positions of the rests that are on holds: on the wall, for 0.2 s and longer during the climb."""
    return [
        row
        for row, rest in enumerate(rests)
        if not rest.on_ground
        and min(rest.stop_sec, climb.stop_sec) - max(rest.start_sec, climb.start_sec) >= _SHORTEST_REST_S - 1e-9
    ]


def end_of_route(rests: Sequence[Rest], moves: Sequence[Move], climb: Climb) -> float:
    """When the last move ends; when the climb does if there is none."""
    return rests[moves[-1].target].start_sec if moves else climb.stop_sec


def pauses_of(motion: Motion, start_sec: float, stop_sec: float) -> list[tuple[float, float]]:
    """From when to when the centre of mass rests for more than a second, within a span of time."""
    rest = resting(speed_of(calmed(motion.centre, 0.2)) / motion.size, *_BODY_RESTS)
    first, stop = motion.sample_at(start_sec), motion.sample_at(stop_sec)
    found = runs(rest[first:stop]) + first
    return [
        (motion.time_of(begin), motion.time_of(end))
        for begin, end in found.tolist()
        if end - begin > _SHORTEST_PAUSE_S * RATE_HZ
    ]


def way_of(motion: Motion, start_sec: float, stop_sec: float) -> tuple[float, float]:
    """Length of the way of the centre of mass in heights of the reference, and its straightness."""
    seen = np.flatnonzero(np.isfinite(motion.centre).all(axis=1))
    inside = seen[(seen >= motion.sample_at(start_sec)) & (seen <= motion.sample_at(stop_sec))]
    if len(inside) < 2:
        return 0.0, 0.0
    # A fit, as a mean would pull in both ends.
    centre = motion.centre[seen]
    course, _ = local_fit(seen / RATE_HZ, centre, np.ones(len(seen)), inside / RATE_HZ, _SMOOTH_S)
    rows = np.unique(np.append(np.arange(0, len(course), round(_STEP_S * RATE_HZ)), len(course) - 1))
    length = float(np.linalg.norm(np.diff(course[rows], axis=0), axis=1).sum())
    if length <= 1e-9:
        return 0.0, 0.0
    return length, min(1.0, float(np.linalg.norm(course[-1] - course[0])) / length)


def metrics_of(motion: Motion, climb: Climb, rests: Sequence[Rest], moves: Sequence[Move], holds: int) -> Metrics:
    """All figures of a climb.

    :param holds: number of holds that were touched.
    """
    stop = end_of_route(rests, moves, climb)
    pauses = pauses_of(motion, climb.start_sec, stop)
    length, straightness = way_of(motion, climb.start_sec, stop)
    return Metrics(
        time_on_route_sec=stop - climb.start_sec,
        moves=len(moves),
        pauses=len(pauses),
        pause_sec=sum(end - begin for begin, end in pauses),
        path_length=length,
        straightness=straightness,
        holds_touched=holds,
    )
