"""One clock for all cameras: steps as frequent as the fastest camera's frames, and each frame at a step of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinemesh.recordings import usual_rate
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

    def steps_of(self, recorded: Recorded, after: int = -1) -> Ints:
        """The step of each frame, int64 [F], strictly ascending, all later than the step ``after``.

        It is the nearest one; where frames come faster than steps for a moment, as with variable frame rates, the
        following frames take the next ones until they have caught up. So no frame is lost.
        """
        nearest = np.floor((recorded.moments - self.start_sec) * self.rate + 0.5).astype(np.int64)
        order = np.arange(len(nearest))
        result: Ints = np.maximum.accumulate(np.maximum(nearest - order, after + 1)) + order
        return result

    def in_run(self, step: Ints) -> Ints:
        """Steps counted from the beginning of their run."""
        result: Ints = step - self.runs[np.searchsorted(self.runs, step, "right") - 1]
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Which frames are at which step, in R recordings.

    :ivar moments: R times float64 [F], of each frame on the environment's clock.
    :ivar steps: R times int64 [F], the step of each frame, ascending.
    :ivar taken: int64 [S], the steps at which any camera has a frame, ascending.
    :ivar latest: float64 [S], ascending: by then the frames of a step, and of those before it, have been shown.
    """

    clock: Clock
    moments: Sequence[Floats]
    steps: Sequence[Ints]
    taken: Ints
    latest: Floats

    def within(self, start_sec: float, stop_sec: float) -> Ints:
        """The steps whose last frame is shown from one moment until just before another."""
        first, stop = np.searchsorted(self.latest, [start_sec, stop_sec])
        return self.taken[first:stop]


def schedule_of(recordings: Sequence[tuple[str, Recorded]]) -> Schedule:
    """The steps of all frames of recordings, of which there is at least one.

    :param recordings: camera and recording; those of one camera do not overlap.
    """
    clock = clock_of([recorded for _, recorded in recordings])
    moments = [recorded.moments for _, recorded in recordings]
    steps: list[Ints] = [np.zeros(0, np.int64)] * len(recordings)
    last: dict[str, int] = {}
    for i in sorted(range(len(recordings)), key=lambda i: recordings[i][1].position):
        camera, recorded = recordings[i]
        steps[i] = clock.steps_of(recorded, last.get(camera, -1))
        last[camera] = int(steps[i][-1])
    taken, at = np.unique(np.concatenate(steps), return_inverse=True)
    latest = np.full(len(taken), -np.inf)
    np.maximum.at(latest, at, np.concatenate(moments))
    return Schedule(clock, moments, steps, taken, np.maximum.accumulate(latest))


def clock_of(recordings: Sequence[Recorded]) -> Clock:
    """The clock of a job over recordings, of which there is at least one."""
    rate = max(usual_rate(recorded.times) for recorded in recordings)
    start = min(float(recorded.moments[0]) for recorded in recordings)
    begins: dict[int, float] = {}
    for recorded in recordings:
        begins[recorded.position] = min(begins.get(recorded.position, np.inf), float(recorded.moments[0]))
    moments = np.array([begins[position] for position in sorted(begins)])
    runs = np.unique(np.floor((moments - start) * rate + 0.5).astype(np.int64))
    return Clock(start, rate, runs)
