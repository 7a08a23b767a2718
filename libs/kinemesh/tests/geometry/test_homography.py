from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemesh.errors import InvalidArgument
from kinemesh.geometry.homography import (
    Floats,
    agreement,
    apply,
    checked,
    condition,
    covariances,
    fit,
    in_front,
    inverse,
    jacobians,
)

# A camera 5 m above a floor of 20 × 10 m, in a picture of 1280 × 720.
IMAGE = np.array([[200.0, 300], [1080, 300], [1270, 700], [10, 700]])
FLOOR = np.array([[0.0, 10], [20, 10], [15, 0], [5, 0]])
SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


@pytest.fixture(scope="module")
def camera() -> Floats:
    return fit(IMAGE, FLOOR)


def test_four_points_are_met(camera: Floats) -> None:
    found = agreement(camera, IMAGE, FLOOR)
    assert found.errors.max() < 1e-9
    assert found.errors_px.max() < 1e-6


def test_a_round_trip_is_exact(camera: Floats) -> None:
    floor = np.random.default_rng(1).uniform((5, 0), (15, 10), (200, 2))
    assert np.abs(apply(camera, apply(inverse(camera), floor)) - floor).max() < 1e-9


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_many_noisy_points_are_met_on_average(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    truth = fit(IMAGE, FLOOR)
    image = np.concatenate([IMAGE, random.uniform((100, 320), (1180, 690), (count, 2))])
    found = fit(image + random.normal(0, 0.5, image.shape), apply(truth, image))
    assert agreement(found, image, apply(truth, image)).errors_px.mean() < 2.0


def test_the_scale_of_a_matrix_and_its_sign_do_not_matter(camera: Floats) -> None:
    for scale in (7.0, -0.01):
        again = checked(camera * scale, IMAGE)
        np.testing.assert_allclose(apply(again, IMAGE), FLOOR, atol=1e-9)
        assert in_front(again, IMAGE).all()


def test_points_beyond_the_horizon_are_not_in_front(camera: Floats) -> None:
    assert not in_front(camera, np.array([[640.0, -400]])).any()


def test_derivatives_are_those_of_small_steps(camera: Floats) -> None:
    points = np.random.default_rng(2).uniform((200, 320), (1000, 690), (20, 2))
    small = 1e-4
    for axis, step in enumerate(np.eye(2) * small):
        slope = (apply(camera, points + step) - apply(camera, points - step)) / (2 * small)
        np.testing.assert_allclose(jacobians(camera, points)[:, :, axis], slope, rtol=1e-5, atol=1e-9)


def test_covariances_are_those_of_many_trials(camera: Floats) -> None:
    point, pixels = np.array([[640.0, 500]]), np.array([[[9.0, 2], [2, 4]]])
    trials = np.random.default_rng(3).multivariate_normal(point[0], pixels[0], 200_000)
    np.testing.assert_allclose(covariances(camera, point, pixels)[0], np.cov(apply(camera, trials).T), rtol=0.05)


def test_far_away_a_pixel_is_worth_more_metres(camera: Floats) -> None:
    near, far = covariances(camera, np.array([[640.0, 690], [640, 310]]), np.tile(np.eye(2), (2, 1, 1)))
    assert np.trace(far) > 4 * np.trace(near)


@pytest.mark.parametrize(
    ("image", "target", "reason"),
    [
        (SQUARE[:3], SQUARE[:3], "TOO_FEW_POINTS"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "TOO_FEW_POINTS"),
        (SQUARE, SQUARE[:3], "POINTS_MISMATCH"),
        (np.array([[0.0, 0], [1, 1], [2, 2], [3, 3]]), SQUARE, "POINTS_DEGENERATE"),
        (np.array([[0.0, 0], [1, 1], [2, 2], [3, 0]]), SQUARE, "POINTS_DEGENERATE"),
        (SQUARE, np.array([[0.0, 0], [0, 0], [2, 2], [3, 0]]), "POINTS_DEGENERATE"),
        (np.full((4, 2), 5.0), SQUARE, "POINTS_DEGENERATE"),
        (np.array([[0.0, 0], [0, 1], [1, 0], [1, np.nan]]), SQUARE, "POINTS_INVALID"),
        (SQUARE, np.array([[0.0, 0], [0, 1], [1, 0], [1, np.inf]]), "POINTS_INVALID"),
        (SQUARE, SQUARE[[0, 2, 1, 3]], "POINTS_INCONSISTENT"),
    ],
)
def test_points_that_determine_nothing_are_refused(image: Floats, target: Floats, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        fit(image, target)
    assert refused.value.reason == reason


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.ones((3, 3)), np.full((3, 3), np.nan), np.diag([1.0, 0, 1])])
def test_a_matrix_that_flattens_the_picture_is_refused(matrix: Floats) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked(matrix, IMAGE)
    assert refused.value.reason == "MATRIX_SINGULAR"
    assert condition(matrix, IMAGE) > 1e12
