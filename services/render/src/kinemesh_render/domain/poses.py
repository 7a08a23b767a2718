"""What there is to draw of poses: one frame cut out of a table of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh_render.domain.scene import LEAST_VISIBILITY, LONGEST_GAP_SEC, Body, Scene, Trail
from kinemesh_render.domain.skeleton import TRAILED


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


def scene_of_poses(table: PoseTable, frame: int, width: int, height: int, trail_sec: float) -> Scene:
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
        gaps = np.flatnonzero(np.diff(table.time_sec[seen]) > LONGEST_GAP_SEC)
        seen = seen[gaps[-1] + 1 :] if len(gaps) else seen
        points = table.image[seen][:, group, :2].mean(axis=1) * scale
        age = (table.time_sec[seen[-1]] - table.time_sec[seen]) / trail_sec
        trails.append(Trail(person, points, age.astype(np.float32)))
    return trails
