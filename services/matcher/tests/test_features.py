"""Features of pictures, large and small, smooth and masked."""

from __future__ import annotations

from dataclasses import fields

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from kinemesh_matcher import features_parquet
from kinemesh_matcher.domain.features import WORKING_SIDE, Features, detect, grey_of, no_features, roots

from . import walls

LARGE = (4000, 200)


@pytest.fixture(scope="module")
def large() -> walls.Grey:
    """Blobs of two sizes on an even ground: the small ones are seen at full size only."""
    random = np.random.default_rng(4)
    picture = np.full(LARGE[::-1], 120, np.uint8)
    for number, (x, y) in enumerate(places()):
        radius, shade = (10, 210) if number % 2 else (2, 20)
        cv2.circle(picture, (x, y), radius, shade + int(random.integers(0, 30)), -1, cv2.LINE_AA)
    return picture


def places() -> list[tuple[int, int]]:
    return [(x, y) for x in range(40, LARGE[0], 60) for y in range(40, LARGE[1], 60)]


def assert_equal(one: Features, other: Features) -> None:
    for field in fields(Features):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def test_they_come_strongest_first_and_no_more_than_asked_for() -> None:
    found = detect(grey_of(walls.wall(1)), 500)
    assert len(found) == 500
    assert (np.diff(found.response) <= 0).all()
    assert (found.points.shape, found.descriptors.shape) == ((500, 2), (500, 128))
    assert [str(getattr(found, field.name).dtype) for field in fields(Features)] == ["float32"] * 4 + ["uint8"]
    assert (found.points >= 0).all()
    assert (found.points < walls.SIZE).all()


def test_the_same_picture_gives_the_same_bytes() -> None:
    grey = grey_of(walls.wall(2))
    masks = [(100.0, 100.0, 300.0, 400.0)]
    assert features_parquet.to_bytes(detect(grey, 800, masks)) == features_parquet.to_bytes(detect(grey, 800, masks))


def test_a_larger_level_adds_only_what_is_too_small_for_the_one_before() -> None:
    grey = grey_of(walls.wall(11, (4000, 100)))
    coarse, whole = detect(grey, 2000, levels=1), detect(grey, 2000)
    count = len(coarse)
    assert len(whole) > count > 0
    assert_equal(whole.where(np.arange(len(whole)) < count), coarse)
    assert whole.size[count:].max() < coarse.size.min()


def test_on_every_level_they_lie_where_the_picture_has_them(large: walls.Grey) -> None:
    found = detect(large, 2000)
    coarse = len(detect(large, 2000, levels=1))
    away, which = cKDTree(np.array(places())).query(found.points)
    small = which % 2 == 0
    # A blob's own feature is about as large as the blob.
    own = np.where(small, found.size < 5, (found.size > 10) & (found.size < 30)) & (away < 3)
    finer = np.arange(len(found)) >= coarse
    assert (own & finer).sum() > 50
    assert (own & ~finer).sum() > 50
    for level in (own & finer, own & ~finer):
        centres = np.array(places())[which[level]]
        # Half a pixel too far to one side would show in the mean.
        np.testing.assert_allclose((found.points[level] - centres).mean(axis=0), 0, atol=0.1)
        assert np.median(away[level]) < 0.25


def test_a_picture_of_the_working_size_has_one_level() -> None:
    grey = grey_of(walls.wall(3, (WORKING_SIDE, 200)))
    assert_equal(detect(grey, 700), detect(grey, 700, levels=1))


def test_nothing_is_found_in_masks() -> None:
    masks = [(-50.0, 100.0, 200.0, 300.0), (500.0, 400.0, 900.0, 1e9)]
    found = detect(grey_of(walls.wall(4)), 600, masks)
    assert len(found) > 300
    x, y = found.points.T
    for x1, y1, x2, y2 in masks:
        assert not ((x > x1) & (x < x2) & (y > y1) & (y < y2)).any()


def test_masks_of_large_pictures_are_in_their_pixels(large: walls.Grey) -> None:
    mask = (900.0, 0.0, 2900.0, 200.0)
    x = detect(large, 2000, [mask]).points[:, 0]
    assert not ((x > mask[0]) & (x < mask[2])).any()
    assert (x < mask[0]).any()
    assert (x > mask[2]).any()


def test_a_mask_covers_the_pixels_of_its_corners_too(large: walls.Grey) -> None:
    x, y = places()[1]
    grey = np.ascontiguousarray(large[:, :400])
    for mask, count in (((x, y, x, y), 0), ((x + 2, y + 2, x + 2, y + 2), 1)):
        found = detect(grey, 500, [mask])
        own = (np.abs(found.points - (x, y)) < 0.4).all(axis=1) & (found.size > 10)
        assert min(int(own.sum()), 1) == count


def test_masks_that_lie_outside_take_nothing_away() -> None:
    grey = grey_of(walls.wall(5, (200, 150), (4, 9)))
    assert_equal(detect(grey, 200, [(-90.0, 0.0, -5.0, 150.0), (300.0, 0.0, 400.0, 150.0)]), detect(grey, 200))


@pytest.mark.parametrize("far", [1e9, 3.4e38, 1e42])
def test_masks_may_reach_as_far_as_numbers_do(far: float) -> None:
    assert len(detect(grey_of(walls.wall(5, (200, 150))), 200, [(-far, -far, far, far)])) == 0


def test_somebody_in_check_does_not_use_up_the_features() -> None:
    wall = walls.wall(6, grains=(20, 40, 80), contrast=12)
    free = len(detect(grey_of(wall), 300, [(0, 0, 325, 480)]))
    wall[:, :320] = walls.wall(7, (320, 480), (4, 7), contrast=80)
    masked = detect(grey_of(wall), 300, [(0, 0, 325, 480)])
    assert len(masked) >= 0.9 * free > 50
    assert (masked.points[:, 0] > 324).all()
    assert (np.diff(masked.response) <= 0).all()


def test_a_smooth_wall_is_looked_at_more_closely() -> None:
    grey = grey_of(walls.wall(8, contrast=4))
    usual = cv2.SIFT.create(1000, contrastThreshold=0.02, enable_precise_upscale=True)
    assert len(usual.detect(grey, None)) < 20
    assert len(detect(grey, 1000)) > 300


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3), (16, 16), (1, 5000), (5000, 2)])
def test_tiny_pictures_have_none(shape: tuple[int, int]) -> None:
    assert len(detect(np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8))) == 0


def test_an_even_picture_has_none() -> None:
    assert_equal(detect(np.full((300, 400), 128, np.uint8)), no_features())


def test_looks_have_length_one() -> None:
    found = detect(grey_of(walls.wall(9)), 100)
    np.testing.assert_allclose(np.linalg.norm(roots(found.descriptors), axis=1), 1, atol=1e-6)
    assert not np.isnan(roots(np.zeros((1, 128), np.uint8))).any()


def test_parquet_keeps_every_bit() -> None:
    found = detect(grey_of(walls.wall(10)), 150)
    assert_equal(features_parquet.from_bytes(features_parquet.to_bytes(found)), found)
    assert_equal(features_parquet.from_bytes(features_parquet.to_bytes(no_features())), no_features())
