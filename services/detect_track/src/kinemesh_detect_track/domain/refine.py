"""What a recording allows and a live stream does not: looking at both ends of a gap.

Where a track stayed behind on something that is no object, it is cut. Tracks of an online tracker that gives up early
are joined by one assignment over the whole recording; gaps are filled; what was seen only for a moment, never for sure,
or twice, is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kinemesh.results.tracks import TrackRows, concatenate
from kinemesh_detect_track.domain.boxes import Floats, Ints, centred, cornered, overlap
from kinemesh_detect_track.domain.looks import Looks, cosines
from kinemesh_detect_track.domain.motion import NOMINAL_RATE, smoothed

_FIT_BOXES: Final = 15
"""At an end of a tracklet, that tell where it is going."""
_DOUBT: Final = 5.0
"""Boxes by which a velocity is pulled to rest: a short tracklet's is mostly noise."""
# Log-odds that two tracklets are one object, by logistic regression over all pairs of MOT17-02, -05 and -11.
_INTERCEPT: Final = -1.8
_MISS: Final = -1.8
_SIZE: Final = -3.9
# Looks add to them where both are known. Chosen, not learnt: cosines of recognition networks lie around 0.7 for one
# person and 0.3 for two, so that these are worth two and a half in favour, or against.
_ALIKE: Final = 12.0
_UNDECIDED: Final = 0.5
# A detector may see one object twice: the weaker of two is a double if it overlaps the other so much, so often.
_DOUBLE: Final = 0.5
_MOSTLY: Final = 0.5
_NEAR: Final = 0.6
"""Of the least score: what half of an object's boxes reach. Chosen by counting people in a crowd at three scales."""
_DOUBTFUL: Final = 0.7
"""Of the least score: what half the boxes stay below where a track is left on a pillar, and reach where somebody is."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """How to refine. Spans are in frames of the nominal rate.

    :ivar longest_join: between two tracklets of one object.
    :ivar least_probability: that two tracklets are one object.
    :ivar longest_fill: of a gap that is filled; in longer ones nobody knows where the object was.
    :ivar fewest_boxes: of an object that is kept.
    :ivar longest_doubt: for which an object may stay below the least score, and mostly far below. Half of that cuts
        apart people of a crowd who hide each other.
    :ivar shortest_part: of a track from which such doubt was cut.
    :ivar least_score: that an object reaches at least once, and most of its boxes come near to. So the doubtful boxes
        of an object that was surely there are kept, and those of what may never have been there are not.
    """

    longest_join: float = 200
    least_probability: float = 0.25
    longest_fill: float = 100
    fewest_boxes: int = 8
    longest_doubt: float = 240
    shortest_part: float = 60
    least_score: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Tracklet:
    frame: Ints
    values: Floats  # [N, 5]: cx cy w h in the frame of reference of the first frame, score
    class_id: int
    track_id: int


def refined(
    rows: TrackRows, times: Floats, camera: Floats, refinement: Refinement, looks: Looks | None = None
) -> TrackRows:
    """Join, fill and drop.

    :param rows: as :func:`~kinemesh_detect_track.domain.tracker.step` named them, frame by frame; only boxes that
        belong to a track.
    :param times: float64 [F], presentation time of every frame of the recording, in seconds.
    :param camera: float64 [F, 2], the tracker's ``camera`` after every frame.
    :param looks: float32 [largest id + 1, E], every track's mean embedding, zeros where none is known; None if none is.
    :return: by frame and id; ids count from 1 in the order of first appearance. The score of a box that was filled in
        is interpolated as well.
    """
    clock = times * NOMINAL_RATE
    tracklets = [part for one in _tracklets(rows, camera) for part in _undoubted(one, refinement, clock)]
    objects = [one for one in _joined(tracklets, refinement, clock, looks) if _is_object(one, refinement)]
    objects.sort(key=lambda one: (int(one.frame[0]), one.values[0].tolist(), one.track_id))
    parts = _single([_filled(one, times, camera, refinement.longest_fill) for one in objects])
    whole = concatenate(
        [replace(part, track_id=np.full_like(part.track_id, number)) for number, part in enumerate(parts, 1)]
    )
    return whole.where(np.lexsort((whole.track_id, whole.frame_index)))


def _undoubted(one: _Tracklet, refinement: Refinement, clock: Floats) -> list[_Tracklet]:
    """What is left of a tracklet without the stretches in which it was doubtful for too long."""
    score, time, least = one.values[:, 4], clock[one.frame], refinement.least_score
    borders = np.flatnonzero(np.diff(np.concatenate([[False], score < least, [False]]).astype(np.int8)))
    doubts = [
        (start, stop)
        for start, stop in borders.reshape(-1, 2).tolist()
        if time[stop - 1] - time[start] > refinement.longest_doubt and np.median(score[start:stop]) < _DOUBTFUL * least
    ]
    if not doubts:
        return [one]
    starts, stops = [0, *(stop for _, stop in doubts)], [*(start for start, _ in doubts), len(score)]
    return [
        replace(one, frame=one.frame[start:stop], values=one.values[start:stop])
        for start, stop in zip(starts, stops, strict=True)
        # A look at somebody who passes by what it was left on is not them.
        if start < stop
        and time[stop - 1] - time[start] >= refinement.shortest_part
        and np.median(score[start:stop]) >= _DOUBTFUL * least
    ]


def _is_object(one: _Tracklet, refinement: Refinement) -> bool:
    score = one.values[:, 4]
    sure = score.max() >= refinement.least_score and np.median(score) >= _NEAR * refinement.least_score
    return len(score) >= refinement.fewest_boxes and bool(sure)


def _single(objects: list[TrackRows]) -> list[TrackRows]:
    """Without the doubles: of two of one class that are mostly at one place, the one of less score in all goes."""
    if len(objects) < 2:
        return objects
    frame = np.concatenate([one.frame_index for one in objects])
    order = np.argsort(frame, kind="stable")
    number = np.repeat(np.arange(len(objects)), [len(one) for one in objects])[order]
    box = centred(np.concatenate([one.box for one in objects]))[order]
    borders = np.flatnonzero(np.diff(frame[order])) + 1
    together = []
    for who, where in zip(np.split(number, borders), np.split(box, borders), strict=True):
        first, second = np.nonzero(np.triu(overlap(where, where) >= _DOUBLE, 1))
        together.append(np.stack([who[first], who[second]], axis=1))
    pairs, times = np.unique(np.concatenate(together), axis=0, return_counts=True)
    worth = [float(one.score.sum(dtype=np.float64)) for one in objects]
    dropped: set[int] = set()
    for (first, second), shared in zip(pairs.tolist(), times.tolist(), strict=True):
        weaker, stronger = sorted((first, second), key=lambda one: (worth[one], -one))
        same = objects[weaker].class_id[0] == objects[stronger].class_id[0]
        if same and shared >= _MOSTLY * len(objects[weaker]) and stronger not in dropped:
            dropped.add(weaker)
    return [one for i, one in enumerate(objects) if i not in dropped]


def _tracklets(rows: TrackRows, camera: Floats) -> list[_Tracklet]:
    order = np.lexsort((rows.frame_index, rows.track_id))
    frame = rows.frame_index[order]
    boxes = centred(rows.box[order])
    boxes[:, :2] -= camera[frame]
    values = np.column_stack([boxes, rows.score[order]])
    ids, starts = np.unique(rows.track_id[order], return_index=True)
    classes = rows.class_id[order][starts]
    return [
        _Tracklet(frames, part, int(class_id), int(track_id))
        for frames, part, class_id, track_id in zip(
            np.split(frame, starts)[1:], np.split(values, starts)[1:], classes, ids, strict=True
        )
    ]


def _joined(tracklets: list[_Tracklet], refinement: Refinement, clock: Floats, looks: Looks | None) -> list[_Tracklet]:
    """Tracklets of one object as one: the best one-to-one choice of which follows which."""
    first, second = _candidates(tracklets, refinement.longest_join, clock)
    gain = _log_odds(tracklets, first, second, clock, looks)
    gain -= np.log(refinement.least_probability / (1 - refinement.least_probability))
    following = _best_pairs(first[gain > 0], second[gain > 0], gain[gain > 0], len(tracklets))
    chains = []
    for start in sorted(set(range(len(tracklets))) - set(following.values())):
        chain = [start]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        parts = [tracklets[i] for i in chain]
        frame = np.concatenate([part.frame for part in parts])
        values = np.concatenate([part.values for part in parts])
        chains.append(_Tracklet(frame, values, parts[0].class_id, parts[0].track_id))
    return chains


def _candidates(tracklets: list[_Tracklet], longest: float, clock: Floats) -> tuple[Ints, Ints]:
    """Pairs of which the second begins when the first has ended, not too late: int64 [P] each."""
    began = np.array([one.frame[0] for one in tracklets], np.int64)
    ended = np.array([one.frame[-1] for one in tracklets], np.int64)
    classes = np.array([one.class_id for one in tracklets], np.int64)
    order = np.argsort(began, kind="stable")
    low = np.searchsorted(began[order], ended, side="right")
    # Times in between are compared with a little to spare, so that rounding does not decide.
    high = np.searchsorted(clock[began[order]], clock[ended] + longest + 1e-6, side="right")
    counts = np.maximum(high - low, 0)
    first = np.repeat(np.arange(len(tracklets)), counts)
    within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    second = order[np.repeat(low, counts) + within]
    same = classes[first] == classes[second]
    return first[same], second[same]


def _best_pairs(first: Ints, second: Ints, gain: Floats, count: int) -> dict[int, int]:
    """Which follows which, so that the gain is greatest: solved for each group that hangs together by itself."""
    graph = coo_array((np.ones(len(first)), (first, second + count)), shape=(2 * count, 2 * count))
    group = connected_components(graph, directed=False)[1][first]
    order = np.argsort(group, kind="stable")
    following: dict[int, int] = {}
    for edges in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows, row = np.unique(first[edges], return_inverse=True)
        columns, column = np.unique(second[edges], return_inverse=True)
        worth = np.zeros((len(rows), len(columns)))
        worth[row, column] = gain[edges]
        for i, j in zip(*linear_sum_assignment(worth, maximize=True), strict=True):
            if worth[i, j] > 0:
                following[int(rows[i])] = int(columns[j])
    return following


def _log_odds(tracklets: list[_Tracklet], first: Ints, second: Ints, clock: Floats, looks: Looks | None) -> Floats:
    """For every pair, the log-odds that the second goes on where the first ended: [P]."""
    end, end_velocity = _ends(tracklets, clock, last=True)
    start, start_velocity = _ends(tracklets, clock, last=False)
    ended = clock[np.array([one.frame[-1] for one in tracklets], np.int64)]
    began = clock[np.array([one.frame[0] for one in tracklets], np.int64)]
    gap = (began[second] - ended[first])[:, None]
    height = np.sqrt(np.maximum(end[first, 3] * start[second, 3], 1))
    apart = start[second, :2] - end[first, :2]
    forward = np.linalg.norm(apart - gap * end_velocity[first], axis=1) / height
    backward = np.linalg.norm(apart - gap * start_velocity[second], axis=1) / height
    size = np.abs(np.log(np.maximum(start[second, 3], 1) / np.maximum(end[first, 3], 1)))
    odds: Floats = _INTERCEPT + _MISS * np.log((forward + backward) / 2 + 0.1) + _SIZE * size
    if looks is not None:
        ids = np.array([one.track_id for one in tracklets], np.int64)
        cosine = cosines(looks[ids[first]], looks[ids[second]])
        odds += np.where(np.isnan(cosine), 0, _ALIKE * (cosine - _UNDECIDED))
    return odds


def _ends(tracklets: list[_Tracklet], clock: Floats, *, last: bool) -> tuple[Floats, Floats]:
    """Boxes [N, 4] and velocities [N, 2] at one end of every tracklet."""
    part = slice(-_FIT_BOXES, None) if last else slice(None, _FIT_BOXES)
    found = [_end(clock[one.frame[part]], one.values[part, :4], last=last) for one in tracklets]
    return np.array([box for box, _ in found]).reshape(-1, 4), np.array([speed for _, speed in found]).reshape(-1, 2)


def _end(time: Floats, boxes: Floats, *, last: bool) -> tuple[Floats, Floats]:
    """Box and velocity [2] at one end of a tracklet, from a straight line through its boxes there."""
    at = time[-1] if last else time[0]
    if len(time) < 2:
        return boxes[0], np.zeros(2)
    centred_time = time - time.mean()
    slope = centred_time @ boxes / (centred_time @ centred_time)
    box = boxes.mean(axis=0) + slope * (at - time.mean())
    return box, slope[:2] * len(time) / (len(time) + _DOUBT)


def _filled(one: _Tracklet, times: Floats, camera: Floats, longest: float) -> TrackRows:
    """An object's boxes in all frames from its first to its last, but for gaps that are too long."""
    frame = np.arange(one.frame[0], one.frame[-1] + 1)
    score = np.interp(frame, one.frame, one.values[:, 4])
    clock = times[frame] * NOMINAL_RATE
    values = np.column_stack([smoothed(clock, one.values[:, :4], one.frame - one.frame[0]), score])
    before = np.searchsorted(one.frame, frame, side="right") - 1
    seen = one.frame[before] == frame
    gap = np.append(np.diff(clock[one.frame - one.frame[0]]), 0)[before]
    kept = seen | (gap <= longest + 1e-6)
    frame, values, seen = frame[kept], values[kept], seen[kept]
    values[:, :2] += camera[frame]
    count = len(frame)
    return TrackRows(
        frame,
        times[frame],
        np.full(count, one.track_id, np.int32),
        cornered(values[:, :4]).astype(np.float32),
        values[:, 4].astype(np.float32),
        np.full(count, one.class_id, np.int16),
        ~seen,
    )
