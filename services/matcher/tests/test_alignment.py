"""Clocks: by the start of movement, and by warping paths."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from kinemesh.task.v1 import task_pb2
from kinemesh_matcher.domain.alignment import Clock, Course, by_path, together
from kinemesh_matcher.domain.climbing import climb_of
from kinemesh_matcher.domain.motion import Motion, motion_of
from kinemesh_matcher.domain.warping import warped
from kinemesh_matcher.showing import spans

from . import climber

RATE = 30.0


def way(u: climber.Floats) -> climber.Floats:
    """A winding way up the wall, for u from 0 to 1."""
    return np.stack([0.5 + 0.1 * np.sin(6 * u), 0.9 - 0.7 * u], axis=1)


def course(points: climber.Floats, start: float = 0.0) -> Course:
    empty = np.full((len(points), 4, 2), np.nan)
    motion = Motion(start, points, empty, 0.12)
    return Course(motion, start, start + (len(points) - 1) / RATE)


@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_the_same_way_at_another_speed_is_laid_over(noise: float) -> None:
    random = np.random.default_rng(0)
    slow, fast = np.linspace(0, 1, 600), np.linspace(0, 1, 300)
    uneven = fast + 0.08 * np.sin(2 * np.pi * fast)
    one, other = (way(u) + random.normal(0, noise, (len(u), 2)) for u in (slow, uneven))
    first, second = by_path([course(one), course(other, start=1.5)])
    at = np.arange(600) / RATE
    np.testing.assert_allclose(first.source_at(at), at)
    expected = 1.5 + np.interp(slow, uneven, np.arange(300)) / RATE
    assert np.abs(second.source_at(at) - expected).max() < 2 / RATE
    assert (np.diff(second.source_at(np.linspace(-2, 30, 5000))) >= 0).all()


def test_who_gets_half_way_waits_there() -> None:
    whole, half = way(np.linspace(0, 1, 400)), way(np.linspace(0, 0.5, 200))
    _, second = by_path([course(whole), course(half)])
    at = np.arange(400) / RATE
    assert np.abs(second.source_at(at[:180]) - at[:180]).max() < 2 / RATE
    assert np.abs(second.source_at(at[220:]) - 199 / RATE).max() < 2 / RATE


def test_before_and_after_the_route_recordings_run_at_their_own_pace() -> None:
    clocks = by_path([course(way(np.linspace(0, 1, 90)), 2.0), course(way(np.linspace(0, 1, 45)), 5.0)])
    np.testing.assert_allclose(clocks[1].source_at(np.array([0.0, 1.0, 2.0])), [3, 4, 5], atol=1e-9)
    np.testing.assert_allclose(clocks[1].source_at(np.array([2 + 89 / 30, 6 + 89 / 30])), [5 + 44 / 30, 9 + 44 / 30])


def test_a_climber_who_is_not_seen_has_a_clock() -> None:
    _, second = by_path([course(way(np.linspace(0, 1, 90))), course(np.full((60, 2), np.nan))])
    assert np.isfinite(second.source_at(np.arange(90) / RATE)).all()


def test_long_ways_are_laid_over_as_well() -> None:
    u = np.linspace(0, 1, 2000)
    position = warped(way(u), way(u**1.5))
    assert np.abs(position - 1999 * u ** (1 / 1.5))[100:].max() < 10


def test_movement_starts_together_and_the_output_is_no_longer_than_the_longest() -> None:
    one, other = together([3.0, 5.5])
    np.testing.assert_allclose(one.source_at(np.array([0.0, 3])), [0, 3])
    np.testing.assert_allclose(other.source_at(np.array([0.0, 3])), [2.5, 5.5])
    np.testing.assert_allclose(other.output_at(np.array([2.5, 10])), [0, 7.5])


def test_clocks_go_both_ways() -> None:
    found = Clock(np.array([0.0, 1, 2]), np.array([5.0, 6, 8]))
    at = np.array([-1.0, 0.5, 1.5, 4])
    np.testing.assert_allclose(found.output_at(found.source_at(at)), at)


@pytest.mark.parametrize("late", [0.0, 2.0])
def test_the_start_is_seen_wherever_the_recording_begins(late: float) -> None:
    at = np.arange(round((climber.SECONDS + late) * RATE)) / RATE
    points = climber.climbing(at - late)
    seen = motion_of(at + 7, climber.visible(points, 4 / 3), 4 / 3)
    assert climb_of(seen).start_sec == pytest.approx(7 + late + climber.LEAVES_SEC, abs=0.25)


def test_windows_hold_all_frames_in_order() -> None:
    windows = [task_pb2.Window(index=i, start_sec=100 + 4 * i, stop_sec=104 + 4 * i) for i in range(3)]
    assert spans(windows, 300, Fraction(30)) == ((0, 120), (120, 240), (240, 300))
    assert spans(windows, 100, Fraction(30)) == ((0, 100), (100, 100), (100, 100))
    assert spans(windows, 500, Fraction(30)) == ((0, 120), (120, 240), (240, 500))
    assert spans(windows[:1], 7, Fraction(30)) == ((0, 7),)
