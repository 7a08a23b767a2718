"""Where people are in a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinemesh_matcher.domain.masks import boxes_of


def bodies(*places: tuple[float, float], visibility: float = 0.9) -> NDArray[np.float32]:
    """One body whose landmarks all lie at the first place, but for the last ones."""
    rows = np.zeros((1, 33, 5), np.float32)
    rows[..., :2], rows[..., 3] = places[0], visibility
    for number, place in enumerate(places[1:], 1):
        rows[0, -number, :2] = place
    return rows


def test_a_box_is_larger_than_its_landmarks_by_a_share_of_the_longer_side() -> None:
    np.testing.assert_allclose(boxes_of(bodies((0.25, 0.25), (0.5, 0.75)), 400, 800), [(52, 152, 248, 648)], atol=1e-3)


def test_what_is_hardly_visible_does_not_count() -> None:
    body = bodies((0.25, 0.25), (0.5, 0.5), (9.0, 9.0))
    body[0, -2, 3] = 0.29
    np.testing.assert_allclose(boxes_of(body, 100, 100), [(22, 22, 53, 53)], atol=1e-3)


def test_all_count_of_a_body_that_is_hardly_visible_at_all() -> None:
    body = bodies((0.25, 0.25), (0.5, 0.5), visibility=0.1)
    np.testing.assert_allclose(boxes_of(body, 100, 100), [(22, 22, 53, 53)], atol=1e-3)


def test_one_box_per_body_also_of_none() -> None:
    both = np.concatenate([bodies((0.1, 0.1), (0.2, 0.2)), bodies((0.6, 0.6), (0.7, 0.7))])
    np.testing.assert_allclose(boxes_of(both, 100, 100)[:, 0], (8.8, 58.8), atol=1e-3)
    assert boxes_of(both[:0], 100, 100).shape == (0, 4)


def test_landmarks_without_presence_do() -> None:
    np.testing.assert_array_equal(
        boxes_of(bodies((0.2, 0.3), (0.4, 0.5))[..., :4], 64, 48), boxes_of(bodies((0.2, 0.3), (0.4, 0.5)), 64, 48)
    )
