"""What is measured against: the frames of a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinemesh_detect_track.domain.boxes import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """All frames of a recording, evenly spaced in time or not.

    :ivar times: float64 [F], when each frame is shown, in seconds on the file's own clock; growing.
    :ivar end_sec: when the last frame ends.
    :ivar width: of the upright picture in pixels.
    :ivar height: of the upright picture in pixels.
    """

    times: Floats
    end_sec: float
    width: int
    height: int

    @property
    def ends(self) -> Floats:
        """float64 [F], when each frame ends: at the next one's time."""
        return np.append(self.times[1:], self.end_sec) if len(self.times) else self.times

    @property
    def usual_step(self) -> float:
        """Median time between two frames in seconds; 0 for fewer than two."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0
