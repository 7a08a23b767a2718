"""Following objects from frame to frame, forward only: one step per frame, one array row per object.

Association in two stages, after Zhang et al., ByteTrack (2022): detections of high score go first, to all confirmed
tracks; then what is left, of any score, to the tracks that were in view a frame ago; then high scores to tracks that
have been seen only once. Cameras that move are compensated without looking at pixels: the median of what all recently
seen tracks missed their prediction by is the camera's, not theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinemesh_detect_track.domain.boxes import Floats, Ints, centred, overlap
from kinemesh_detect_track.domain.looks import Looks, alike, averaged, of_size
from kinemesh_detect_track.domain.motion import NOMINAL_RATE, Motion, corrected, predicted, started
from kinemesh_detect_track.domain.state import TrackerState

_FEWEST_WITNESSES: Final = 4
_WITNESS_OVERLAP: Final = 0.3
_SHORTEST: Final = 0.01
# Chosen by counting people in a crowd by eye.
_HIGH: Final = 2 / 3
"""Of the score that begins a track: what may continue one that is out of view."""
_HINDSIGHT: Final = 0.6
"""Of the threshold: what may begin a track that has to prove itself later."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How to follow. Overlaps are intersections over union.

    :ivar high_score: detections from here on may continue any track.
    :ivar new_score: detections from here on may begin one.
    :ivar first_overlap: least with a confirmed track, for high scores.
    :ivar second_overlap: least with a track in view, for all that is left.
    :ivar young_overlap: least with a track that has been seen once.
    :ivar lost_frames: how long a track is kept out of view, in frames of the nominal rate.
    :ivar camera_motion: whether the camera may move.
    :ivar appearance: share of looks in similarity, 0 to 1, where both sides have an embedding. Overlaps decide in any
        case what may belong together.
    """

    high_score: float = 0.6
    new_score: float = 0.7
    first_overlap: float = 0.3
    second_overlap: float = 0.5
    young_overlap: float = 0.3
    lost_frames: float = 60.0
    camera_motion: bool = True
    appearance: float = 0.0


def parameters_for(threshold: float, lost_sec: float, *, camera_motion: bool, hindsight: bool) -> Parameters:
    """How to follow what a detector found, for a user who trusts scores from ``threshold`` on.

    :param lost_sec: how long a track is kept out of view.
    :param hindsight: whether objects that never reach the threshold are dropped later: then a track may begin below it,
        so that objects are followed from where they first show. A live stream has to wait for the threshold.
    """
    new_score = threshold * (_HINDSIGHT if hindsight else 1)
    return Parameters(
        high_score=new_score * _HIGH,
        new_score=new_score,
        lost_frames=lost_sec * NOMINAL_RATE,
        camera_motion=camera_motion,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one frame.

    :ivar boxes: float [D, 4], ``x1 y1 x2 y2`` in pixels.
    :ivar scores: float [D], 0 to 1.
    :ivar classes: int [D].
    :ivar looks: float32 [D, E], L2-normalised embeddings, zeros where there is none; None if there are none at all.
    """

    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    classes: NDArray[np.integer]
    looks: Looks | None = None


def frames_between(times: Floats, parameters: Parameters) -> Floats:
    """Times [F] in seconds as what :func:`step` is given from the second frame on, [F - 1]: frames of the nominal rate.

    Time that stands still or jumps is bounded, because nothing can be predicted across it.
    """
    return np.clip(np.diff(times) * NOMINAL_RATE, _SHORTEST, max(parameters.lost_frames, _SHORTEST))


def step(
    state: TrackerState, detections: Detections, parameters: Parameters, frames: float = 1.0
) -> tuple[TrackerState, Ints]:
    """Take the next frame.

    :param frames: time since the frame before, in frames of the nominal rate.
    :return: the state after it, and of every detection its track's id, int64 [D]; 0 where there is none (yet).
    """
    boxes = centred(detections.boxes)
    motion = predicted(_coasting(state), frames)
    camera = state.camera
    if parameters.camera_motion:
        boxes[:, :2] -= camera
        shift = _camera_shift(state, motion, boxes, detections.classes)
        boxes[:, :2] -= shift
        camera = camera + shift
    looks, found_looks = _looks(state, detections)
    similarity = overlap(motion.box, boxes) * (state.classes[:, None] == detections.classes)
    agreement = _agreement(similarity, looks, found_looks, parameters.appearance)
    tracks, found = _associate(state, similarity, agreement, detections.scores, parameters)

    unseen = state.unseen + frames
    unseen[tracks] = 0
    hits = state.hits.copy()
    hits[tracks] += 1
    newly = np.flatnonzero((state.ids == 0) & (hits > 1) & (unseen == 0))
    ids = state.ids.copy()
    ids[newly] = state.next_id + np.arange(len(newly))
    next_id = state.next_id + len(newly)

    answer = np.zeros(len(boxes), np.int64)
    answer[found] = ids[tracks]

    seen = corrected(_rows(motion, tracks), boxes[found])
    for name in ("box", "velocity", "covariance"):
        getattr(motion, name)[tracks] = getattr(seen, name)
    sure = detections.scores[found] >= parameters.high_score  # what is half hidden looks like what hides it
    looks[tracks[sure]] = averaged(looks[tracks[sure]], found_looks[found[sure]])
    kept = np.where(ids > 0, unseen <= parameters.lost_frames, unseen == 0)

    unmatched = np.ones(len(boxes), bool)
    unmatched[found] = False
    born = np.flatnonzero(unmatched & (detections.scores >= parameters.new_score))
    fresh = started(boxes[born])
    # Who is there when the stream begins need not prove itself.
    born_ids = next_id + np.arange(len(born)) if state.frames == 0 else np.zeros(len(born), np.int64)
    if state.frames == 0:
        answer[born] = born_ids
        next_id += len(born)
    after = TrackerState(
        frames=state.frames + 1,
        next_id=next_id,
        camera=camera,
        ids=np.concatenate([ids[kept], born_ids]),
        hits=np.concatenate([hits[kept], np.ones(len(born), np.int64)]),
        unseen=np.concatenate([unseen[kept], np.zeros(len(born))]),
        classes=np.concatenate([state.classes[kept], detections.classes[born].astype(np.int64)]),
        box=np.concatenate([motion.box[kept], fresh.box]),
        velocity=np.concatenate([motion.velocity[kept], fresh.velocity]),
        covariance=np.concatenate([motion.covariance[kept], fresh.covariance]),
        looks=np.concatenate([looks[kept], found_looks[born]]),
    )
    return after, answer


