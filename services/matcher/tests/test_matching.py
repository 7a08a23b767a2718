"""Pictures matched with references: right ones, wrong ones, and those of which nobody can tell."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.special import comb

from kinemesh.geometry.homography import apply, inverse
from kinemesh.results.matches import Verdict
from kinemesh.testing.real_data import real_data
from kinemesh_matcher.domain.features import detect, roots
from kinemesh_matcher.domain.fitting import LEAST_PAIRS, Model
from kinemesh_matcher.domain.matching import (
    FEW_INLIERS,
    IMPLAUSIBLE,
    MATCHED_INLIERS,
    NOT_ENOUGH_FEATURES,
    NOT_ENOUGH_MATCHES,
    SMALL_COVERAGE,
    WEAK_INLIERS,
    Match,
    Side,
    covered,
    guided_pairs,
    log_chance,
    match,
    mutual_pairs,
    side_of,
)

from . import walls
from .walls import Floats

MODELS = pytest.mark.parametrize("model", list(Model))


@pytest.fixture(scope="module")
def reference() -> Side:
    return walls.side(walls.wall(1))


def made_up(points: Floats, looks: int = 0) -> Side:
    """Features at given places, each of which looks like that with the same number on another side."""
    random = np.random.default_rng(looks)
    descriptors = random.integers(0, 255, (len(points), 128)).astype(np.uint8)
    return Side(points, np.full(len(points), 5, np.float32), roots(descriptors), *walls.SIZE)


def scattered(count: int, low: tuple[float, float] = (0, 0), high: tuple[float, float] = walls.SIZE) -> Floats:
    return np.random.default_rng(21).uniform(low, high, (count, 2))


def assert_cannot(found: Match, reason: str) -> None:
    assert (found.quality.verdict, found.quality.reason) == (Verdict.CANNOT_MATCH, reason)
    assert found.matrix is None
    assert len(found.image) == len(found.reference) == 0
    assert math.isnan(found.quality.rms_error_px)
    assert math.isnan(found.quality.condition_number)


@pytest.mark.parametrize(
    ("model", "camera", "most_off"),
    [
        (Model.AFFINE, walls.turned(0), 0.03),
        (Model.AFFINE, walls.turned(35, 0.7), 0.05),
        (Model.HOMOGRAPHY, walls.turned(160, 0.8), 0.05),
        (Model.HOMOGRAPHY, walls.tilted(), 0.05),
    ],
)
def test_a_transform_is_found_within_a_fraction_of_a_pixel(
    reference: Side, model: Model, camera: Floats, most_off: float
) -> None:
    image = walls.side(walls.seen(walls.wall(1), camera))
    found = match(image, reference, model)
    quality = found.quality
    assert (quality.verdict, quality.reason) == (Verdict.MATCHED, "")
    assert found.matrix is not None
    assert walls.off(found.matrix, inverse(camera)) < most_off
    assert (quality.image_features, quality.reference_features) == (len(image.points), len(reference.points))
    assert quality.inliers == len(found.image) == len(found.reference) > 200
    assert quality.coverage == covered(found.image, walls.SIZE) > 0.3
    away = np.linalg.norm(apply(found.matrix, found.image) - found.reference, axis=1)
    assert quality.rms_error_px == pytest.approx(np.sqrt((away**2).mean()))
    assert 1 <= quality.condition_number < 3


def test_the_same_two_give_the_same_answer(reference: Side) -> None:
    image = walls.side(walls.seen(walls.wall(1), walls.tilted()))
    one, other = (match(image, reference, Model.HOMOGRAPHY) for _ in range(2))
    assert one.quality == other.quality
    assert one.matrix is not None
    assert other.matrix is not None
    assert one.matrix.tobytes() == other.matrix.tobytes()
    np.testing.assert_array_equal(one.image, other.image)


def test_noise_darkness_and_somebody_in_front_do_not_matter(reference: Side) -> None:
    camera = walls.tilted()
    frame = walls.seen(walls.wall(1), camera).astype(np.float32)
    frame[100:400, 200:420] = walls.wall(50, (220, 300), (4, 9))
    dark = frame * 0.5 + 20 + np.random.default_rng(0).normal(0, 4, frame.shape)
    found = match(walls.side(np.clip(dark, 0, 255).astype(np.uint8)), reference, Model.HOMOGRAPHY)
    assert found.quality.verdict is Verdict.MATCHED
    assert found.matrix is not None
    assert walls.off(found.matrix, inverse(camera)) < 0.2


@MODELS
def test_other_walls_do_not_match(reference: Side, model: Model) -> None:
    for seed in range(60, 64):
        assert_cannot(match(walls.side(walls.wall(seed)), reference, model), NOT_ENOUGH_MATCHES)


@MODELS
@pytest.mark.parametrize("cell", [16, 27, 40])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (7.3, 11.8)])
def test_what_repeats_itself_is_not_matched_wrongly(model: Model, cell: int, shift: tuple[float, float]) -> None:
    tile = walls.wall(cell, (cell, cell), (4, 9), contrast=70)
    grid = np.tile(tile, (-(-480 // cell), -(-640 // cell), 1))[:480, :640]
    camera = np.array([[1, 0, shift[0] + 3 * cell], [0, 1, shift[1] + 2 * cell], [0, 0, 1.0]])
    found = match(walls.side(walls.seen(grid, camera)), walls.side(grid), model)
    if found.quality.verdict is Verdict.MATCHED:
        assert found.matrix is not None
        assert walls.off(found.matrix, inverse(camera)) < 1


@MODELS
@pytest.mark.parametrize("flip", [np.diag([-1.0, 1, 1]), np.diag([1.0, -1, 1])])
def test_a_mirrored_wall_is_none(reference: Side, model: Model, flip: Floats) -> None:
    picture = np.ascontiguousarray(walls.wall(1)[:, ::-1] if flip[0, 0] < 0 else walls.wall(1)[::-1])
    assert match(walls.side(picture), reference, model).matrix is None
    points = scattered(60)
    found = match(made_up(apply(flip, points)), made_up(points), model)
    # No homography is drawn from points of which some turn the other way round.
    assert_cannot(found, IMPLAUSIBLE if model is Model.AFFINE else NOT_ENOUGH_MATCHES)


@MODELS
def test_edge_on_and_far_too_small_are_implausible(model: Model) -> None:
    points = scattered(80)
    for turn in (np.diag([1.0, 0.002, 1]), np.diag([0.01, 0.01, 1])):
        seen = apply(turn, points)
        assert_cannot(match(made_up(points), made_up(seen), model), IMPLAUSIBLE)


@MODELS
def test_pictures_that_show_nothing(reference: Side, model: Model) -> None:
    for shape in [(480, 640), (1, 1), (8, 3)]:
        empty = side_of(detect(np.full(shape, 90, np.uint8)), shape[1], shape[0])
        for one, other in ((empty, reference), (reference, empty), (empty, empty)):
            assert_cannot(match(one, other, model), NOT_ENOUGH_FEATURES)
    few = made_up(scattered(WEAK_INLIERS - 1))
    assert_cannot(match(few, reference, model), NOT_ENOUGH_FEATURES)


@MODELS
def test_little_support_is_weak(model: Model) -> None:
    points = scattered(MATCHED_INLIERS - 1)
    found = match(made_up(points), made_up(apply(walls.turned(20), points)), model)
    assert (found.quality.verdict, found.quality.reason) == (Verdict.WEAK, FEW_INLIERS)
    assert found.matrix is not None
    more = scattered(MATCHED_INLIERS + 4)
    assert match(made_up(more), made_up(apply(walls.turned(20), more)), model).quality.verdict is Verdict.MATCHED


@MODELS
def test_a_match_of_a_corner_is_weak(model: Model) -> None:
    points = scattered(50, (300, 200), (380, 270))
    found = match(made_up(points), made_up(points), model)
    assert (found.quality.verdict, found.quality.reason) == (Verdict.WEAK, SMALL_COVERAGE)
    assert 0 < found.quality.coverage < 0.02
    assert found.matrix is not None
    assert walls.off(found.matrix, np.eye(3)) < 0.01


@MODELS
def test_where_features_are_dense_pairs_by_chance_do_not_count(model: Model) -> None:
    frame = walls.wall(70)
    frame[200:275, 300:380] = walls.wall(1)[200:275, 300:380]
    image, reference = walls.side(frame, 4000), walls.side(walls.wall(1), 4000)
    found = match(image, reference, model)
    assert found.matrix is not None
    assert found.quality.inliers < 1.2 * len(mutual_pairs(image.looks, reference.looks)[0])
    assert found.quality.inliers <= found.quality.matches
    assert found.quality.coverage < 0.5
    assert found.quality.rms_error_px < 1


def test_guided_pairs_find_more_than_looks_alone(reference: Side) -> None:
    camera = walls.tilted()
    image = walls.side(walls.seen(walls.wall(1), camera))
    ours, _ = mutual_pairs(image.looks, reference.looks)
    a, b = guided_pairs(image, reference, inverse(camera))
    assert len(a) > len(ours)
    away = np.linalg.norm(apply(inverse(camera), a) - b, axis=1)
    assert away.max() <= 6
    assert np.median(away) < 0.3
    assert len(np.unique(a, axis=0)) > 0.8 * len(a)


def test_mutual_pairs_are_as_a_plain_loop_finds_them() -> None:
    random = np.random.default_rng(5)
    looks = [roots(random.integers(0, 255, (count, 128)).astype(np.uint8)) for count in (60, 45)]
    looks[0][:20] = roots(np.clip(looks[1][:20] ** 2 * 4000 + random.normal(0, 9, (20, 128)), 0, 255).astype(np.uint8))
    distance = np.linalg.norm(looks[0][:, None] - looks[1][None], axis=2)
    expected = []
    for row in range(60):
        first, second = np.argsort(distance[row])[:2]
        if distance[row, first] < 0.8 * distance[row, second] and distance[:, first].argmin() == row:
            expected.append((row, int(first)))
    ours, theirs = mutual_pairs(*looks)
    assert list(zip(ours.tolist(), theirs.tolist(), strict=True)) == expected
    assert len(expected) >= 15


def test_many_features_are_compared_in_parts_without_a_difference() -> None:
    random = np.random.default_rng(6)
    looks = roots(random.integers(0, 255, (4500, 128)).astype(np.uint8))
    order = random.permutation(4500)
    ours, theirs = mutual_pairs(looks, looks[order])
    assert ours.tolist() == list(range(4500))
    np.testing.assert_array_equal(order[theirs], ours)


@MODELS
def test_chance_is_as_the_formula_says(model: Model) -> None:
    side = made_up(scattered(9))
    share, least = math.pi * 16 / (640 * 480), LEAST_PAIRS[model]
    for pairs, inliers in ((40, 9), (100, 16), (60, 60)):
        ways = comb(pairs, inliers, exact=True) * comb(inliers, least, exact=True)
        expected = math.log10((pairs - least) * ways) + (inliers - least) * math.log10(share)
        assert log_chance(pairs, inliers, model, 2.0, side) == pytest.approx(expected)
    assert log_chance(40, least, model, 2.0, side) == 0
    assert log_chance(1000, 30, model, 2.0, side) > log_chance(100, 30, model, 2.0, side)
    # Of a reference that is all within the threshold, any transform is supported.
    assert log_chance(50, 30, model, 2.0, replace(side, width=3, height=3)) > 0


def test_coverage_is_that_of_the_hull() -> None:
    square = np.array([(100.0, 100.0), (420.0, 100.0), (420.0, 340.0), (100.0, 340.0), (200.0, 200.0)])
    assert covered(square, walls.SIZE) == pytest.approx(0.25)
    assert covered(square[:2], walls.SIZE) == 0
    assert covered(np.empty((0, 2)), walls.SIZE) == 0


def test_large_references_have_larger_units() -> None:
    side = made_up(scattered(3))
    assert (side.unit, replace(side, width=6000).unit, replace(side, height=4000).unit) == (1, 3, 2)


def real() -> tuple[Path, dict[str, Any]]:
    matching = real_data() / "geometry" / "matching"
    return matching, json.loads((matching / "gt_points.json").read_text())


def real_side(path: Path) -> Side:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    return side_of(detect(np.asarray(grey, np.uint8)), grey.shape[1], grey.shape[0])


@pytest.mark.data
def test_real_pairs_match_as_well_as_the_usual_way_or_better_and_others_not_at_all() -> None:
    folder, pairs = real()
    sides = {name: (real_side(folder / pair["A"]), real_side(folder / pair["B"])) for name, pair in pairs.items()}
    shares = []
    for name, pair in pairs.items():
        found = match(*sides[name], Model.HOMOGRAPHY)
        assert found.quality.verdict is Verdict.MATCHED, name
        assert found.matrix is not None
        away = apply(found.matrix, np.array(pair["gt_points_A"])) - np.array(pair["gt_points_B"])
        rms = float(np.sqrt((away**2).sum(axis=1).mean()))
        bar = pair["opencv_SIFT4000_ratio0.75_RANSAC3"]["rms_on_gt_points_px"]
        assert rms <= bar, f"{name}: {rms:.3f} px instead of {bar}"
        shares.append(rms / bar)
    assert sum(share <= 0.8 for share in shares) >= 2, shares
    strangers = [(one, other) for one in pairs for other in pairs if one != other]
    assert len(strangers) == 30
    for one, other in strangers:
        for model in Model:
            quality = match(sides[one][0], sides[other][1], model).quality
            assert quality.verdict is Verdict.CANNOT_MATCH, (one, other, model, quality)
