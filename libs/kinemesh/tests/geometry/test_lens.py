from __future__ import annotations

import numpy as np
import pytest

from kinemesh.geometry.lens import Lens, Model, bent, straightened

CAMERA = np.array([[900.0, 0, 400], [0, 900, 300], [0, 0, 1]])
LENSES = [
    Lens(Model.BROWN_CONRADY, CAMERA, np.array([-0.3, 0.1, 0.001, -0.002])),
    Lens(Model.BROWN_CONRADY, CAMERA, np.array([-0.3, 0.1, 0.001, -0.002, 0.01])),
    Lens(Model.BROWN_CONRADY, CAMERA, np.array([0.2, 0.05, 0.001, 0.002, 0.01, 0.3, 0.02, 0.001])),
    Lens(Model.FISHEYE, CAMERA, np.array([0.05, -0.01, 0.002, -0.0005])),
]
POINTS = np.random.default_rng(0).uniform(0, (800, 600), (100, 2))


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: f"{lens.model.name}-{len(lens.coefficients)}")
def test_straightening_undoes_bending(lens: Lens) -> None:
    flat = straightened(lens, POINTS)
    assert np.abs(flat - POINTS).max() > 1
    np.testing.assert_allclose(bent(lens, flat), POINTS, atol=1e-3)


def test_a_barrel_lens_shows_a_straight_line_bent() -> None:
    line = np.stack([np.linspace(50, 750, 15), np.full(15, 100.0)], axis=1)
    seen = bent(LENSES[0], line)
    assert seen[:, 1].max() - seen[:, 1].min() > 3
    assert np.ptp(straightened(LENSES[0], seen)[:, 1]) < 1e-2


@pytest.mark.parametrize("lens", [None, *LENSES[:1]])
def test_no_point_stays_none(lens: Lens | None) -> None:
    assert straightened(lens, np.zeros((0, 2))).shape == bent(lens, np.zeros((0, 2))).shape == (0, 2)


def test_without_a_lens_points_stay() -> None:
    assert straightened(None, POINTS) is POINTS
    assert bent(None, POINTS) is POINTS
