"""Which of the tracks is the instructor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from kinemesh.errors import FailedPrecondition
from kinemesh.results.tracks import TrackRows

NEAR_SEC: Final = 1.0
"""How far from the time of a click a box may be."""


@dataclass(frozen=True, slots=True)
class Click:
    """Where somebody pointed: a time in seconds on the file's own clock, and fractions of the picture's width and
    height."""

    time_sec: float
    x: float
    y: float


def longest_present(rows: TrackRows) -> int | None:
    """The track that is seen in most frames, boxes that were filled in left out; of equals the lowest id. None
    without tracks."""
    ids, seen = np.unique(rows.track_id[(rows.track_id > 0) & ~rows.interpolated], return_counts=True)
    return int(ids[np.argmax(seen)]) if len(ids) else None


def clicked(rows: TrackRows, click: Click, width: int, height: int) -> int:
    """The track at a click.

    Of the boxes within :data:`NEAR_SEC` that contain the point, those of the frame nearest in time (the earlier of
    two); of several the smallest, since it is the one that would be meant and might be missed. If none contains it,
    the box of the nearest frame with tracks whose middle is nearest to the point, if that is no farther than its
    longer side. Of equals the lowest id.

    :raises FailedPrecondition: SUBJECT_NOT_FOUND if nobody is there.
    """
    away = np.abs(rows.time_sec - click.time_sec)
    near = np.flatnonzero((rows.track_id > 0) & (away <= NEAR_SEC))
    box = rows.box[near].astype(np.float64)
    point = np.array([click.x * width, click.y * height])
    sides = box[:, 2:] - box[:, :2]
    within = ((box[:, :2] <= point) & (point <= box[:, 2:])).all(axis=1)
    off = np.linalg.norm((box[:, :2] + box[:, 2:]) / 2 - point, axis=1)
    if within.any():
        near, sides, off = near[within], sides[within], off[within]
    rank = sides.prod(axis=1) if within.any() else off
    order = np.lexsort((rows.track_id[near], rank, rows.time_sec[near], away[near]))
    if not len(order) or (off[order[0]] > sides[order[0]].max() and not within.any()):
        raise FailedPrecondition(
            "SUBJECT_NOT_FOUND",
            "Nobody is seen near this point within a second of this time.",
            time_sec=click.time_sec,
            x=click.x,
            y=click.y,
        )
    return int(rows.track_id[near[order[0]]])
