from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from kinemesh.media import FrameIndex, Orientation
from kinemesh.nv12 import ColorMatrix
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.mosaic import clock_text
from kinemesh_render.mosaic import choose
from kinemesh_render.recorded import Recording, clock_of


def recording(name: str, start: float, frames: int, rate: int) -> Recording:
    zero = np.zeros(1, np.int64)
    stamps = 7 + np.arange(frames)
    base = Fraction(1, rate)
    index = FrameIndex(0, base, stamps, 7 + frames, zero, zero, 64, 48, Orientation(), ColorMatrix.BT709)
    return Recording(name, f"asset-{name}", start, index)


def cut(edges: list[float]) -> list[task_pb2.Window]:
    return [
        task_pb2.Window(index=number, start_sec=start, stop_sec=stop)
        for number, (start, stop) in enumerate(pairwise(edges))
    ]


@pytest.mark.parametrize(
    ("rates", "shown"), [((10, 5), 10), ((30, 10), 15), ((25, 25), 12.5), ((60, 24), 15), ((15, 1), 15)]
)
def test_the_mosaic_has_a_frame_at_every_step_or_every_few(rates: tuple[int, int], shown: float) -> None:
    clock = clock_of([recording("a", 2, 90, rates[0]), recording("b", 1, 30, rates[1])], 15)
    assert clock.rate == pytest.approx(shown)
    assert clock.moment(3) == pytest.approx(1 + 3 / shown)
    assert clock.stamp(3) == round(90_000 * 3 / shown)


@pytest.mark.parametrize("rate", [7, 10, 25, 30, 48])
def test_every_frame_lies_in_one_window(rate: int) -> None:
    clock = clock_of([recording("a", 0.3, 400, rate)], 15)
    edges = [0.3, 2.0, 3.3, 3.3 + 1 / rate, 0.3 + 400 / rate]
    frames = [frame for window in cut(edges) for frame in clock.frames_of(window, cut(edges))]
    assert frames == list(range(len(frames)))
    last = clock.moment(frames[-1])
    assert last < edges[-1] <= last + 1 / clock.rate + 1e-6


def test_the_first_and_the_last_window_reach_as_far_as_the_recordings() -> None:
    """Presentation times of files need not begin with 0, and windows are cut by these."""
    clock = clock_of([recording("a", 0, 40, 10)], 15)
    for edges, expected in (
        ([0.7, 2.7, 4.7], [range(27), range(27, 40)]),
        ([0.0, 9.0, 12.0], [range(40), range(40, 40)]),
    ):
        assert [clock.frames_of(window, cut(edges)) for window in cut(edges)] == expected


def test_cameras_show_the_frame_of_the_step_or_the_last_before_it() -> None:
    fast, slow = recording("a", 0, 20, 10), recording("b", 1, 2, 2)
    later = recording("a.2", 3, 10, 10)
    moments = [0.0, 0.1, 0.96, 1.04, 1.4, 1.5, 1.9, 1.96, 2.0, 2.96, 3.0, 3.4]
    chosen = choose([fast, later, slow], moments, 0.05)
    assert chosen[0] == (0, 1, 10, 10, 14, 15, 19, 19, -1, -1, -1, -1)
    assert chosen[1] == (-1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 4)
    assert chosen[2] == (-1, -1, 0, 0, 0, 1, 1, 1, -1, -1, -1, -1)


def test_where_recordings_meet_the_later_one_is_shown() -> None:
    chosen = choose([recording("a", 0, 10, 10), recording("a.2", 1, 10, 10)], [0.9, 0.96, 1.0], 0.05)
    assert chosen == [(9, -1, -1), (-1, 0, 0)]


def test_the_clock_tells_the_time_of_day_where_that_is_known() -> None:
    assert clock_text(62.34, None) == "1:02.3"
    assert clock_text(-0.01, None) == "0.0 s"
    assert clock_text(65, 8 * 3600) == "08:01:05"
