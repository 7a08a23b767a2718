"""Bodies put onto the reference, and looked up between frames."""

from __future__ import annotations

import numpy as np

from kinemesh_matcher.domain.projective import mapped
from kinemesh_matcher.domain.transfer import Body, at_moments, transferred

from . import climber
from .cameras import FRAME, REFERENCE, hand_held

ASPECT = REFERENCE[0] / REFERENCE[1]


def body(frames: list[int], filled: tuple[int, ...] = ()) -> Body:
    """A body that goes right by a tenth of the reference per second, at ten frames per second."""
    index = np.array(frames, np.int64)
    image = climber.visible(np.tile(climber.climbing(np.zeros(1)), (len(frames), 1, 1)), ASPECT)
    image[..., 0] = (index / 100)[:, None]
    score, world = np.full(len(frames), 0.5, np.float32), np.zeros((len(frames), 33, 3), np.float32)
    return Body(index, index / 10, image, world, score, np.isin(index, filled))


def test_landmarks_go_where_the_transform_says() -> None:
    time = np.arange(20) / 10
    matrix = hand_held(time)
    image = climber.visible(climber.climbing(time), FRAME[0] / FRAME[1])
    image[..., 2] = 0.25
    moved, shown = transferred(image, matrix, FRAME, REFERENCE)
    assert shown.all()
    expected = mapped(matrix, image[..., :2].astype(np.float64) * FRAME) / REFERENCE
    np.testing.assert_allclose(moved[..., :2], expected, atol=1e-6)
    np.testing.assert_array_equal(moved[..., 2:], image[..., 2:])


def test_bodies_beyond_the_horizon_or_far_off_or_without_a_transform_are_not_shown() -> None:
    image = climber.visible(climber.climbing(np.zeros(4)), FRAME[0] / FRAME[1])
    matrix = np.tile(np.eye(3), (4, 1, 1))
    matrix[1, 2, 1] = -1.1 / FRAME[1]  # the feet are where the plane ends
    matrix[2, 0, 2] = 4.5 * REFERENCE[0]
    matrix[3] = np.nan
    assert transferred(image, matrix, FRAME, REFERENCE)[1].tolist() == [True, False, False, False]


def test_moments_between_frames_are_linear() -> None:
    found = at_moments(body([0, 1, 2, 3]), np.array([0.0, 0.05, 0.1, 0.225, 0.3]), 0.1)
    assert found.moment.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found.image[:, 0, 0], [0, 0.005, 0.01, 0.0225, 0.03], atol=1e-7)
    assert not found.interpolated.any()


def test_short_gaps_are_filled_and_said_and_long_ones_are_not() -> None:
    found = at_moments(body([0, 1, 6, 12]), np.array([0.1, 0.3, 0.6, 0.9, 1.2]), 0.1)
    assert found.moment.tolist() == [0, 1, 2, 4]
    assert found.interpolated.tolist() == [False, True, False, False]
    np.testing.assert_allclose(found.image[1, 0, 0], 0.03, atol=1e-7)


def test_filled_transforms_are_said_where_they_have_a_share() -> None:
    found = at_moments(body([0, 1, 2, 3], filled=(2,)), np.array([0.0, 0.1, 0.15, 0.2, 0.25, 0.3]), 0.1)
    assert found.interpolated.tolist() == [False, False, True, True, True, False]


def test_the_last_frame_lasts_and_nothing_is_before_the_first() -> None:
    found = at_moments(body([2, 3]), np.array([0.1, 0.19, 0.2, 0.3, 0.39, 0.41]), 0.1)
    assert found.moment.tolist() == [2, 3, 4]
    np.testing.assert_allclose(found.image[2, 0, 0], 0.03, atol=1e-7)


def test_nobody_is_at_no_moment() -> None:
    assert len(at_moments(body([]), np.arange(5.0), 0.1).moment) == 0
