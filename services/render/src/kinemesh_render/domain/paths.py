"""Where people are on the map, moment by moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh_render.domain.scene import LONGEST_GAP_SEC

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PathTable:
    """Places on the map, ordered by time.

    :ivar time_sec: float64 [R], ascending, of the steps of the job's clock.
    :ivar person: int32 [R].
    :ivar x, y: float64 [R], in the map's unit.
    :ivar cameras: int32 [R], how many cameras saw the person; 0 where the path was filled in.
    :ivar reach_sec: how far a moment may be from its step: half the time between steps.
    """

    time_sec: Floats
    person: NDArray[np.int32]
    x: Floats
    y: Floats
    cameras: NDArray[np.int32]
    reach_sec: float

    def at(self, moment: float) -> slice:
        """The rows of the step that is nearest to a moment, none if that is too far away."""
        first, last = np.searchsorted(self.time_sec, (moment - self.reach_sec, moment + self.reach_sec))
        if first == last:
            return slice(0, 0)
        near = self.time_sec[first:last]
        chosen = near[np.argmin(np.abs(near - moment))]
        start, stop = np.searchsorted(self.time_sec, (chosen - 1e-9, chosen + 1e-9))
        return slice(int(start), int(stop))

    def points(self, rows: slice | NDArray[np.intp]) -> Floats:
        """The places of rows: float64 [N, 2]."""
        return np.stack([self.x[rows], self.y[rows]], axis=1)

    def trail(self, row: int, seconds: float) -> NDArray[np.intp]:
        """Rows of the way that led to a row without a gap in the seconds before it, oldest first."""
        start = int(np.searchsorted(self.time_sec, self.time_sec[row] - seconds))
        rows = start + np.flatnonzero(self.person[start : row + 1] == self.person[row])
        gaps = np.flatnonzero(np.diff(self.time_sec[rows]) > max(LONGEST_GAP_SEC, 4 * self.reach_sec))
        return rows[gaps[-1] + 1 :] if len(gaps) else rows
