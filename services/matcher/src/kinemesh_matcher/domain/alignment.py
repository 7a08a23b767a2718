"""The output's clock, and which moment of each recording is shown at which moment of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kinemesh.bodies.skeleton import Floats
from kinemesh_matcher.domain.motion import RATE_HZ, Motion
from kinemesh_matcher.domain.warping import MOST_STEPS, warped

_STEADY_STEPS: Final = 7


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """A recording's time over the output's: linear between K moments, at its own pace before and after them.

    :ivar output_sec: float64 [K], K ≥ 1, increasing.
    :ivar source_sec: float64 [K], from the recording's first frame, never falling.
    """

    output_sec: Floats
    source_sec: Floats

    def source_at(self, output_sec: Floats) -> Floats:
        """Which moment of the recording is shown."""
        return _piecewise(output_sec, self.output_sec, self.source_sec)

    def output_at(self, source_sec: Floats) -> Floats:
        """When a moment of the recording is shown; the first time if it is shown for a while."""
        return _piecewise(source_sec, self.source_sec, self.output_sec)


def _piecewise(at: Floats, x: Floats, y: Floats) -> Floats:
    inside = np.interp(at, x, y)
    return np.where(at < x[0], y[0] + at - x[0], np.where(at > x[-1], y[-1] + at - x[-1], inside))


def together(starts: Sequence[float]) -> list[Clock]:
    """Clocks that show given moments of all recordings at once.

    The output begins with the recording that has the least before its moment, so it is no longer than the longest.
    """
    lead = min(starts)
    return [Clock(np.array([lead]), np.array([start])) for start in starts]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A climber's way, and from when to when they are on it, in seconds from the recording's first frame."""

    motion: Motion
    start_sec: float
    stop_sec: float


def by_path(courses: Sequence[Course]) -> list[Clock]:
    """Clocks that show all climbers at the same place of the route at once; the output has the first one's clock.

    The ways of the centres of mass are warped onto the first one's, each from where the ground is left to the end of
    the route. Before and after that, recordings run at their own pace. A climber who gets less far waits where they
    got to.
    """
    one = _way(courses[0])
    clocks = [Clock(one[0][:1], one[0][:1])]
    for course in courses[1:]:
        times, points = _way(course)
        position = _steadied(warped(one[1], points))
        clocks.append(Clock(one[0], np.interp(position, np.arange(len(times)), times)))
    return clocks


def _way(course: Course) -> tuple[Floats, Floats]:
    """Times [N] and centres of mass [N, 2] on the route, at most :data:`MOST_STEPS`; what is not seen lies between."""
    motion = course.motion
    seen = np.flatnonzero(np.isfinite(motion.centre).all(axis=1))
    duration = max(course.stop_sec - course.start_sec, 1 / RATE_HZ)
    times = course.start_sec + np.linspace(0, duration, int(np.clip(round(duration * RATE_HZ) + 1, 2, MOST_STEPS)))
    if not len(seen):
        return times, np.zeros((len(times), 2))
    known = motion.start_sec + seen / RATE_HZ
    return times, np.stack([np.interp(times, known, axis) for axis in motion.centre[seen].T], axis=1)


def _steadied(position: Floats) -> Floats:
    """Take out the steps of warping by a moving mean, which keeps what rises rising, and both ends."""
    half = min(_STEADY_STEPS, len(position) - 1)
    padded = np.pad(position, half, mode="reflect", reflect_type="odd")
    mean = np.convolve(padded, np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")
    return np.maximum.accumulate(np.clip(mean, position[0], position[-1]))
