"""Derivatives, smoothness and tempo of signals whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh.bodies.skeleton import Floats
from kinemesh_pose.domain.movement import signals


def sine(times: Floats, hz: float = 1.0, amplitude: float = 30.0) -> Floats:
    return 60 + amplitude * np.sin(2 * np.pi * hz * times)


def frames(kind: str, seconds: float = 10.0) -> Floats:
    """Times of a constant, a jittered and an abruptly changing frame rate."""
    if kind == "cfr":
        return np.arange(0, seconds, 1 / 30)
    if kind == "vfr":
        return np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, int(seconds / 0.04)))
    return np.concatenate([np.arange(0, seconds / 2, 1 / 25), np.arange(seconds / 2, seconds, 1 / 60)])


def minimum_jerk(rate: float, seconds: float) -> Floats:
    """Velocity [N, 1] of a minimum-jerk movement over 1 m."""
    s = np.linspace(0, 1, int(rate * seconds) + 1)
    return ((30 * s**2 - 60 * s**3 + 30 * s**4) / seconds)[:, None]


@pytest.mark.parametrize("kind", ["cfr", "vfr", "step"])
def test_speed_of_a_sine_at_any_frame_rate(kind: str) -> None:
    times = frames(kind)
    uniform = signals.resample(times, sine(times)[:, None], 0.25)
    speed = uniform.at(times, signals.velocity(uniform.values))[:, 0]
    truth = 30 * 2 * np.pi * np.cos(2 * np.pi * times)
    inside = (times > times[0] + 0.5) & (times < times[-1] - 0.5)
    np.testing.assert_allclose(speed[inside], truth[inside], atol=0.01 * np.abs(truth).max())


def test_the_low_pass_halves_power_at_its_cutoff() -> None:
    times = np.arange(0, 20, 1 / 60)
    wave = sine(times, signals.LOW_PASS_HZ, 1.0)[:, None]
    middle = signals.resample(times, wave, 0.25).values[300:-300, 0]
    assert middle.std() * np.sqrt(2) == pytest.approx(np.sqrt(0.5), rel=0.01)


def test_short_holes_are_bridged_long_ones_are_not() -> None:
    times = np.arange(0, 6, 1 / 30)
    values = np.stack([sine(times)] * 3, axis=1)
    values[(times > 1.0) & (times < 1.15), 0] = np.nan
    values[(times > 2.0) & (times < 3.0), 1] = np.nan
    values[(times > 0.1), 2] = np.nan
    uniform = signals.resample(times, values, 0.25).values
    assert not np.isnan(uniform[:, 0]).any()
    np.testing.assert_allclose(uniform[30:150, 0], sine(np.arange(30, 150) / 60), atol=0.5)
    hole = np.isnan(uniform[:, 1])
    assert hole.sum() == pytest.approx(60, abs=4)
    assert np.isnan(signals.velocity(uniform)[hole, 1]).all()
    assert np.isnan(uniform[:, 2]).all()


def test_one_sample_is_no_movement() -> None:
    uniform = signals.resample(np.array([3.0]), np.array([[1.0]]), 0.25)
    assert np.isnan(uniform.values).all()
    assert np.isnan(signals.velocity(uniform.values)).all()
    assert np.isnan(signals.tempo(uniform.values, 1.0).frequency_hz)


def test_jerk_of_a_minimum_jerk_movement_is_analytic() -> None:
    """∫ jerk² = 720 A²/T⁵ and v_peak = 15/8 A/T, so LDLJ = −ln(720 / (15/8)²) whatever A and T."""
    expected = -np.log(720 / (15 / 8) ** 2)
    for seconds, scale in ((0.5, 1.0), (1.0, 7.0), (3.0, 0.1)):
        value = signals.log_dimensionless_jerk(scale * minimum_jerk(1000, seconds), 1000)
        assert value == pytest.approx(expected, abs=0.02)


def test_sparc_of_a_smooth_movement_is_known_and_falls_with_every_stop() -> None:
    """A single minimum-jerk stroke has SPARC near −1.4 to −1.5 whatever its size and length."""
    strokes = [signals.sparc(minimum_jerk(1000, seconds)[:, 0] * 3, 1000) for seconds in (0.6, 1.0, 2.0)]
    for value in strokes:
        assert -1.55 < value < -1.35
    twice = np.concatenate([minimum_jerk(1000, 1)[:, 0]] * 2)
    four = np.concatenate([twice, twice])
    assert strokes[1] > signals.sparc(twice, 1000) > signals.sparc(four, 1000)


def test_tremor_makes_movement_less_smooth() -> None:
    times = np.arange(0, 8, 1 / 60)
    calm = np.cos(np.pi * times)[:, None]
    shaky = calm + 0.3 * np.cos(2 * np.pi * 5 * times)[:, None]
    for better, worse in zip(signals.smoothness(calm, 0.1), signals.smoothness(shaky, 0.1), strict=True):
        assert better > worse
    assert np.isnan(signals.smoothness(calm[:60], 0.1)).all()
    assert np.isnan(signals.smoothness(calm * 0.01, 0.1)).all()


@pytest.mark.parametrize("hz", [0.4, 0.77, 1.0, 1.9, 3.1])
def test_tempo_is_the_frequency(hz: float) -> None:
    times = np.arange(0, 15, 1 / 60)
    found = signals.tempo(sine(times, hz)[:, None], 10)
    assert found.frequency_hz == pytest.approx(hz, abs=0.01)
    assert found.confidence > 0.95


def test_tempo_survives_harmonics_drift_gaps_and_noise() -> None:
    times = np.arange(0, 20, 1 / 60)
    phase = 2 * np.pi * 0.8 * times
    wave = 20 * np.sin(phase) + 24 * np.sin(2 * phase + 1) + 5 * np.sin(3 * phase) + 3 * times
    wave += np.random.default_rng(0).normal(0, 3, len(times))
    wave[400:500] = np.nan
    found = signals.tempo(wave[:, None], 10)
    assert found.frequency_hz == pytest.approx(0.8, abs=0.02)
    assert found.confidence > 0.8


def test_no_rhythm_no_confidence() -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(0, 2, (1200, 3)), axis=0)
    found = signals.tempo(walk, 10)
    assert np.isnan(found.frequency_hz) or found.confidence < 0.6
    assert np.isnan(signals.tempo(sine(np.arange(0, 10, 1 / 60), 1, 2)[:, None], 10).frequency_hz)
    assert np.isnan(signals.tempo(sine(np.arange(0, 0.4, 1 / 60), 4)[:, None], 10).frequency_hz)
