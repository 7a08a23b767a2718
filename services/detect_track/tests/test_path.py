"""Figures of a path, held against paths whose figures are known."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinemesh_detect_track.domain.path import Path, PathMetrics, measure
from kinemesh_detect_track.domain.recording import Recording

WIDTH, HEIGHT = 1280, 720
TALL = 300.0

Floats = NDArray[np.float64]


def recording(seconds: float, rate: float, start: float = 0.0) -> Recording:
    times = start + np.arange(round(seconds * rate)) / rate
    return Recording(times, start + seconds, WIDTH, HEIGHT)


def uneven(seconds: float, seed: int) -> Recording:
    """Frames 10 to 70 ms apart."""
    steps = np.random.default_rng(seed).uniform(0.01, 0.07, int(seconds / 0.01))
    times = np.cumsum(steps) - steps[0]
    return Recording(times[times < seconds], seconds, WIDTH, HEIGHT)


def path(centre: Floats, seen: NDArray[np.bool_] | None = None, tremble: float = 0.0, seed: int = 0) -> Path:
    """Boxes 100 by :data:`TALL` pixels around the centres [F, 2], whose edges tremble."""
    half = np.array([50, TALL / 2])
    box = np.concatenate([centre - half, centre + half], axis=1)
    box += np.random.default_rng(seed).normal(0, 1, box.shape) * tremble
    return Path(np.arange(len(centre)), box, np.ones(len(centre), bool) if seen is None else seen)


def standing(video: Recording) -> Floats:
    return np.tile([600.0, 400.0], (len(video.times), 1))


def walking(video: Recording, speed: float) -> Floats:
    """To the right and down by ``speed`` widths per second."""
    way = (video.times - video.times[0]) * speed * WIDTH
    return np.stack([100 + 0.8 * way, 200 + 0.6 * way], axis=1)


def figures(metrics: PathMetrics) -> list[float]:
    numbers = [getattr(metrics, each.name) for each in fields(metrics)]
    return [float(number) for number in numbers if not isinstance(number, np.ndarray)]


@pytest.mark.parametrize("rate", [10, 25, 60])
@pytest.mark.parametrize("tremble", [0.0, 0.01, 0.02])
def test_standing_still_is_rest_however_the_detector_trembles(rate: float, tremble: float) -> None:
    video = recording(60, rate)
    found = measure(path(standing(video), tremble=tremble * TALL), video)
    assert found.total_distance < 0.02
    assert found.rest_sec == pytest.approx(60, abs=0.5)
    assert found.coverage_percent == 100
    assert found.gaps_count == 0
    assert found.max_speed < 0.1
    assert (found.speed_profile >= 0).all()


@given(seed=st.integers(0, 1000), speed=st.floats(0.05, 0.3))
@settings(max_examples=30, deadline=None)
def test_uniform_motion_has_its_exact_length_at_any_frame_rate(seed: int, speed: float) -> None:
    video = uneven(6, seed)
    found = measure(path(walking(video, speed)), video)
    lasted = video.times[-1] - video.times[0]
    assert found.total_distance == pytest.approx(speed * lasted, rel=1e-9)
    assert found.mean_speed == pytest.approx(speed, rel=1e-9)
    assert found.max_speed == pytest.approx(speed, rel=1e-6)
    assert found.speed_profile == pytest.approx(np.full(6, speed), rel=1e-6)
    assert found.jitter == pytest.approx(0, abs=1e-6)


def test_motion_trembles_without_getting_much_longer() -> None:
    video = recording(20, 30)
    found = measure(path(walking(video, 0.03), tremble=0.01 * TALL), video)
    assert found.total_distance == pytest.approx(0.6, rel=0.05)
    assert found.jitter > 0.1


@given(seed=st.integers(0, 1000), scale=st.integers(2, 5), later=st.floats(0, 1000))
@settings(max_examples=30, deadline=None)
def test_neither_resolution_nor_the_clock_nor_a_mirror_matters(seed: int, scale: int, later: float) -> None:
    rng = np.random.default_rng(seed)
    video = uneven(5, seed)
    centre = np.array([640.0, 360.0]) + np.cumsum(rng.normal(0, 8, (len(video.times), 2)), axis=0)
    seen = rng.random(len(centre)) < 0.8
    one = path(centre, seen)
    found = measure(one, video)

    larger = Recording(video.times, video.end_sec, WIDTH * scale, HEIGHT * scale)
    enlarged = measure(Path(one.frame, one.box * scale, seen), larger)
    assert figures(enlarged) == pytest.approx(figures(found))
    assert enlarged.heat_map == pytest.approx(found.heat_map)

    shifted = Recording(video.times + later, video.end_sec + later, WIDTH, HEIGHT)
    assert figures(measure(one, shifted)) == pytest.approx(figures(found), rel=1e-4, abs=1e-6)

    box = one.box.copy()
    box[:, [0, 2]] = WIDTH - box[:, [2, 0]]
    mirrored = measure(Path(one.frame, box, seen), video)
    assert figures(mirrored) == pytest.approx(figures(found))
    assert mirrored.speed_profile == pytest.approx(found.speed_profile)


def test_a_gap_is_neither_rest_nor_motion() -> None:
    video = recording(30, 10)
    centre = standing(video)
    centre[200:] += (400, 0)
    seen = np.ones(300, bool)
    seen[100:200] = False  # away for 10 s, back elsewhere; the boxes in between were filled in
    found = measure(path(centre, seen), video)
    assert found.coverage_percent == pytest.approx(200 / 3)
    assert found.gaps_count == 1
    assert found.longest_gap_sec == pytest.approx(10)
    assert found.rest_sec == pytest.approx(19.8)
    assert found.total_distance == pytest.approx(0, abs=1e-9)
    assert found.speed_profile[10:20].tolist() == [-1] * 10
    assert found.speed_profile[20:] == pytest.approx(np.zeros(10), abs=1e-9)
    assert (found.speed_profile[:10] >= 0).all()
    assert found.heat_map.sum() == pytest.approx(20)


def test_absence_at_the_ends_is_no_gap() -> None:
    video = recording(10, 10)
    seen = np.zeros(100, bool)
    seen[30:60] = True
    found = measure(path(standing(video), seen), video)
    assert (found.gaps_count, found.longest_gap_sec, found.coverage_percent) == (0, 0, 30)


def test_single_missed_frames_are_gaps_but_do_not_hide_motion_and_rest() -> None:
    video = recording(10, 30)
    seen = np.arange(300) % 5 != 3
    still = measure(path(standing(video), seen), video)
    assert still.gaps_count == 60
    assert still.longest_gap_sec == pytest.approx(1 / 30)
    assert still.rest_sec == pytest.approx(video.times[299])
    walked = measure(path(walking(video, 0.08), seen), video)
    assert walked.total_distance == pytest.approx(0.08 * video.times[299])


def test_what_was_filled_in_counts_as_not_seen() -> None:
    video = recording(5, 30)
    filled = measure(path(walking(video, 0.1), np.zeros(150, bool)), video)
    nothing = measure(Path(np.empty(0, np.int64), np.empty((0, 4)), np.empty(0, bool)), video)
    for found in (filled, nothing):
        assert figures(found) == [0] * 8
        assert found.speed_profile.tolist() == [-1] * 5
        assert found.heat_map.shape == (18, 32)
        assert not found.heat_map.any()


def test_one_frame_covers_and_warms_but_does_not_move() -> None:
    video = recording(2, 10)
    one = path(standing(video))
    found = measure(Path(np.array([7]), one.box[7:8], np.array([True])), video)
    assert figures(found) == [5, 0, 0, 0, 0, 0, 0, 0]
    assert found.speed_profile.tolist() == [-1, -1]
    assert found.heat_map.sum() == pytest.approx(0.1)
    assert found.heat_map[10, 15] > 0
    alone = Recording(np.array([3.5]), 3.54, WIDTH, HEIGHT)
    assert measure(Path(np.array([0]), one.box[:1], np.array([True])), alone).coverage_percent == 100


def test_going_and_standing_are_told_apart() -> None:
    video = recording(30, 30)
    centre = standing(video)
    centre[:, 0] = 200 + np.clip(video.times - 10, 0, 5) * 0.1 * WIDTH  # from 10 s to 15 s
    found = measure(path(centre, tremble=2.0), video)
    assert found.total_distance == pytest.approx(0.5, rel=0.05)
    assert found.rest_sec == pytest.approx(25, abs=0.6)
    assert found.speed_profile[11:14] == pytest.approx(np.full(3, 0.1), rel=0.1)
    assert (found.speed_profile[:9] < 0.01).all()


def test_cutting_a_recording_adds_up() -> None:
    video = recording(20, 30)
    centre = standing(video)
    centre[:, 0] += 300 * np.sin(video.times / 3)
    whole = measure(path(centre), video)
    first = Recording(video.times[:300], 10.0, WIDTH, HEIGHT)
    second = Recording(video.times[300:], 20.0, WIDTH, HEIGHT)
    parts = [measure(path(centre[:300]), first), measure(path(centre[300:]), second)]
    assert sum(part.total_distance for part in parts) == pytest.approx(whole.total_distance, rel=0.02)
    assert parts[0].heat_map + parts[1].heat_map == pytest.approx(whole.heat_map)
    cut = np.concatenate([part.speed_profile for part in parts])
    assert cut == pytest.approx(whole.speed_profile, abs=0.02)


def test_the_heat_map_counts_time_not_frames() -> None:
    times = np.concatenate([np.arange(100) / 100, 1 + np.arange(10) / 10])  # 1 s at 100/s, 1 s at 10/s
    video = Recording(times, 2.0, WIDTH, HEIGHT)
    centre = np.where(np.arange(110)[:, None] < 100, (20.0, 20.0), (1270.0, 710.0))
    found = measure(path(centre), video)
    assert found.heat_map[0, 0] == pytest.approx(1)
    assert found.heat_map[17, 31] == pytest.approx(1)


@pytest.mark.parametrize("rate", [12.5, 30, 60])
def test_jitter_does_not_grow_with_the_frame_rate(rate: float) -> None:
    video = recording(40, rate)
    found = measure(path(standing(video), tremble=3.0), video)
    expected = (
        np.sqrt(2 * 6 / 2) * 3.0 / WIDTH / 0.1**2
    )  # white: second differences of the mean of two edges, on two axes
    assert found.jitter == pytest.approx(expected, rel=0.35)


def test_jitter_of_a_circle_is_its_acceleration() -> None:
    video = recording(20, 30)
    turn = 2 * np.pi * video.times / 5
    centre = 640 + 200 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    found = measure(path(centre), video)
    assert found.jitter == pytest.approx(200 / WIDTH * (2 * np.pi / 5) ** 2, rel=0.02)
    assert found.total_distance == pytest.approx(4 * 2 * np.pi * 200 / WIDTH, rel=0.05)
