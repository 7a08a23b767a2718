"""The output on its own clock: which frames there are, and who is where in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.job.v1 import parameters_pb2
from kinemesh.results.columns import joined, select
from kinemesh.results.poses import PoseRows, concatenate
from kinemesh.results.retargeted import CourseRows, HoldRows, Showing
from kinemesh.task.v1 import task_pb2
from kinemesh_matcher.attempts import Ascent, Holds
from kinemesh_matcher.domain.alignment import Clock, Course, by_path, together
from kinemesh_matcher.domain.motion import LIMBS, centres
from kinemesh_matcher.domain.transfer import at_moments

_FASTEST: Final = Fraction(60)
_FINEST: Final = 1001
_EDGE: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Everything that the output shows.

    :ivar clocks: of the attempts, in order.
    :ivar poses: ordered by frame, then attempt; see :mod:`kinemesh.results.retargeted`.
    :ivar interpolated: bool [rows of poses], filled in between other frames.
    """

    showing: Showing
    clocks: list[Clock]
    poses: PoseRows
    interpolated: NDArray[np.bool_]
    course: CourseRows
    holds: HoldRows


def shown(
    ascents: Sequence[Ascent],
    holds: Holds,
    order: parameters_pb2.RouteMatchParameters,
    windows: Sequence[task_pb2.Window],
    reference: tuple[int, int],
) -> Shown:
    """Put all attempts on one clock and look at them at the output's rate.

    :param windows: of the job, in order.
    :param reference: width and height of the reference in pixels.
    """
    rate = rate_of(order.output_frame_rate, ascents[0])
    clocks = clocks_of(ascents, order)
    ends = [
        float(clock.output_at(np.array([ascent.recording.index.duration_s]))[0])
        for ascent, clock in zip(ascents, clocks, strict=True)
    ]
    # Whoever follows the first one's path has the first one's clock, and its end.
    end = ends[0] if order.alignment == parameters_pb2.TIME_ALIGNMENT_PATH else max(ends)
    count = max(1, ceil(end * float(rate) - _EDGE))
    times = np.arange(count) / float(rate)
    parts = [_rows(ascent, clock, times) for ascent, clock in zip(ascents, clocks, strict=True)]
    poses = concatenate([part for part, _ in parts])
    interpolated = np.concatenate([flags for _, flags in parts])
    rows = np.lexsort((poses.person_id, poses.frame_index))
    poses, interpolated = poses.where(rows), interpolated[rows]
    showing = Showing(
        width=reference[0],
        height=reference[1],
        frame_rate=rate,
        names=tuple(ascent.recording.attempt.display_name for ascent in ascents),
        windows=spans(windows, count, rate),
    )
    aspect = reference[0] / reference[1]
    return Shown(
        showing,
        clocks,
        poses,
        interpolated,
        _course(poses, interpolated, aspect),
        _touches(ascents, holds, clocks, count / float(rate), aspect),
    )


def rate_of(wanted: float, first: Ascent) -> Fraction:
    """Frames per second of the output: as asked for, else the first clip's own, at most 60."""
    if wanted > 0:
        return Fraction(wanted).limit_denominator(_FINEST)
    return min(first.recording.index.frame_rate.limit_denominator(_FINEST), _FASTEST)


def clocks_of(ascents: Sequence[Ascent], order: parameters_pb2.RouteMatchParameters) -> list[Clock]:
    """The clocks of all attempts; a recording alone is shown from its first frame on."""
    if len(ascents) == 1 or order.alignment == parameters_pb2.TIME_ALIGNMENT_NONE:
        return together([0.0] * len(ascents))
    if order.alignment == parameters_pb2.TIME_ALIGNMENT_PATH:
        return by_path([Course(ascent.motion, ascent.climb.start_sec, ascent.end_sec) for ascent in ascents])
    return together([ascent.climb.start_sec if ascent.climb.leaves_ground else 0.0 for ascent in ascents])


def spans(windows: Sequence[task_pb2.Window], count: int, rate: Fraction) -> tuple[tuple[int, int], ...]:
    """First frame of every window and the one after its last: ``count`` frames in all, the rest in the last window."""
    if not windows:
        return ()
    begin = windows[0].start_sec
    stops = [min(count, max(0, ceil((window.stop_sec - begin) * float(rate) - _EDGE))) for window in windows[:-1]]
    stops = [*np.maximum.accumulate(np.array(stops, np.int64)).tolist(), count]
    return tuple(zip([0, *stops[:-1]], stops, strict=True))


def _rows(ascent: Ascent, clock: Clock, times: NDArray[np.float64]) -> tuple[PoseRows, NDArray[np.bool_]]:
    lasts = 1 / float(ascent.recording.index.frame_rate)
    found = at_moments(ascent.body, clock.source_at(times), lasts)
    rows = PoseRows(
        frame_index=found.moment.astype(np.int64),
        time_sec=times[found.moment],
        person_id=np.full(len(found.moment), ascent.number, np.int32),
        score=found.score,
        warm_up=np.zeros(len(found.moment), np.bool_),
        image=found.image,
        world=found.world,
    )
    return rows, found.interpolated


def _course(poses: PoseRows, interpolated: NDArray[np.bool_], aspect: float) -> CourseRows:
    centre = centres(poses.image, aspect)
    return CourseRows(
        poses.frame_index, poses.time_sec, poses.person_id, centre[:, 0] / aspect, centre[:, 1], interpolated
    )


def _touches(
    ascents: Sequence[Ascent], holds: Holds, clocks: Sequence[Clock], end_sec: float, aspect: float
) -> HoldRows:
    parts = []
    for ascent, clock, hold in zip(ascents, clocks, holds.of_rest, strict=True):
        rows = np.flatnonzero(hold)
        start = clock.output_at(np.array([ascent.rests[row].start_sec for row in rows]))
        stop = clock.output_at(np.array([ascent.rests[row].stop_sec for row in rows]))
        limb = np.array([ascent.rests[row].limb for row in rows], np.int64)
        middle = holds.middle[hold[rows] - 1]
        touches = HoldRows(
            attempt=np.full(len(rows), ascent.number, np.int32),
            limb=np.array(LIMBS, np.str_)[limb],
            hold=hold[rows].astype(np.int32),
            x=middle[:, 0] / aspect,
            y=middle[:, 1],
            start_sec=np.clip(start, 0, end_sec),
            stop_sec=np.clip(stop, 0, end_sec),
        )
        touches = select(touches, touches.stop_sec > touches.start_sec)
        parts.append(select(touches, np.lexsort((touches.hold, touches.limb, touches.start_sec))))
    return joined(parts)
