"""Cameras that move before a wall, as transforms from their frames to the reference."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh_matcher.domain.projective import anchors_of, fitted, mapped, oriented

Floats = NDArray[np.float64]
FRAME: Final = (640, 360)
REFERENCE: Final = (800, 600)
ANCHORS: Final = anchors_of(*FRAME)


def hand_held(time: Floats) -> Floats:
    """Pans by up to 24 % of the width per second, turns, zooms and tilts: [F, 3, 3]."""
    turn, zoom = 0.1 * np.sin(0.7 * time), 0.55 + 0.08 * np.sin(0.5 * time)
    matrix = np.zeros((len(time), 3, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = zoom * np.cos(turn)
    matrix[:, 1, 0] = zoom * np.sin(turn)
    matrix[:, 0, 1] = -matrix[:, 1, 0]
    matrix[:, 0, 2] = 220 + 160 * np.sin(1.2 * time)
    matrix[:, 1, 2] = 200 + 60 * np.cos(0.9 * time)
    matrix[:, 2, 0], matrix[:, 2, 1] = 2e-5 * np.sin(time), 1e-5
    matrix[:, 2, 2] = 1
    return oriented(matrix, ANCHORS[-1])


def measured(matrix: Floats, noise: float, seed: int = 0) -> Floats:
    """The same transforms as if their anchors had been found with an error, in pixels of the reference."""
    places = mapped(matrix, ANCHORS)
    return fitted(ANCHORS, places + np.random.default_rng(seed).normal(0, noise, places.shape), affine=False)


def off(matrix: Floats, truth: Floats) -> Floats:
    """How far off transforms put points of the frame's central part, on average: [F] pixels of the reference."""
    points = np.random.default_rng(1).uniform(0.1, 0.9, (40, 2)) * FRAME
    return np.asarray(np.linalg.norm(mapped(matrix, points) - mapped(truth, points), axis=2).mean(axis=1), np.float64)
