"""One clock for all cameras: steps as frequent as the fastest camera's frames, and each frame at a step of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinemesh_detect_track.domain.boxes import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A recording.

    :ivar position: which of its camera's recordings it is, from 0.
    :ivar start_sec: time of its first frame on the environment's clock.
    :ivar times: float64 [F], presentation times in seconds, ascending.
    """

    position: int
    start_sec: float
    times: Floats

    @property
    def moments(self) -> Floats:
        """float64 [F], the times of its frames on the environment's clock."""
        result: Floats = self.start_sec + (self.times - self.times[0])
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """The steps of a job: step ``k`` is at ``start_sec + k / rate``.

    :ivar runs: int64 [N], the step with which the n-th recordings of the cameras begin; ascending, the first is 0.
    """

    start_sec: float
    rate: float
    runs: Ints

    def time_of(self, step: Ints) -> Floats:
        """Times of steps on the environment's clock."""
        result: Floats = self.start_sec + step / self.rate
        return result

    def steps_of(self, recorded: Recorded) -> Ints:
        """The step of each frame, int64 [F], strictly ascending.

        It is the nearest one; where frames come faster than steps for a moment, as with variable frame rates, the
        following frames take the next ones until they have caught up. So no frame is lost.
        """
        nearest = np.floor((recorded.moments - self.start_sec) * self.rate + 0.5).astype(np.int64)
        order = np.arange(len(nearest))
        result: Ints = np.maximum.accumulate(nearest - order) + order
        return result

    def in_run(self, step: Ints) -> Ints:
        """Steps counted from the beginning of their run."""
        result: Ints = step - self.runs[np.searchsorted(self.runs, step, "right") - 1]
        return result


def clock_of(recordings: Sequence[Recorded]) -> Clock:
    """The clock of a job over recordings, of which there is at least one."""
    rate = max(_rate(recorded.times) for recorded in recordings)
    start = min(float(recorded.moments[0]) for recorded in recordings)
    begins: dict[int, float] = {}
    for recorded in recordings:
        begins[recorded.position] = min(begins.get(recorded.position, np.inf), float(recorded.moments[0]))
    moments = np.array([begins[position] for position in sorted(begins)])
    runs = np.unique(np.floor((moments - start) * rate + 0.5).astype(np.int64))
    return Clock(start, rate, runs)


def _rate(times: Floats) -> float:
    """Frames per second, by the usual interval; 1 for a single frame."""
    return 1.0 if len(times) < 2 else 1 / float(np.median(np.diff(times)))