def _coasting(state: TrackerState) -> Motion:
    """The tracks in motion; those out of view keep their size, because its velocity is mostly noise."""
    velocity = state.velocity.copy()
    velocity[state.unseen > 0, 2:] = 0
    return Motion(state.box, velocity, state.covariance)


def _rows(motion: Motion, rows: Ints) -> Motion:
    return Motion(motion.box[rows], motion.velocity[rows], motion.covariance[rows])


def _camera_shift(state: TrackerState, motion: Motion, boxes: Floats, classes: NDArray[np.integer]) -> Floats:
    """By how many pixels the picture moved, x and y, as the tracks in view bear witness."""
    witnesses = np.flatnonzero((state.unseen == 0) & (state.hits > 1))
    if len(witnesses) < _FEWEST_WITNESSES or len(boxes) < _FEWEST_WITNESSES:
        return np.zeros(2)
    similarity = overlap(motion.box[witnesses], boxes) * (state.classes[witnesses][:, None] == classes)
    rows, columns = _assigned(similarity, similarity >= _WITNESS_OVERLAP)
    if len(rows) < _FEWEST_WITNESSES:
        return np.zeros(2)
    missed = boxes[columns, :2] - motion.box[witnesses[rows], :2]
    shift: Floats = np.median(missed, axis=0)
    return shift


def _looks(state: TrackerState, detections: Detections) -> tuple[Looks, Looks]:
    """Embeddings of the tracks, as a copy, and of the detections, of one length."""
    given = 0 if detections.looks is None else detections.looks.shape[1]
    size = state.looks.shape[1] or given
    looks = of_size(state.looks, len(state.ids), size).copy()
    return looks, of_size(detections.looks, len(detections.boxes), size)


def _agreement(similarity: Floats, looks: Looks, found_looks: Looks, share: float) -> Floats:
    """Overlaps mixed with looks where those are known."""
    if not share or not looks.shape[1]:
        return similarity
    cosine = alike(looks, found_looks)
    return np.where(np.isnan(cosine), similarity, (1 - share) * similarity + share * np.maximum(cosine, 0))


def _associate(
    state: TrackerState,
    similarity: Floats,
    agreement: Floats,
    scores: NDArray[np.floating],
    parameters: Parameters,
) -> tuple[Ints, Ints]:
    """Rows of tracks and of detections that belong together."""
    high = scores >= parameters.high_score
    confirmed = state.ids > 0
    rounds = (
        (confirmed, high, parameters.first_overlap),
        (confirmed & (state.unseen == 0), np.ones(len(scores), bool), parameters.second_overlap),
        (~confirmed, high, parameters.young_overlap),
    )
    free_tracks, free_boxes = np.ones(len(confirmed), bool), np.ones(len(scores), bool)
    tracks, found = [], []
    for may_continue, may_be, least in rounds:
        rows = np.flatnonzero(may_continue & free_tracks)
        columns = np.flatnonzero(may_be & free_boxes)
        pairs = np.ix_(rows, columns)
        picked = _assigned(agreement[pairs], similarity[pairs] >= least)
        rows, columns = rows[picked[0]], columns[picked[1]]
        free_tracks[rows], free_boxes[columns] = False, False
        tracks.append(rows)
        found.append(columns)
    return np.concatenate(tracks), np.concatenate(found)


def _assigned(similarity: Floats, allowed: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Pairs of greatest total similarity, of those that are allowed."""
    if not similarity.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    worth = np.where(allowed, similarity, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    good = worth[rows, columns] > 0
    return rows[good], columns[good]
