"""Clips of a moving camera placed on a wall, frame after frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import pytest

from kinemesh.geometry.homography import inverse
from kinemesh.results.matches import Verdict
from kinemesh.testing import climbs
from kinemesh_matcher.domain.features import grey_of
from kinemesh_matcher.domain.fitting import Model
from kinemesh_matcher.domain.following import (
    ANCHOR_EVERY,
    BLURRED,
    LOST,
    Anchor,
    Box,
    Placed,
    follow,
    place,
    sharpness,
)
from kinemesh_matcher.domain.matching import NOT_ENOUGH_FEATURES, NOT_ENOUGH_MATCHES, Side

from . import walls
from .walls import Floats, Grey

WALL: Final = (900, 700)
SIZE: Final = (640, 480)
FRAMES: Final = 41
_FEATURES: Final = 1200


@pytest.fixture(scope="module")
def reference() -> Side:
    return walls.side(walls.wall(1, WALL), 2000)


def clip(frames: int = FRAMES, blurred: Collection[int] = (), occluded: Collection[int] = ()) -> list[Grey]:
    shown = climbs.climb(walls.wall(1, WALL), walls.person(), frames, SIZE, blurred=blurred, occluded=occluded)
    return [grey_of(image) for image in shown]


def truth(number: int) -> Floats:
    return inverse(climbs.camera(number / climbs.RATE, WALL, SIZE))


def mask(number: int, frames: int = FRAMES) -> list[Box]:
    """The box of who climbs, in the frame."""
    progress = number / max(frames - 1, 1)
    risen = min(progress / 0.4, 1.0) / 2 + max((progress - 0.6) / 0.4, 0.0) / 2
    x, y, tall = WALL[0] * 0.5, WALL[1] * (0.62 - 0.24 * risen), WALL[1] * 0.36
    corners = [(x + across * tall / 4, y + along * tall / 2, 1) for across in (-1, 1) for along in (-1, 1)]
    seen = np.array(corners) @ climbs.camera(number / climbs.RATE, WALL, SIZE).T
    (x1, y1), (x2, y2) = (each(seen[:, :2] / seen[:, 2:], axis=0).tolist() for each in (np.min, np.max))
    return [(x1 - 8, y1 - 8, x2 + 8, y2 + 8)]


def walk(frames: Sequence[Grey], reference: Side, first: int = 0, model: Model = Model.HOMOGRAPHY) -> dict[int, Placed]:
    before: Anchor | None = None
    placed = {}
    for number in range(first, len(frames)):
        placed[number] = place(frames[number], number, mask(number, len(frames)), before, reference, model, _FEATURES)
        before = placed[number].anchor
    return placed


def error(placed: Placed, number: int) -> float:
    assert placed.match.matrix is not None
    return walls.off(placed.match.matrix, truth(number), SIZE)


def assert_same(one: Placed, other: Placed) -> None:
    assert repr(one.match.quality) == repr(other.match.quality)  # NaN equals itself so
    assert (one.match.matrix is None) == (other.match.matrix is None)
    if one.match.matrix is not None and other.match.matrix is not None:
        assert one.match.matrix.tobytes() == other.match.matrix.tobytes()
    np.testing.assert_array_equal(one.match.image, other.match.image)


@pytest.fixture(scope="module")
def frames() -> list[Grey]:
    return clip()


@pytest.fixture(scope="module")
def placed(frames: list[Grey], reference: Side) -> dict[int, Placed]:
    return walk(frames, reference)


def test_every_frame_lies_where_the_camera_has_it(placed: dict[int, Placed]) -> None:
    assert sorted(placed) == list(range(FRAMES))
    assert {found.match.quality.verdict for found in placed.values()} == {Verdict.MATCHED}
    errors = [error(found, number) for number, found in placed.items()]
    assert max(errors) < 0.5
    assert np.mean(errors) < 0.2


def test_features_are_matched_on_every_tenth_frame_only(placed: dict[int, Placed]) -> None:
    assert [number for number, found in placed.items() if not found.followed] == list(range(0, FRAMES, ANCHOR_EVERY))
    for number, found in placed.items():
        assert (found.features is None) == found.followed
        assert found.anchor is not None
        if found.followed:
            assert found.match.quality.image_features == placed[number - number % ANCHOR_EVERY].anchor.followed  # type: ignore[union-attr]  # asserted above
            assert len(found.anchor.points) == found.match.quality.inliers <= found.match.quality.matches


def test_followed_points_are_not_on_who_climbs(placed: dict[int, Placed]) -> None:
    for number, found in placed.items():
        ((x1, y1, x2, y2),) = mask(number)
        x, y = found.match.image.T
        assert not ((x > x1 + 1) & (x < x2 - 1) & (y > y1 + 1) & (y < y2 - 1)).any(), number


def test_points_to_follow_are_spread_over_the_frame(placed: dict[int, Placed]) -> None:
    anchor = placed[0].anchor
    assert anchor is not None
    assert 200 < len(anchor.points) <= 400
    cells, counts = np.unique((anchor.points / 640 * 24).astype(int), axis=0, return_counts=True)
    assert len(cells) > 120
    every = np.unique((placed[0].match.image / 640 * 24).astype(int), axis=0, return_counts=True)[1]
    assert counts.max() < every.max()


@pytest.mark.parametrize("first", [10, 30])
def test_where_following_begins_changes_nothing(
    placed: dict[int, Placed], frames: list[Grey], reference: Side, first: int
) -> None:
    for number, found in walk(frames, reference, first).items():
        assert_same(found, placed[number])


def test_affine_transforms_are_followed_too(frames: list[Grey], reference: Side) -> None:
    found = walk(frames[:15], reference, model=Model.AFFINE)
    for number, one in found.items():
        assert error(one, number) < 6  # the camera tilts
        assert one.match.matrix is not None
        np.testing.assert_allclose(one.match.matrix[2], (0, 0, 1), atol=1e-12)


def test_blurred_and_occluded_frames_are_left_out_and_it_goes_on_afterwards(reference: Side) -> None:
    blurred, occluded = {4, 5, 17, 20}, {8, 9, 25, 30}
    found = walk(clip(36, blurred, occluded), reference)
    for number, one in found.items():
        quality = one.match.quality
        if number in blurred | occluded:
            assert quality.verdict is Verdict.CANNOT_MATCH
            assert one.match.matrix is None
            assert quality.reason in {BLURRED, NOT_ENOUGH_FEATURES, NOT_ENOUGH_MATCHES}
        else:
            assert quality.verdict is Verdict.MATCHED, number
            assert error(one, number) < 0.5, number
    assert [number for number in (4, 5, 17, 8, 25) if found[number].match.quality.reason != BLURRED] == []
    # Where nothing could be matched on a tenth frame, the next one is.
    assert [number for number in (6, 10, 18, 21, 26, 31) if not found[number].followed] == [10, 21, 31]


def test_who_is_lost_is_matched_anew(reference: Side) -> None:
    frames = clip(14)
    frames[5:] = clip(90)[76:]  # a cut to elsewhere
    start = place(frames[4], 4, [], None, reference, Model.HOMOGRAPHY, _FEATURES)
    assert start.anchor is not None
    lost = follow(frames[5], [], start.anchor, reference, Model.HOMOGRAPHY)
    assert (lost.match.quality.verdict, lost.match.quality.reason) == (Verdict.CANNOT_MATCH, LOST)
    assert lost.anchor is None
    anew = place(frames[5], 5, [], start.anchor, reference, Model.HOMOGRAPHY, _FEATURES)
    assert not anew.followed
    assert anew.match.quality.verdict is Verdict.MATCHED
    assert error(anew, 76) < 0.5


def test_who_covers_most_points_is_not_followed(frames: list[Grey], reference: Side) -> None:
    start = place(frames[0], 0, [], None, reference, Model.HOMOGRAPHY, _FEATURES)
    assert start.anchor is not None
    found = follow(frames[1], [(0, 0, 640, 400)], start.anchor, reference, Model.HOMOGRAPHY)
    assert (found.match.quality.reason, found.anchor) == (LOST, None)


def test_another_wall_is_never_placed(reference: Side) -> None:
    before: Anchor | None = None
    for number in range(3):
        found = place(grey_of(walls.wall(80 + number)), number, [], before, reference, Model.HOMOGRAPHY, _FEATURES)
        before = found.anchor
        assert found.match.quality.reason == NOT_ENOUGH_MATCHES
        assert before is None


def test_sharpness_falls_with_blur_and_not_with_light(frames: list[Grey]) -> None:
    sharp = sharpness(frames[0])
    assert sharpness((frames[0] // 2 + 30).astype(np.uint8)) == pytest.approx(sharp, rel=0.2)
    assert sharpness(clip(1, blurred=[0])[0]) < 0.2 * sharp
    assert sharpness(np.full((480, 640), 96, np.uint8)) == 0
