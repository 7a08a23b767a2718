"""One transform for a clip."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh_matcher.domain.common_transform import agreeing_frames, common_transform
from kinemesh_matcher.domain.projective import mapped

from .cameras import FRAME, REFERENCE, Floats, off

AFFINE = np.array([[0.9, 0.1, 40.0], [-0.08, 1.05, 60], [0, 0, 1]])
TILTED = np.array([[0.9, 0.1, 40.0], [-0.08, 1.05, 60], [1e-4, -5e-5, 1]])


def pairs(matrix: Floats, count: int, wrong: int, seed: int = 0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    points = random.uniform(0, 1, (count, 2)) * FRAME
    images = mapped(matrix, points) + random.normal(0, 0.7, (count, 2))
    images[:wrong] = random.uniform(0, 1, (wrong, 2)) * REFERENCE
    return points, images


@pytest.mark.parametrize(("truth", "affine"), [(AFFINE, True), (AFFINE, False), (TILTED, False)])
def test_it_is_found_among_outliers(truth: Floats, affine: bool) -> None:
    points, images = pairs(truth, 600, 300)
    found = common_transform(points, images, FRAME, REFERENCE[0], affine=affine)
    assert found is not None
    assert off(found.matrix[None], truth[None])[0] < 0.3
    assert 290 <= found.inliers <= 315
    assert 0.8 < found.coverage <= 1
    again = common_transform(points, images, FRAME, REFERENCE[0], affine=affine)
    assert again is not None
    np.testing.assert_array_equal(found.matrix, again.matrix)


def test_chance_is_no_transform() -> None:
    random = np.random.default_rng(5)
    points, images = random.uniform(0, 1, (200, 2)) * FRAME, random.uniform(0, 1, (200, 2)) * REFERENCE
    assert common_transform(points, images, FRAME, REFERENCE[0], affine=True) is None
    assert common_transform(points, images, FRAME, REFERENCE[0], affine=False) is None


def test_points_on_a_line_a_mirror_and_a_few_points_are_no_transform() -> None:
    points = np.stack([np.linspace(0, 600, 50), np.full(50, 100.0)], axis=1)
    assert common_transform(points, points + 5, FRAME, REFERENCE[0], affine=True) is None
    points, images = pairs(AFFINE, 100, 0)
    mirrored = images * [-1, 1] + [REFERENCE[0], 0]
    assert common_transform(points, mirrored, FRAME, REFERENCE[0], affine=True) is None
    assert common_transform(points[:11], images[:11], FRAME, REFERENCE[0], affine=True) is None


def test_frames_agree_by_most_of_their_points() -> None:
    points, images = pairs(AFFINE, 90, 0)
    frames = np.repeat([4, 9, 12], 30)
    images[frames == 9] += 40
    images[:10] += 100  # a third of the first frame's
    assert agreeing_frames(frames, points, images, AFFINE, REFERENCE[0]).tolist() == [4, 12]
