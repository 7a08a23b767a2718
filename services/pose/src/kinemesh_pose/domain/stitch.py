"""One identity per person through the whole clip, however the clip was cut into segments.

Segments are estimated independently, so their track ids mean nothing outside them. Stitching walks the
frames of all segments in order and keeps, per person, where the body was, how it moved and how big it
is. What a frame's rows become depends on that state and on the rows alone; a segment's own track ids are
only a hint (a bonus in the cost), so cutting the clip elsewhere changes nothing unless the poses do.

1. *Overlap.* Warm-up rows of a segment show frames that the previous segment has shown too. A local track
   that lies on a known person in those frames is bound to that person.
2. *Each further frame.* Rows are assigned to persons at least total cost (Hungarian method): distance from
   where the person may have got to, difference in pose (which counts less the longer ago it was seen),
   in size and in proportions, minus a bonus if the local track is bound to the person.
3. *Duplicates.* Of two rows on one body the one that fits its person worse is dropped (person id 0). Two
   tracks of known persons must lie on each other for a while first: people who cross do so for a moment.
   A newcomer is a duplicate already if its centre lies on a known person's.
4. A row that fits nobody is a new person; a person not seen for ``max_gap_s`` is forgotten, sooner if it was
   hardly ever seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinemesh.bodies import skeleton
from kinemesh.bodies.skeleton import Bools, Floats, Ints
from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh_pose.domain.snapshot import HISTORY, Snapshot, empty_snapshot

DUPLICATE = 0
"""Person id of a row that shows a body which another row of the frame shows already."""


@dataclass(frozen=True, slots=True)
class SegmentRows:
    """The poses of one segment, one row per person and frame, ordered by frame. N rows."""

    frame: Ints
    """[N] frame index in the clip."""
    time_s: Floats
    """[N] presentation time."""
    local_id: Ints
    """[N] track id, meaningful only within the segment."""
    landmarks: NDArray[np.float32]
    """[N, 33, 5], see :mod:`~kinemesh.bodies.skeleton`."""
    overlap: Bools
    """[N] true for warm-up frames, which belong to the segment before."""


@dataclass(frozen=True, slots=True)
class StitchOptions:
    """Limits, in body sizes (about a quarter of a person's height) and seconds."""

    max_gap_s: float = 3.0
    """A person unseen for longer is forgotten …"""
    gap_per_s_seen: float = 2.0
    """… or, if known for a short time only, unseen for longer than 0.2 s plus this many times as long."""
    overlap_gate: float = 0.5
    """Largest mean landmark distance between two estimates of one body in one frame."""
    duplicate: float = 0.15
    """Mean landmark distance below which two rows of one frame show the same body."""
    duplicate_frames: int = 8
    """For how many frames two known persons must be that close to be one body (at most HISTORY)."""
    shadow: float = 0.3
    """A newcomer whose centre is this near to a named person's, and whose landmarks are on average within thrice
    as much of that person's, is a poor second estimate of that body."""
    reach: float = 0.75
    """How far from its expected way a person may reappear at once …"""
    reach_per_s: float = 8.0
    """… how much farther per second unseen (people turn, jump and fall) …"""
    reach_most: float = 5.0
    """… and at most."""
    bound_reach: float = 1.0
    """The same for a local track that is bound to the person: larger, because the track has followed it."""
    bound_reach_per_s: float = 10.0
    size_ratio: float = 3.0
    """Largest change of size: a crouch or a poor estimate may halve it within a frame."""
    bound_bonus: float = 0.5
    """How much of the cost (1 = at the limit of reach) a bound local track is forgiven."""


_NEW_PERSON = 1.2  # cost of leaving a row and a person unmatched
_POSE_MEMORY_S = 0.3  # how long a pose predicts the next, and a local track is trusted to be on its person
_VELOCITY_S, _BUILD_S = 0.2, 1.0  # time constants of the averages of velocity, and of size and proportions
_MOMENT_S = 0.3  # unseen for longer is lost
_RECENT = 5  # overlap frames that decide: warm-up settles towards its end


@dataclass(frozen=True, slots=True)
class _Bodies:
    """Rows with what is measured on them. M rows."""

    points: NDArray[np.float32]  # [M, 33, 3] x, y in picture heights, visibility
    centre: Floats  # [M, 2]
    size: Floats  # [M]
    proportions: Floats  # [M, PROPORTIONS]

    def take(self, rows: slice | Ints) -> _Bodies:
        return _Bodies(self.points[rows], self.centre[rows], self.size[rows], self.proportions[rows])


def stitch(
    rows: SegmentRows, snapshot: Snapshot | None, aspect: float, options: StitchOptions | None = None
) -> tuple[Ints, Snapshot]:
    """Name the persons of the next segment.

    :param rows: the segment's poses; warm-up rows flagged as overlap.
    :param snapshot: what the segment before returned; None for the first.
    :param aspect: picture width / height.
    :returns: int64 person ids of the rows that are not overlap, in their order: 1, 2, 3 … by first
        appearance in the clip (from left to right within a frame), 0 for a duplicate; and the snapshot for
        the next segment.
    :raises InvalidArgument: ROWS_INVALID if the arrays disagree, frames are out of order, or a track has
        two rows in a frame.
    :raises FailedPrecondition: SEGMENT_OUT_OF_ORDER if a row's frame was stitched before.
    """
    options = options or StitchOptions()
    state = snapshot or empty_snapshot()
    _check(rows, state, aspect)
    bodies = _measure(rows.landmarks, aspect)
    bound = _bind_overlap(rows, bodies, state, options)

    fresh = np.flatnonzero(~rows.overlap)
    person = np.zeros(len(fresh), dtype=np.int64)
    borders = np.flatnonzero(np.diff(rows.frame[fresh])) + 1
    for members in np.split(np.arange(len(fresh)), borders) if len(fresh) else ():
        first, last = fresh[members[0]], fresh[members[-1]] + 1
        frame, time_s = int(rows.frame[first]), float(rows.time_s[first])
        local = rows.local_id[first:last]
        person[members], state = _step(state, frame, time_s, bodies.take(slice(first, last)), local, bound, options)
    return person, state


def _check(rows: SegmentRows, state: Snapshot, aspect: float) -> None:
    count = len(rows.frame)
    lengths = {len(rows.time_s), len(rows.local_id), len(rows.landmarks), len(rows.overlap)}
    if lengths != {count} or rows.landmarks.shape[1:] != (skeleton.COUNT, 5) or not aspect > 0:
        raise InvalidArgument("ROWS_INVALID", "The arrays of a segment's poses do not fit together.", rows=count)
    if not (np.isfinite(rows.landmarks).all() and np.isfinite(rows.time_s).all()):
        raise InvalidArgument("ROWS_INVALID", "Landmarks and times must be finite numbers.", rows=count)
    step = np.diff(rows.frame)
    if (step < 0).any() or (np.diff(rows.time_s)[step > 0] <= 0).any() or (np.diff(rows.overlap.astype(int)) > 0).any():
        raise InvalidArgument("ROWS_INVALID", "Rows must be ordered by frame and time, overlap first.", rows=count)
    if len(np.unique(np.stack([rows.frame, rows.local_id], axis=1), axis=0)) != count:
        raise InvalidArgument("ROWS_INVALID", "A track has two rows in one frame.", rows=count)
    fresh = rows.frame[~rows.overlap]
    if len(fresh) and fresh[0] <= state.last_frame:
        raise FailedPrecondition(
            "SEGMENT_OUT_OF_ORDER", "These frames were stitched before.", frame=fresh[0], last_frame=state.last_frame
        )


def _measure(landmarks: NDArray[np.float32], aspect: float) -> _Bodies:
    plane = skeleton.image_plane(landmarks, aspect)
    size = np.maximum(skeleton.body_size(plane), 1e-6)
    space = np.concatenate([plane, landmarks[..., 2:3] * np.float64(aspect)], axis=-1)
    left, right = np.array(_DESCRIPTOR_LEFT), np.array(_DESCRIPTOR_RIGHT)
    lengths = [
        np.linalg.norm(space[:, bones[:, 0]] - space[:, bones[:, 1]], axis=-1) / size[:, None]
        for bones in (left, right)
    ]
    proportions = np.log(np.maximum((lengths[0] + lengths[1]) / 2, 1e-3))
    points = np.concatenate([plane, landmarks[..., 3:4]], axis=-1).astype(np.float32)
    # From the float32 points, so that a remembered person and a row are measured alike.
    return _Bodies(points, skeleton.body_centre(points[..., :2].astype(np.float64)), size, proportions)


_DESCRIPTOR_LEFT = ((11, 12), (11, 23), (11, 13), (13, 15), (23, 25), (25, 27))
_DESCRIPTOR_RIGHT = ((23, 24), (12, 24), (12, 14), (14, 16), (24, 26), (26, 28))


def _bind_overlap(rows: SegmentRows, bodies: _Bodies, state: Snapshot, options: StitchOptions) -> dict[int, int]:
    """Local id → person id, from frames that both segments show."""
    warm = np.flatnonzero(rows.overlap)
    row, person, slot = np.nonzero(rows.frame[warm, None, None] == state.frames[None])
    if not len(row):
        return {}
    row = warm[row]
    distance = _landmark_distance(bodies.points[row], state.landmarks[person, slot], bodies.size[row])
    local, local_of = np.unique(rows.local_id[row], return_inverse=True)
    cost = np.full((len(local), len(state.ids)), np.inf)
    for track, known in sorted(set(zip(local_of.tolist(), person.tolist(), strict=True))):
        together = (local_of == track) & (person == known)  # rows are in frame order
        cost[track, known] = distance[together][-_RECENT:].mean()
    pairs = _assign(np.where(cost <= options.overlap_gate, cost, np.inf), options.overlap_gate)
    return {int(local[track]): int(state.ids[known]) for track, known in pairs}


def _step(
    state: Snapshot,
    frame: int,
    time_s: float,
    bodies: _Bodies,
    local: Ints,
    bound: dict[int, int],
    options: StitchOptions,
) -> tuple[Ints, Snapshot]:
    """One frame: person ids of its rows, and the state after it. Updates ``bound``."""
    memory = np.minimum(0.2 + options.gap_per_s_seen * (state.time_s - state.first_s), options.max_gap_s)
    state = state.take(time_s - state.time_s <= memory)
    bound_to = np.array([bound.get(int(track), 0) for track in local], dtype=np.int64)
    cost = _cost(state, time_s, bodies, bound_to, options)
    kept = _without_duplicates(state, bodies, cost, bound_to, options)

    # Who was seen a moment ago chooses first: a person long lost may be anywhere, and must not push others about.
    person = np.zeros(len(local), dtype=np.int64)
    lost = time_s - state.time_s > _MOMENT_S
    rest = kept
    for group in (np.flatnonzero(~lost), np.flatnonzero(lost)):
        for row, known in _assign(cost[np.ix_(rest, group)], _NEW_PERSON):
            person[rest[row]] = state.ids[group[known]]
        rest = _without_shadows(bodies, rest[person[rest] == 0], kept[person[kept] != 0], options)
    strangers = rest[np.lexsort((local[rest], bodies.centre[rest, 0]))]
    person[strangers] = state.next_id + np.arange(len(strangers))

    # A dropped duplicate is bound to nobody from now on, so that it stays one while it is on that body.
    taken = {int(identity) for identity in person if identity}
    for track in [track for track, identity in bound.items() if identity in taken or track in local[person == 0]]:
        del bound[track]
    bound.update({int(track): int(identity) for track, identity in zip(local, person, strict=True) if identity})
    seen = np.flatnonzero(person)
    return person, _remember(state, frame, time_s, bodies.take(seen), person[seen], len(strangers))


def _cost(state: Snapshot, time_s: float, bodies: _Bodies, bound_to: Ints, options: StitchOptions) -> Floats:
    """[M, P] cost of every row being every person; inf where it cannot be."""
    if not len(state.ids) or not len(bodies.size):
        return np.zeros((len(bodies.size), len(state.ids)))
    unseen_s = time_s - state.time_s
    last = state.landmarks[:, -1]
    start = skeleton.body_centre(last[..., :2].astype(np.float64))
    bound = bound_to[:, None] == state.ids
    size = np.maximum(bodies.size[:, None], state.size)  # so that a poor, shrunken estimate is still near

    distance = _distance_to_way(bodies.centre, start, state.velocity * unseen_s[:, None]) / size
    reach = np.where(
        bound,
        options.bound_reach + options.bound_reach_per_s * unseen_s,
        options.reach + options.reach_per_s * unseen_s,
    ).clip(max=options.reach_most)
    growth = np.abs(np.log(bodies.size[:, None] / state.size))
    pose = _landmark_distance(_centred(bodies.points, bodies.centre)[:, None], _centred(last, start)[None], size)
    proportions = np.abs(bodies.proportions[:, None] - state.proportions).mean(axis=-1)
    fresh = np.exp(-unseen_s / _POSE_MEMORY_S)
    cost = distance / reach + growth / 2 + fresh * np.minimum(pose, 1) / 2 + proportions / 4
    possible = (distance <= reach) & (growth <= np.log(options.size_ratio))
    return np.where(possible, cost - options.bound_bonus * fresh * bound, np.inf)


def _distance_to_way(centre: Floats, start: Floats, way: Floats) -> Floats:
    """[M, P] distance of centres from the line between where a person was and where its velocity leads:
    it may have gone on, or stopped anywhere on the way."""
    offset = centre[:, None] - start
    length2 = np.maximum(np.square(way).sum(axis=-1), 1e-12)
    along = np.clip((offset * way).sum(axis=-1) / length2, 0, 1)
    return np.asarray(np.linalg.norm(offset - along[..., None] * way, axis=-1), dtype=np.float64)


def _centred(points: NDArray[np.float32], centre: Floats) -> Floats:
    return np.concatenate([points[..., :2] - centre[..., None, :], points[..., 2:]], axis=-1)


def _landmark_distance(a: NDArray[np.floating], b: NDArray[np.floating], size: Floats) -> Floats:
    """Mean landmark distance in body sizes, weighted by the lesser visibility. ``[..., 33, 3]`` → ``[...]``."""
    weight = np.minimum(a[..., 2], b[..., 2]).astype(np.float64) + 0.01
    apart = np.linalg.norm(a[..., :2].astype(np.float64) - b[..., :2], axis=-1)
    return np.asarray((apart * weight).sum(axis=-1) / weight.sum(axis=-1) / size, dtype=np.float64)


def _without_duplicates(state: Snapshot, bodies: _Bodies, cost: Floats, bound_to: Ints, options: StitchOptions) -> Ints:
    """Rows to keep, ascending: of rows that show one body, the one that fits a known person best."""
    count = len(bodies.size)
    if count < 2:
        return np.arange(count)
    size = np.sqrt(bodies.size[:, None] * bodies.size)
    close = _landmark_distance(bodies.points[:, None], bodies.points[None], size) < options.duplicate
    fit = np.minimum(cost.min(axis=1, initial=np.inf), _NEW_PERSON)
    kept: list[int] = []
    for row in np.lexsort((-bodies.points[..., 2].mean(axis=1), fit)).tolist():
        rivals = [other for other in kept if close[row, other]]
        if not any(_one_body(state, int(bound_to[row]), int(bound_to[other]), options) for other in rivals):
            kept.append(row)
    return np.array(sorted(kept), dtype=np.int64)


def _one_body(state: Snapshot, a: int, b: int, options: StitchOptions) -> bool:
    """Whether two close rows, bound to these persons (0: to nobody), are one body rather than two who cross."""
    known = np.flatnonzero((state.ids == a) | (state.ids == b))
    if len(known) < 2:
        return True
    i, j = known
    recent = slice(HISTORY - options.duplicate_frames, None)
    if not np.array_equal(state.frames[i, recent], state.frames[j, recent]) or (state.frames[i, recent] < 0).any():
        return False
    apart = _landmark_distance(state.landmarks[i, recent], state.landmarks[j, recent], state.size[i])
    return bool((apart < options.duplicate).all())


def _without_shadows(bodies: _Bodies, strangers: Ints, named: Ints, options: StitchOptions) -> Ints:
    """Those strangers who are not a poor second estimate of a named body: centred on it, in a like pose."""
    size = np.maximum(bodies.size[strangers, None], bodies.size[named])
    centres = np.linalg.norm(bodies.centre[strangers, None] - bodies.centre[named], axis=-1) / size
    apart = _landmark_distance(bodies.points[strangers, None], bodies.points[named][None], size)
    shadow = (centres <= options.shadow) & (apart <= 3 * options.shadow)
    return np.array(strangers[~shadow.any(axis=1)], dtype=np.int64)


def _assign(cost: Floats, unmatched: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost, where leaving a pair unmatched costs ``unmatched``."""
    gain = np.minimum(cost - unmatched, 0.0)
    rows, columns = linear_sum_assignment(gain)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if gain[r, c] < 0]


def _remember(state: Snapshot, frame: int, time_s: float, bodies: _Bodies, person: Ints, newcomers: int) -> Snapshot:
    """The state after a frame in which ``bodies`` were seen as ``person``."""
    order = np.argsort(person)
    person, bodies = person[order], bodies.take(order)
    old = person < state.next_id
    at = np.searchsorted(state.ids, person[old])  # positions of those already known
    elapsed = time_s - state.time_s[at]
    # A mean of the few first values, then an exponential average: no bias towards an initial guess.
    # Size and proportions are the same after a gap, so that one poor estimate must not replace them.
    gain = np.maximum(1 - np.exp(-np.minimum(elapsed, _MOMENT_S) / _BUILD_S), 1 / (state.seen[at] + 1))
    velocity_gain = np.maximum(1 - np.exp(-elapsed / _VELOCITY_S), 1 / state.seen[at])
    was = skeleton.body_centre(state.landmarks[at, -1, :, :2].astype(np.float64))
    moved = (bodies.centre[old] - was) / elapsed[:, None]

    count = len(state.ids) + newcomers
    new = ~old
    rows = np.concatenate([at, np.arange(len(state.ids), count)])

    def grown(array: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        result = np.concatenate([array, np.zeros((newcomers, *array.shape[1:]), dtype=array.dtype)])
        result[rows] = values
        return result

    def averaged(array: Floats, value: Floats) -> Floats:
        known = array[at] + gain.reshape(-1, *[1] * (array.ndim - 1)) * (value[old] - array[at])
        return np.concatenate([known, value[new]])

    velocity = state.velocity[at] + velocity_gain[:, None] * (moved - state.velocity[at])
    past_frames = np.concatenate([state.frames[at], np.full((newcomers, HISTORY), -1)])
    past = np.concatenate([state.landmarks[at], np.zeros((newcomers, *state.landmarks.shape[1:]), np.float32)])
    return Snapshot(
        last_frame=frame,
        next_id=state.next_id + newcomers,
        ids=grown(state.ids, person),
        time_s=grown(state.time_s, np.full(len(person), time_s)),
        first_s=grown(state.first_s, np.concatenate([state.first_s[at], np.full(newcomers, time_s)])),
        seen=grown(state.seen, np.concatenate([state.seen[at] + 1, np.ones(newcomers, np.int64)])),
        velocity=grown(state.velocity, np.concatenate([velocity, np.zeros((newcomers, 2))])),
        size=grown(state.size, averaged(state.size, bodies.size)),
        proportions=grown(state.proportions, averaged(state.proportions, bodies.proportions)),
        frames=grown(state.frames, np.concatenate([past_frames[:, 1:], np.full((len(person), 1), frame)], axis=1)),
        landmarks=grown(state.landmarks, np.concatenate([past[:, 1:], bodies.points[:, None]], axis=1)),
    )
