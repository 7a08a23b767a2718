"""Transforms fitted to pairs of points, right and wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from kinemesh.geometry.homography import apply, in_front
from kinemesh_matcher.domain.fitting import LEAST_PAIRS, Model, distances, is_plausible, refined, robust_fit

from . import walls
from .walls import Floats

TRUTH = {
    Model.HOMOGRAPHY: walls.tilted(),
    Model.AFFINE: walls.turned(25, 0.8) @ np.array([[1, 0.1, 5], [0, 1.2, 0], [0, 0, 1]]),
}
MODELS = pytest.mark.parametrize("model", list(Model))


def pairs(model: Model, count: int = 200, noise: float = 0.5, wrong: float = 0.0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(11)
    image = random.uniform((0, 0), walls.SIZE, (count, 2))
    reference = apply(TRUTH[model], image) + random.normal(0, noise, (count, 2))
    bad = random.permutation(count)[: round(count * wrong)]
    reference[bad] = random.uniform((0, 0), walls.SIZE, (len(bad), 2))
    return image, reference


@MODELS
def test_six_wrong_pairs_of_ten_do_no_harm(model: Model) -> None:
    image, reference = pairs(model, 300, noise=0.5, wrong=0.6)
    found = robust_fit(image, reference, model, 2.0)
    assert found is not None
    matrix, agree = found
    truly = distances(TRUTH[model], image, reference) < 2
    assert (agree & truly).sum() >= 0.95 * truly.sum()
    assert (agree & ~truly).sum() <= 5
    assert walls.off(matrix, TRUTH[model]) < 0.5
    better = refined(matrix, image[agree], reference[agree], model)
    assert walls.off(better, TRUTH[model]) < 0.15


@MODELS
def test_the_same_pairs_give_the_same_transform(model: Model) -> None:
    image, reference = pairs(model, wrong=0.5)
    one, other = (robust_fit(image, reference, model, 2.0) for _ in range(2))
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


@MODELS
def test_too_few_pairs_give_none(model: Model) -> None:
    image, reference = pairs(model, LEAST_PAIRS[model], noise=0)
    assert robust_fit(image, reference, model, 2.0) is None
    assert robust_fit(np.empty((0, 2)), np.empty((0, 2)), model, 2.0) is None


@MODELS
@pytest.mark.parametrize("kind", ["one point", "one line", "one target"])
def test_pairs_that_span_no_plane_give_nothing_to_trust(model: Model, kind: str) -> None:
    image, reference = pairs(model, 40, noise=0)
    if kind == "one point":
        image[:] = image[0]
        reference[:] = reference[0]
    elif kind == "one line":
        image[:, 1] = 100.0
        reference[:, 1] = 50.0
    else:
        reference[:] = reference[0]
    found = robust_fit(image, reference, model, 2.0)
    assert found is None or not is_plausible(found[0], image[found[1]])


@MODELS
@pytest.mark.parametrize("spread", [1.5, 2.5])
def test_refined_finds_the_least_robust_error(model: Model, spread: float) -> None:
    image, reference = pairs(model, 80, noise=1.0, wrong=0.1)
    start = TRUTH[model] @ walls.turned(0.3)
    found = refined(start, image, reference, model, spread)
    free = 8 if model is Model.HOMOGRAPHY else 6

    def residuals(values: Floats) -> Floats:
        matrix = np.append(values, np.array([0, 0, 1])[-(9 - free) :]).reshape(3, 3)
        return np.asarray((apply(matrix, image) - reference).ravel(), np.float64)

    def cost(matrix: Floats) -> float:
        away = distances(matrix, image, reference)
        return float(np.log1p((away / spread) ** 2).sum())

    def error(values: Floats) -> Floats:
        # So that the sum of squares is Cauchy's cost of each pair's distance.
        away = np.linalg.norm(residuals(values).reshape(-1, 2), axis=1)
        return np.asarray(np.sqrt(np.log1p((away / spread) ** 2)), np.float64)

    best = least_squares(error, found.ravel()[:free], x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=2000)
    optimum = np.append(best.x, np.array([0, 0, 1])[-(9 - free) :]).reshape(3, 3)
    assert cost(found) <= cost(optimum) * (1 + 1e-6)
    assert walls.off(found, optimum) < 0.01
    assert cost(found) < cost(TRUTH[model])


@MODELS
def test_without_wrong_pairs_a_wide_spread_is_least_squares(model: Model) -> None:
    image, reference = pairs(model, 60, noise=1.0)
    found = refined(TRUTH[model], image, reference, model, spread=1e4)
    if model is Model.AFFINE:
        whole = np.concatenate([image, np.ones((60, 1))], axis=1)
        np.testing.assert_allclose(found[:2], np.linalg.lstsq(whole, reference)[0].T, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[2], (0, 0, 1), atol=1e-15)
        return

    def residuals(values: Floats) -> Floats:
        matrix = np.append(values, 1).reshape(3, 3)
        return np.asarray((apply(matrix, image) - reference).ravel(), np.float64)

    best = least_squares(
        residuals, TRUTH[model].ravel()[:8] / TRUTH[model][2, 2], x_scale="jac", xtol=1e-15, ftol=1e-15
    )
    assert walls.off(found, np.append(best.x, 1).reshape(3, 3)) < 1e-3


def test_distances_are_infinite_at_the_horizon() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [0, -0.01, 1]])
    away = distances(matrix, np.array([(10.0, 0.0), (10.0, 100.0)]), np.array([(13.0, 4.0), (0.0, 0.0)]))
    assert away.tolist() == [5.0, np.inf]


@pytest.mark.parametrize(
    ("matrix", "plausible"),
    [
        (np.eye(3), True),
        (walls.tilted(), True),
        (-walls.tilted(), True),
        (walls.turned(170, 0.03), True),
        (np.diag([-1.0, 1, 1]), False),
        (np.diag([1.0, -1, 1]), False),
        (np.diag([0.02, 0.02, 1]), False),
        (np.diag([50.0, 50, 1]), False),
        (np.diag([1.0, 0.003, 1]), False),
        (np.diag([1.0, 0, 1]), False),
        (np.array([[1.0, 0, 0], [0, 1, 0], [0, -1 / 300, 1]]), False),
    ],
)
def test_what_a_plane_can_look_like(matrix: Floats, plausible: bool) -> None:
    points = np.random.default_rng(3).uniform((0, 0), walls.SIZE, (50, 2))
    assert is_plausible(matrix, points) is plausible


def test_the_corner_of_the_picture_may_lie_beyond_the_horizon() -> None:
    """Ground that goes far away: what is seen of it lies before the horizon, though the picture's corner does not."""
    matrix = np.array([[-1.0, 0, -400], [0, -1, 300], [0, -1 / 100, 1]])
    image = np.random.default_rng(3).uniform((0, 250), walls.SIZE, (50, 2))
    reference = apply(matrix, image)
    found = robust_fit(image, reference, Model.HOMOGRAPHY, 2.0)
    assert found is not None
    for fitted in (found[0], refined(found[0], image, reference, Model.HOMOGRAPHY)):
        np.testing.assert_allclose(apply(fitted, image), reference, atol=1e-3)
        assert is_plausible(fitted, image)
        assert in_front(fitted, image).all()
