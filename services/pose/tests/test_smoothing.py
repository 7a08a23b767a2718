"""The one-euro filter: still at rest, quick in motion, honest about time."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh.errors import InvalidArgument
from kinemesh_pose.domain.smoothing import OneEuro, one_euro, one_euro_step, smooth_landmarks, smooth_world


def test_agrees_with_the_formula_written_out() -> None:
    """A plain scalar loop over the paper's equations."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.01, 0.06, 50))
    values = rng.normal(0, 1, 50)
    options = OneEuro(min_cutoff_hz=1.2, beta=0.7)

    def alpha(cutoff: float, dt: float) -> float:
        tau = 1 / (2 * np.pi * cutoff)
        return dt / (tau + dt)

    x, dx, expected = values[0], 0.0, [values[0]]
    for i in range(1, 50):
        dt = times[i] - times[i - 1]
        a = alpha(1.0, dt)
        dx = a * (values[i] - x) / dt + (1 - a) * dx
        b = alpha(1.2 + 0.7 * abs(dx), dt)
        x = b * values[i] + (1 - b) * x
        expected.append(x)
    np.testing.assert_allclose(one_euro(times, values, options), expected, rtol=1e-12)


def test_trembling_shrinks_at_rest_and_a_fast_hand_does_not_lag() -> None:
    times = np.arange(300) / 30
    noise = np.random.default_rng(2).normal(0, 0.01, 300)
    assert one_euro(times, noise)[30:].std() < 0.6 * noise[30:].std()
    swing = 2 * np.sin(2 * np.pi * 1.0 * times)
    error = one_euro(times, swing) - swing
    assert np.sqrt(np.mean(error**2)) < 0.1 * swing.std()


def test_a_gap_starts_the_filter_anew() -> None:
    times = np.concatenate([np.arange(30), np.arange(60, 90)]) / 30
    values = np.where(times < 1.5, 0.0, 5.0)
    np.testing.assert_array_equal(one_euro(times, values), values)


def test_missing_elements_stay_missing_and_leave_others_alone() -> None:
    times = np.arange(40) / 30
    values = np.random.default_rng(3).normal(0, 1, (40, 2))
    holed = values.copy()
    holed[10:13, 0] = np.nan
    smooth, whole = one_euro(times, holed), one_euro(times, values)
    assert np.isnan(smooth[10:13, 0]).all()
    assert smooth[13, 0] == values[13, 0]
    np.testing.assert_array_equal(smooth[:, 1], whole[:, 1])


def test_elements_are_independent_and_steps_equal_the_whole() -> None:
    times = np.cumsum(np.random.default_rng(4).uniform(0.02, 0.05, 30))
    values = np.random.default_rng(5).normal(0, 1, (30, 4, 3))
    whole = one_euro(times, values)
    np.testing.assert_array_equal(whole[:, 2, 1], one_euro(times, values[:, 2, 1]))
    state = None
    for i, time in enumerate(times.tolist()):
        state = one_euro_step(state, time, values[i], OneEuro())
        np.testing.assert_array_equal(state.value, whole[i])


def test_landmarks_are_smoothed_alike_at_any_distance_and_the_scores_stay() -> None:
    rng = np.random.default_rng(6)
    times = np.arange(60) / 25
    near = rng.uniform(0.3, 0.7, (1, 33, 5)).astype(np.float32) + rng.normal(0, 0.01, (60, 33, 5)).astype(np.float32)
    far = near.copy()
    far[..., :3] /= 4
    raw = near.copy()
    smooth = smooth_landmarks(times, near, 16 / 9)
    np.testing.assert_array_equal(near, raw)
    np.testing.assert_array_equal(smooth[..., 3:], near[..., 3:])
    assert smooth.dtype == np.float32
    np.testing.assert_allclose(smooth_landmarks(times, far, 16 / 9)[..., :3] * 4, smooth[..., :3], atol=2e-6)
    assert smooth_landmarks(times[:0], near[:0], 1.0).shape == (0, 33, 5)
    assert smooth_world(times, near[..., :3]).std() < near[..., :3].std()


def test_time_must_increase() -> None:
    with pytest.raises(InvalidArgument) as error:
        one_euro(np.array([0.0, 0.1, 0.1]), np.zeros(3))
    assert error.value.reason == "TIME_NOT_INCREASING"
