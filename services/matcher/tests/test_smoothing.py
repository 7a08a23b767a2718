"""Transforms of a moving camera: noise, outliers, gaps, and that their kind survives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kinemesh_matcher.domain.local_fit import local_fit
from kinemesh_matcher.domain.projective import fitted, mapped, oriented
from kinemesh_matcher.domain.smoothing import Measured, Source, Transforms, smoothed, without_noise

from .cameras import ANCHORS, FRAME, REFERENCE, Floats, hand_held, measured, off

TIME = np.arange(300) / 30


def smooth(matrix: Floats, time: Floats = TIME, affine: bool = False, **changes: Any) -> Transforms:
    count = len(time)
    given = {"sure": np.ones(count, np.bool_), "followed": np.zeros(count, np.bool_), "error": np.full(count, 0.3)}
    return smoothed(Measured(time, matrix, **{**given, **changes}), FRAME, REFERENCE[0], affine=affine)


def test_fitted_finds_a_homography_exactly() -> None:
    truth = hand_held(TIME)
    found = oriented(fitted(ANCHORS, mapped(truth, ANCHORS), affine=False), ANCHORS[-1])
    np.testing.assert_allclose(found, truth, rtol=1e-8, atol=1e-10)


def test_nothing_is_mapped_beyond_the_horizon() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]])
    assert np.isfinite(mapped(matrix, np.array([[50.0, 0]]))).all()
    assert np.isnan(mapped(matrix, np.array([[100.0, 0], [150, 0]]))).all()


def test_noise_is_less_and_motion_is_kept() -> None:
    truth = hand_held(TIME)
    noisy = measured(truth, 0.5)
    found = smooth(noisy)
    assert (found.source == Source.MEASURED).all()
    assert off(found.matrix, truth).mean() < 0.7 * off(noisy, truth).mean()
    assert off(found.matrix, truth).max() < 1.5


def test_a_trembling_hand_is_followed_where_points_are_many() -> None:
    truth = hand_held(TIME)
    truth[:, :2, 2] += np.random.default_rng(4).normal(0, 2, (len(TIME), 2))
    found = smooth(measured(truth, 0.05), error=np.full(len(TIME), 0.05))
    assert off(found.matrix, truth).mean() < 0.1


def test_a_fast_pan_does_not_lag() -> None:
    truth = np.tile(np.eye(3), (len(TIME), 1, 1))
    truth[:, 0, 2] = 0.2 * REFERENCE[0] * np.abs((TIME % 4) - 2)  # 20 % of the width per second, and back
    found = smooth(measured(truth, 0.3))
    away = mapped(found.matrix, ANCHORS) - mapped(truth, ANCHORS)
    assert np.abs(away).max() < 3  # where it turns about at once
    steady = np.abs((TIME % 2) - 1) < 0.8
    assert np.linalg.norm(away[steady], axis=2).max() < 1
    assert abs(away[steady & (TIME < 2), :, 0].mean()) < 0.05


def test_outliers_are_left_out_and_reported() -> None:
    truth = hand_held(TIME)
    noisy = measured(truth, 0.3)
    random = np.random.default_rng(2)
    wrong = np.array([0, 40, 41, 42, 100, 170, 172, 174, 299])
    for frame in wrong:
        places = mapped(noisy[frame], ANCHORS) + random.choice([-1, 1], 2) * random.uniform(30, 300, 2)
        noisy[frame] = fitted(ANCHORS, places[None], affine=False)[0]
    found = smooth(noisy)
    assert set(np.flatnonzero(found.source != Source.MEASURED)) == set(wrong)
    inside = np.ones(len(TIME), np.bool_)
    inside[[0, 299]] = False
    assert off(found.matrix, truth)[inside].max() < 1.5
    assert found.source[0] == found.source[299] == Source.HELD


def test_a_jolt_is_no_outlier() -> None:
    truth = hand_held(TIME)
    truth[150:154, 0, 2] += np.array([4.0, 9, 9, 4])
    found = smooth(measured(truth, 0.3))
    assert (found.source == Source.MEASURED).all()
    assert off(found.matrix, truth)[145:160].max() < 2.5


def test_gaps_are_bridged_up_to_a_limit() -> None:
    truth = hand_held(TIME)
    noisy = measured(truth, 0.3)
    noisy[60:75] = np.nan  # half a second
    noisy[140:215] = np.nan  # 2.5 s
    noisy[:5], noisy[-40:] = np.nan, np.nan
    found = smooth(noisy)
    assert (found.source[60:75] == Source.INTERPOLATED).all()
    assert (found.source[140:215] == Source.NONE).all()
    assert np.isnan(found.matrix[140:215]).all()
    assert (found.source[:5] == Source.HELD).all()
    assert (found.source[-40:-25] == Source.HELD).all()
    assert (found.source[-25:] == Source.NONE).all()
    assert off(found.matrix, truth)[60:75].max() < 0.005 * REFERENCE[0]
    np.testing.assert_array_equal(found.filled, np.isin(found.source, (Source.INTERPOLATED, Source.HELD)))


def test_followed_frames_are_called_so() -> None:
    followed = np.arange(len(TIME)) % 4 > 0
    found = smooth(measured(hand_held(TIME), 0.3), followed=followed)
    np.testing.assert_array_equal(found.source == Source.FOLLOWED, followed)


def test_few_and_scattered_frames_do() -> None:
    noisy = measured(hand_held(TIME), 0.3)
    noisy[np.arange(len(TIME)) % 12 > 0] = np.nan
    found = smooth(noisy)
    assert (found.source != Source.NONE).mean() > 0.95
    assert off(found.matrix, hand_held(TIME))[found.source == Source.INTERPOLATED].max() < 0.005 * REFERENCE[0]


def test_nothing_and_one_frame() -> None:
    nothing = smooth(np.full((len(TIME), 3, 3), np.nan))
    assert (nothing.source == Source.NONE).all()
    alone = np.full((len(TIME), 3, 3), np.nan)
    alone[100] = hand_held(TIME)[100]
    found = smooth(alone)
    assert (found.source[85:100] == Source.HELD).all()
    np.testing.assert_allclose(found.matrix[100], hand_held(TIME)[100], rtol=1e-6, atol=1e-8)


def test_a_rotation_stays_one() -> None:
    """Smoothing coefficient by coefficient would keep neither angles nor lengths of what turns and tilts."""
    angle = 1.5 * TIME
    truth = np.zeros((len(TIME), 3, 3))
    truth[:, 0, 0] = truth[:, 1, 1] = np.cos(angle)
    truth[:, 1, 0], truth[:, 0, 1], truth[:, 2, 2] = np.sin(angle), -np.sin(angle), 1
    # About the middle of the frame, so that nothing hides behind a shift.
    shift = np.eye(3)
    shift[:2, 2] = -ANCHORS[-1]
    truth = np.linalg.inv(shift) @ truth @ shift
    for affine in (True, False):
        found = smooth(truth, affine=affine).matrix
        linear = found[:, :2, :2]
        gram = np.swapaxes(linear, 1, 2) @ linear
        scale = np.sqrt(np.linalg.det(gram))[:, None, None]
        np.testing.assert_allclose(gram / np.sqrt(scale * scale), np.tile(np.eye(2), (len(TIME), 1, 1)), atol=1e-6)
        np.testing.assert_allclose(np.linalg.det(linear), 1, atol=1e-3)
        np.testing.assert_allclose(found[:, 2], np.tile([0, 0, 1], (len(TIME), 1)), atol=1e-8)


def test_the_reference_may_be_turned_and_scaled() -> None:
    """What is smoothed on a turned, scaled reference is what was smoothed, turned and scaled."""
    change = np.array([[0.0, -2, 700], [2, 0, 30], [0, 0, 1]])
    noisy = measured(hand_held(TIME), 0.5)
    noisy[100:110] = np.nan
    here = smooth(noisy)
    there = smoothed(
        Measured(TIME, change @ noisy, np.ones(300, np.bool_), np.zeros(300, np.bool_), np.full(300, 0.6)),
        FRAME,
        2 * REFERENCE[0],
        affine=False,
    )
    np.testing.assert_allclose(mapped(there.matrix, ANCHORS), mapped(change @ here.matrix, ANCHORS), atol=0.02)


@pytest.mark.parametrize("step", [1, 3])
def test_local_fits_keep_parabolas(step: int) -> None:
    time = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.03, 200))
    values = np.stack([1 + 2 * time, 3 - time + 0.5 * time**2], axis=1)
    found, slopes = local_fit(time, values, np.ones(200), time[::step], 0.15)
    np.testing.assert_allclose(found, values[::step], atol=1e-4)
    np.testing.assert_allclose(slopes[:, 0], 2, atol=1e-3)


def test_what_is_more_than_noise_is_kept() -> None:
    values = np.random.default_rng(0).normal(0, 0.1, (300, 2))
    values[100] += 20
    found = without_noise(TIME, values, np.ones(300), np.full(300, 0.1))
    np.testing.assert_allclose(found[100], values[100], atol=0.5)
    far = np.abs(np.arange(300) - 100) > 6
    assert found[far].std() < 0.8 * values[far].std()
