"""The filter and the smoother agree with the textbook's matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh_detect_track.domain.motion import Motion, corrected, predicted, smoothed, started

Floats = NDArray[np.float64]

# Standard deviations in box heights, as the module's own.
DRIFT, ACCELERATION, MEASUREMENT, START_VELOCITY = 0.05, 0.00625, 0.05, 0.0625


def transition(frames: float) -> Floats:
    return np.array([[1, frames], [0, 1]])


def noise(frames: float, height: float) -> Floats:
    return frames * height**2 * np.diag([DRIFT**2, ACCELERATION**2])


def textbook(mean: Floats, covariance: Floats, seen: float, frames: float, height: float) -> tuple[Floats, Floats]:
    """One prediction and one correction of a single coordinate, with 2×2 matrices."""
    step, look = transition(frames), np.array([[1.0, 0.0]])
    mean = step @ mean
    covariance = step @ covariance @ step.T + noise(frames, height)
    gain = covariance @ look.T / (look @ covariance @ look.T + (MEASUREMENT * height) ** 2)
    return mean + gain[:, 0] * (seen - mean[0]), (np.eye(2) - gain @ look) @ covariance


@pytest.mark.parametrize("frames", [1.0, 0.4, 3.0])
def test_a_step_is_that_of_the_kalman_filter(frames: float) -> None:
    rng = np.random.default_rng(1)
    boxes = np.column_stack([rng.uniform(0, 500, (5, 2)), rng.uniform(20, 90, (5, 2))])
    motion = started(boxes)
    seen = boxes + rng.normal(size=boxes.shape)
    height = boxes[:, 3]
    after = corrected(predicted(motion, frames), seen)
    for track in range(5):
        for number in range(4):
            h = height[track]
            start = np.diag([(2 * MEASUREMENT * h) ** 2, (START_VELOCITY * h) ** 2])
            mean, covariance = textbook(np.array([boxes[track, number], 0]), start, seen[track, number], frames, h)
            np.testing.assert_allclose([after.box[track, number], after.velocity[track, number]], mean)
            np.testing.assert_allclose(after.covariance[track, number], covariance[[0, 0, 1], [0, 1, 1]])


def test_two_half_steps_are_nearly_one_whole() -> None:
    motion = Motion(np.full((1, 4), 50.0), np.full((1, 4), 3.0), np.tile([4.0, 1.0, 2.0], (1, 4, 1)))
    once, twice = predicted(motion, 1.0), predicted(predicted(motion, 0.5), 0.5)
    np.testing.assert_allclose(twice.box, once.box)
    np.testing.assert_allclose(twice.covariance, once.covariance, rtol=0.02)


def smoother(time: Floats, values: Floats, seen: set[int]) -> Floats:
    """Rauch, Tung and Striebel's two passes over one coordinate of a box whose height is 1."""
    mean, covariance = np.array([0.0, 0.0]), np.diag([1e3, START_VELOCITY**2])
    look = np.array([[1.0, 0.0]])
    forward, ahead = [], []
    for i, value in enumerate(values):
        if i:
            step = transition(time[i] - time[i - 1])
            mean, covariance = step @ mean, step @ covariance @ step.T + noise(time[i] - time[i - 1], 1)
        ahead.append((mean, covariance))
        if i in seen:
            gain = covariance @ look.T / (look @ covariance @ look.T + MEASUREMENT**2)
            mean, covariance = mean + gain[:, 0] * (value - mean[0]), (np.eye(2) - gain @ look) @ covariance
        forward.append((mean, covariance))
    result = [forward[-1][0]]
    for i in range(len(values) - 2, -1, -1):
        mean, covariance = forward[i]
        back = covariance @ transition(time[i + 1] - time[i]).T @ np.linalg.inv(ahead[i + 1][1])
        result.append(mean + back @ (result[-1] - ahead[i + 1][0]))
    return np.array(result[::-1])[:, 0]


def test_smoothing_is_that_of_two_passes() -> None:
    rng = np.random.default_rng(2)
    time = np.cumsum(rng.uniform(0.5, 2, 60))
    seen = np.sort(np.concatenate([[0, 59], rng.choice(np.arange(1, 59), 30, replace=False)]))
    boxes = np.full((60, 4), 1.0)
    boxes[:, 0] = 0.05 * time + rng.normal(0, 0.05, 60)
    result = smoothed(time, boxes[seen], seen)
    np.testing.assert_allclose(result[:, 0], smoother(time, boxes[:, 0], set(seen.tolist())), atol=1e-5)
    np.testing.assert_allclose(result[:, 3], 1)


def test_a_single_box_stays_as_it_is() -> None:
    box = np.array([[10.0, 20.0, 30.0, 40.0]])
    np.testing.assert_allclose(smoothed(np.array([7.0]), box, np.array([0])), box)


def test_smoothing_does_not_depend_on_scale() -> None:
    rng = np.random.default_rng(3)
    boxes = rng.uniform(10, 50, (9, 4))
    seen = np.array([0, 1, 2, 5, 6, 7, 8, 11, 12])
    once = smoothed(np.arange(13.0), boxes, seen)
    np.testing.assert_allclose(smoothed(np.arange(13.0), 7 * boxes, seen), 7 * once, rtol=1e-9)
