"""Standing still."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh_detect_track.domain.stops import stops

LENGTH, TALL = 400.0, 150.0
SIZE = float(np.sqrt(LENGTH * TALL))

Floats = NDArray[np.float64]


def car(times: Floats, stands: float, seconds: float, tremble: float = 0.0) -> Floats:
    """Corners of a car that brakes and leaves by three sizes per second squared."""
    away = np.maximum(np.maximum(stands - times, times - stands - seconds), 0)
    x = np.sign(times - stands) * np.where(away < 1, 0.5 * away**2, away - 0.5) * 3 * SIZE
    box = np.stack([x, np.full_like(x, 300), x + LENGTH, np.full_like(x, 300 + TALL)], axis=1)
    box += np.random.default_rng(1).normal(0, 1, box.shape) * tremble * SIZE
    return box.reshape(-1, 2, 2)


def spans(times: Floats, points: Floats) -> list[tuple[float, float]]:
    found = stops(times, points, np.full(len(times), SIZE))
    return [(float(times[first]), float(times[last])) for first, last in found]


@pytest.mark.parametrize("rate", [12.5, 25.0, 60.0])
@pytest.mark.parametrize("seconds", [0.8, 2.3, 30.0])
@pytest.mark.parametrize("tremble", [0.0, 0.01])
def test_a_pit_stop_has_its_length(rate: float, seconds: float, tremble: float) -> None:
    times = np.arange(int(45 * rate)) / rate
    ((start, end),) = spans(times, car(times, 5.0, seconds, tremble))
    assert start == pytest.approx(5, abs=0.1 + 10 * tremble + 1 / rate)
    assert end == pytest.approx(5 + seconds, abs=0.1 + 10 * tremble + 1 / rate)


def test_motion_short_stops_and_turning_points_are_none() -> None:
    times = np.arange(600) / 30
    still = np.full((600, 1, 2), 100.0)
    walk = still + times[:, None, None] * 0.2 * SIZE
    pacing = still + (np.sin(times * 1.5) * SIZE)[:, None, None]
    assert spans(times, walk) == []
    assert spans(times, pacing) == []
    assert spans(times, car(times, 5.0, 0.1)) == []
    assert spans(times, still) == [(0.0, times[-1])]


def test_whoever_walks_past_does_not_end_a_stop() -> None:
    times = np.arange(600) / 30
    points = car(times, 2.0, 15.0)
    points[200:212, 0, 0] += 0.3 * LENGTH  # hides the front for 0.4 s
    ((start, end),) = spans(times, points)
    assert end - start == pytest.approx(15, abs=0.5)


def test_stops_at_two_places_are_two() -> None:
    times = np.arange(600) / 30
    points = np.full((600, 1, 2), 100.0)
    points[300:] += 2 * SIZE
    assert spans(times, points) == [(0.0, times[299]), (times[300], times[-1])]


def test_coming_nearer_is_movement() -> None:
    times = np.arange(90) / 30
    grows = (1 + 0.5 * times)[:, None, None]
    points = np.array([[[-200.0, -75.0], [200.0, 75.0]]]) * grows
    assert stops(times, points, SIZE * grows[:, 0, 0]) == []


def test_few_rows() -> None:
    for count in range(4):
        assert stops(np.arange(count) / 30, np.zeros((count, 2, 2)), np.ones(count)) == []
    assert stops(np.array([0.0, 1.0]), np.zeros((2, 1, 2)), np.ones(2)) == [(0, 1)]
