"""Made-up walls, and pictures of them through known cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.geometry.homography import apply
from kinemesh.media.picture import encode_picture
from kinemesh.nv12 import Image
from kinemesh_matcher.domain.features import detect, grey_of
from kinemesh_matcher.domain.matching import Side, side_of

Floats = NDArray[np.float64]
Grey = NDArray[np.uint8]
SIZE: Final = (640, 480)
_GRAINS: Final = (5, 11, 24, 60)
"""Pixels that a spot of the noise has."""


def wall(seed: int, size: tuple[int, int] = SIZE, grains: Sequence[int] = _GRAINS, contrast: float = 45.0) -> Image:
    """Noise at several scales, uint8 [height, width, 3]. Another seed is another wall."""
    random = np.random.default_rng(seed)
    whole = np.zeros((size[1], size[0], 3), np.float32)
    for grain in grains:
        coarse = random.normal(0, 1, (size[1] // grain + 4, size[0] // grain + 4, 3)).astype(np.float32)
        large = cv2.resize(coarse, None, fx=grain, fy=grain, interpolation=cv2.INTER_CUBIC)
        whole += large[: size[1], : size[0]]
    return np.asarray(np.clip(whole / len(grains) ** 0.5 * contrast + 128, 0, 255), np.uint8)


def seen(picture: Image, matrix: Floats, size: tuple[int, int] = SIZE) -> Image:
    """What a camera shows of a wall: ``matrix`` maps pixels of the wall to those of the frame."""
    return np.asarray(cv2.warpPerspective(picture, matrix, size, borderValue=(96, 96, 96)), np.uint8)


def tilted(size: tuple[int, int] = SIZE) -> Floats:
    """A homography from a wall to a frame of the same size that turns, shrinks and tilts: [3, 3]."""
    width, height = size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    places = np.array([(0.12, 0.05), (0.95, 0.12), (0.85, 0.93), (0.06, 0.86)], np.float32) * np.array(size, np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners, places), np.float64)


def turned(degrees: float, scale: float = 1.0, size: tuple[int, int] = SIZE) -> Floats:
    """A similarity about the middle, from a wall to a frame: [3, 3]."""
    top = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), degrees, scale)
    return np.vstack([top, (0, 0, 1)]).astype(np.float64)


def side(picture: Image, most: int = 1500, masks: Sequence[tuple[float, float, float, float]] = ()) -> Side:
    """A picture, ready to be matched."""
    grey = grey_of(picture)
    return side_of(detect(grey, most, masks), grey.shape[1], grey.shape[0])


def off(found: Floats, truth: Floats, size: tuple[int, int] = SIZE) -> float:
    """How far apart two transforms put points of a picture's central part, on average."""
    points = np.random.default_rng(0).uniform(0.15, 0.85, (50, 2)) * size
    return float(np.linalg.norm(apply(found, points) - apply(truth, points), axis=1).mean())


def png(picture: Image) -> bytes:
    """Encoded without loss."""
    return encode_picture(picture, ".png", 100)


def person(seed: int = 99) -> Image:
    """What stands in for somebody: a textured patch, uint8 [180, 90, 3]."""
    return wall(seed, (90, 180), (4, 9))
