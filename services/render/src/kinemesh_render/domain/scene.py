"""What there is to draw on one frame, in pixels of the upright picture, and how it is cut out of tables of poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh_render.domain.skeleton import TRAILED

LEAST_VISIBILITY = 0.3
"""Below this a landmark is a guess, and not drawn."""

_LONGEST_GAP_SEC = 0.25
"""A trail does not bridge a longer absence."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """One person in one frame.

    :ivar identity: id, which chooses the colour and is the label.
    :ivar points: float32 [33, 2], x and y in pixels.
    :ivar visibility: float32 [33], 0 to 1.
    """

    identity: int
    points: NDArray[np.float32]
    visibility: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Where something has been.

    :ivar identity: whose colour it has.
    :ivar points: float32 [P, 2] in pixels, oldest first.
    :ivar age: float32 [P], 0 now to 1 where the trail ends.
    """

    identity: int
    points: NDArray[np.float32]
    age: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """A box with a caption. ``box`` is float32 [4]: x1, y1, x2, y2 in pixels."""

    identity: int
    box: NDArray[np.float32]
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A named polygon. ``corners`` is float32 [P, 2] in pixels."""

    name: str
    corners: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything on one frame."""

    bodies: Sequence[Body] = ()
    trails: Sequence[Trail] = ()
    things: Sequence[Thing] = ()
    areas: Sequence[Area] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PoseTable:
    """Poses of many frames, ordered by frame.

    :ivar frame_index: int64 [R].
    :ivar time_sec: float64 [R].
    :ivar person_id: int32 [R].
    :ivar image: float32 [R, 33, 5]: x, y as fractions of width and height, z, visibility, presence.
    """

    frame_index: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    person_id: NDArray[np.int32]
    image: NDArray[np.float32]

    def of_frame(self, frame: int) -> slice:
        """The rows of one frame."""
        start, stop = np.searchsorted(self.frame_index, (frame, frame + 1))
        return slice(int(start), int(stop))

    def of_past(self, frame: int, seconds: float) -> slice:
        """The rows from ``seconds`` before a frame that has rows, up to and with the frame."""
        here = self.of_frame(frame)
        if here.start == here.stop:
            return here
        return slice(int(np.searchsorted(self.time_sec, self.time_sec[here.start] - seconds)), here.stop)


def scene_of(table: PoseTable, frame: int, width: int, height: int, trail_sec: float) -> Scene:
    """The bodies of a frame, and the trails that lead to them.

    :param frame: index of the frame.
    :param trail_sec: how far trails reach back; 0 gives none.
    """
    scale = np.array([width, height], np.float32)
    rows = table.of_frame(frame)
    bodies = [
        Body(int(person), image[:, :2] * scale, image[:, 3])
        for person, image in zip(table.person_id[rows], table.image[rows], strict=True)
    ]
    if not (trail_sec and bodies):
        return Scene(bodies)
    past = table.of_past(frame, trail_sec)
    trails = [trail for body in bodies for trail in _trails(table, past, body.identity, scale, trail_sec)]
    return Scene(bodies, trails)


def _trails(table: PoseTable, past: slice, person: int, scale: NDArray[np.float32], trail_sec: float) -> list[Trail]:
    mine = np.flatnonzero(table.person_id[past] == person) + past.start
    trails = []
    for group in TRAILED:
        seen = mine[table.image[mine][:, group, 3].min(axis=1) >= LEAST_VISIBILITY]
        if not len(seen) or seen[-1] != mine[-1]:
            continue  # a trail hangs on what it belongs to
        gaps = np.flatnonzero(np.diff(table.time_sec[seen]) > _LONGEST_GAP_SEC)
        seen = seen[gaps[-1] + 1 :] if len(gaps) else seen
        points = table.image[seen][:, group, :2].mean(axis=1) * scale
        age = (table.time_sec[seen[-1]] - table.time_sec[seen]) / trail_sec
        trails.append(Trail(person, points, age.astype(np.float32)))
    return trails
