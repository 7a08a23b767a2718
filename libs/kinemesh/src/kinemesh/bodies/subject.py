"""Which persons of a clip a job is about: all, the main one, or the one at a point and time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from kinemesh.bodies import skeleton
from kinemesh.bodies.skeleton import Bools, Floats, Ints
from kinemesh.errors import InvalidArgument, NotFound


class Subject(Enum):
    ALL = "all"
    MAIN = "main"
    AT_POINT = "at_point"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a job asks for. ``time_s``, ``x`` and ``y`` (fractions of width and height) are for AT_POINT."""

    subject: Subject = Subject.ALL
    time_s: float = 0.0
    x: float = 0.5
    y: float = 0.5
    min_presence_s: float = 0.3
    """Persons seen for less are ghosts; for clips under 0.6 s the limit is half of the clip."""
    min_score: float = 0.5
    """Persons whose mean score is lower are ghosts."""
    point_tolerance_s: float = 1.0
    """How far from ``time_s`` a person may be seen."""
    point_tolerance: float = 1.0
    """How far from a person's box the point may lie, in body sizes."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How long, how large and how well each person is seen. P persons, by id."""

    ids: Ints
    """[P]"""
    seconds: Floats
    """[P] sum of the durations of the frames that show the person."""
    weight: Floats
    """[P] size integrated over time: Σ body size × frame duration, picture heights × seconds."""
    score: Floats
    """[P] mean over the person's frames of the mean visibility of the 11 landmarks seen best."""


def presence(person: Ints, time_s: Floats, landmarks: NDArray[np.float32], aspect: float) -> Presence:
    """Measure presence. Rows are one per person and frame of the whole clip; N rows.

    A frame lasts until the next frame with any person, at most 0.25 s or three median frame durations
    (after that, nobody was seen in between); the last one as long as the median.

    :param person: [N] ids; rows of id 0 (duplicates) are left out.
    :param time_s: [N] presentation times.
    :param landmarks: [N, 33, 5].
    :param aspect: picture width / height.
    """
    times, frame_of = np.unique(time_s, return_inverse=True)
    steps = np.diff(times)
    median = float(np.median(steps)) if len(steps) else 0.0
    lasts = np.append(np.minimum(steps, max(0.25, 3 * median)), median)[frame_of] if len(times) else np.zeros(0)
    size = skeleton.body_size(skeleton.image_plane(landmarks, aspect))
    visible = np.sort(landmarks[..., 3].astype(np.float64), axis=1)[:, -skeleton.COUNT // 3 :].mean(axis=1)

    ids, which = np.unique(person, return_inverse=True)

    def total(values: Floats) -> Floats:
        return np.bincount(which, values, len(ids)).astype(np.float64)

    rows = np.maximum(total(np.ones(len(person))), 1)
    real = ids > 0
    return Presence(ids[real], total(lasts)[real], total(lasts * size)[real], (total(visible) / rows)[real])


def select(
    person: Ints, time_s: Floats, landmarks: NDArray[np.float32], aspect: float, selection: Selection | None = None
) -> Ints:
    """Ids of the persons that the selection means, ascending; ids keep their numbers.

    - ALL: everybody but ghosts (``min_presence_s``, ``min_score``). May be empty.
    - MAIN: of these, the one with the largest ``weight`` (size integrated over time, so both long and large
      presence count); the lower id if equal to six digits. If all are ghosts, the same among
      them. Empty if nobody is seen.
    - AT_POINT: of everybody seen within ``point_tolerance_s`` of ``time_s``, each in the frame nearest to
      it: the one whose box of landmarks contains the point or is nearest to it, then whose centre is
      nearest. Distances are in body sizes.

    Parameters as in :func:`presence`.

    :raises InvalidArgument: POINT_INVALID if a point's coordinates are not in 0–1 or its time is negative.
    :raises NotFound: NO_PERSON_AT_POINT if nobody is near.
    """
    selection = selection or Selection()
    if selection.subject is Subject.AT_POINT:
        return np.array([_at_point(person, time_s, landmarks, aspect, selection)], dtype=np.int64)
    found = presence(person, time_s, landmarks, aspect)
    if not len(found.ids):
        return found.ids
    real = _real(found, time_s, selection)
    if selection.subject is Subject.ALL:
        return found.ids[real]
    weight = np.where(real, found.weight, -1.0) if real.any() else found.weight
    return found.ids[[int(np.argmax(weight >= weight.max() * (1 - 1e-6)))]]


def _real(found: Presence, time_s: Floats, selection: Selection) -> Bools:
    least = min(selection.min_presence_s, 0.5 * float(np.ptp(time_s)))
    return (found.seconds >= least) & (found.score >= selection.min_score)


def _at_point(person: Ints, time_s: Floats, landmarks: NDArray[np.float32], aspect: float, selection: Selection) -> int:
    if not (0 <= selection.x <= 1 and 0 <= selection.y <= 1 and selection.time_s >= 0):
        raise InvalidArgument("POINT_INVALID", "A point lies in 0–1 on both axes, at a time of 0 or later.")
    away = np.abs(time_s - selection.time_s)
    near = np.flatnonzero((person > 0) & (away <= selection.point_tolerance_s))
    near = near[np.lexsort((time_s[near], away[near], person[near]))]
    near = near[np.unique(person[near], return_index=True)[1]]  # each person's row nearest in time

    plane = skeleton.image_plane(landmarks[near], aspect)
    point = np.array([selection.x * aspect, selection.y])
    size = np.maximum(skeleton.body_size(plane), 1e-6)
    outside = np.maximum(np.maximum(plane.min(axis=1) - point, point - plane.max(axis=1)), 0)
    box = np.linalg.norm(outside, axis=-1) / size
    centre = np.linalg.norm(skeleton.body_centre(plane) - point, axis=-1) / size
    order = np.lexsort((person[near], centre, box))
    if not len(order) or box[order[0]] > selection.point_tolerance:
        raise NotFound(
            "NO_PERSON_AT_POINT",
            "Nobody is seen near this point at this time.",
            time_s=selection.time_s,
            x=selection.x,
            y=selection.y,
        )
    return int(person[near[order[0]]])
