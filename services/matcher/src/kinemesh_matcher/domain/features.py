"""SIFT features of a picture: where they are, how large, and what they look like.

Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 60(2), 2004. Descriptors are compared as
RootSIFT: Arandjelović and Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.nv12 import Image

Floats = NDArray[np.float64]

DEFAULT_FEATURES: Final = 4000
WORKING_SIDE: Final = 2000
"""Longest side in pixels of the coarsest level on which features are looked for."""

_LEVELS: Final = 3
_FULL_SIZE: Final = 0.99
_CONTRASTS: Final = (0.02, 0.005)
"""Half of Lowe's threshold finds more of what walls have; a lower one is for smooth walls with hardly a feature by
that."""

_FEW: Final = 0.1
_DESCRIPTOR: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """N features of a picture, strongest first.

    :ivar points: float32 [N, 2], x and y in pixels of the picture.
    :ivar size: float32 [N], diameter in pixels of the picture.
    :ivar angle: float32 [N], orientation in degrees, clockwise in the picture.
    :ivar response: float32 [N], strength.
    :ivar descriptors: uint8 [N, 128], as SIFT gives them.
    """

    points: NDArray[np.float32]
    size: NDArray[np.float32]
    angle: NDArray[np.float32]
    response: NDArray[np.float32]
    descriptors: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Features:
        """Those that a mask or an index array names."""
        return Features(*(getattr(self, field.name)[keep] for field in fields(self)))


def no_features() -> Features:
    """None at all."""
    numbers = np.empty(0, np.float32)
    return Features(np.empty((0, 2), np.float32), numbers, numbers, numbers, np.empty((0, _DESCRIPTOR), np.uint8))


def grey_of(image: Image) -> NDArray[np.uint8]:
    """uint8 [height, width, 3], RGB → uint8 [height, width]."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def detect(
    grey: NDArray[np.uint8],
    most: int = DEFAULT_FEATURES,
    masks: Sequence[tuple[float, float, float, float]] = (),
    *,
    levels: int = _LEVELS,
) -> Features:
    """The strongest features of a picture.

    A large picture is looked at as a pyramid: first so small that its longer side has ``WORKING_SIDE`` pixels, then
    twice as large each time, where only those are added that are too small to be seen before.

    :param grey: uint8 [height, width].
    :param most: how many of each level.
    :param masks: boxes ``x1 y1 x2 y2`` in pixels in which no feature is looked for.
    :param levels: of the pyramid, at most.
    """
    longest = max(grey.shape)
    scale = min(1.0, WORKING_SIDE / longest)
    found = _on_level(grey, scale, most, masks)
    for _ in range(levels - 1):
        if scale >= _FULL_SIZE:
            break
        scale = min(1.0, 2 * scale)
        finer = _on_level(grey, scale, most, masks)
        finer = finer.where(finer.size < found.size.min(initial=np.inf))
        found = Features(
            *(np.concatenate([getattr(found, field.name), getattr(finer, field.name)]) for field in fields(found))
        )
    return found


def roots(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RootSIFT: float32 [N, 128] of length 1, whose scalar products tell how alike features look."""
    values = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1)), np.float32)


def _on_level(
    grey: NDArray[np.uint8], scale: float, most: int, masks: Sequence[tuple[float, float, float, float]]
) -> Features:
    height, width = grey.shape
    if scale < _FULL_SIZE:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        level = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    else:
        level = grey
    steps = np.array([width / level.shape[1], height / level.shape[0]], np.float32)
    free = _free(level.shape, masks, steps)
    for contrast in _CONTRASTS:
        keypoints, descriptors = _strongest(level, most, contrast, free)
        if len(keypoints) >= _FEW * most:
            break
    if not keypoints:
        return no_features()
    # Of equally strong ones OpenCV keeps all, and gives them in an order of its own.
    table = np.array([(*k.pt, k.size, k.angle, k.response) for k in keypoints], np.float32)
    order = np.lexsort((table[:, 3], table[:, 2], table[:, 1], table[:, 0], -table[:, 4]))[:most]
    table = table[order]
    # Pixels are counted by their centres: the first of a smaller picture covers several.
    points = (table[:, :2] + 0.5) * steps - 0.5
    size_px = table[:, 2] * steps.mean()
    return Features(points, size_px, table[:, 3], table[:, 4], descriptors[order])


def _strongest(
    level: NDArray[np.uint8], most: int, contrast: float, free: NDArray[np.uint8] | None
) -> tuple[Sequence[cv2.KeyPoint], NDArray[np.uint8]]:
    sift = cv2.SIFT.create(most, contrastThreshold=contrast, enable_precise_upscale=True)
    keypoints, descriptors = sift.detectAndCompute(level, free)
    if free is not None and len(keypoints) < most // 2:
        # OpenCV chooses the strongest before it leaves out what is masked, which may be nearly all of them.
        sift = cv2.SIFT.create(0, contrastThreshold=contrast, enable_precise_upscale=True)
        every = sorted(sift.detect(level, free), key=lambda k: (-k.response, *k.pt, k.size, k.angle))
        keypoints, descriptors = sift.compute(level, every[:most])
    return keypoints, np.asarray(descriptors if keypoints else np.empty((0, _DESCRIPTOR)), np.uint8)


def _free(
    shape: tuple[int, ...], masks: Sequence[tuple[float, float, float, float]], steps: NDArray[np.float32]
) -> NDArray[np.uint8] | None:
    if not masks:
        return None
    free = np.full(shape, 255, np.uint8)
    height, width = shape
    corners = np.floor(np.array(masks, np.float64) / np.tile(steps.astype(np.float64), 2))
    corners[:, 2:] += 1
    inside = np.clip(corners, 0, (width, height, width, height)).astype(np.int64)
    for left, top, right, bottom in inside.tolist():
        free[top:bottom, left:right] = 0
    return free
