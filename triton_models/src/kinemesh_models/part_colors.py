"""What eight parts of a person look like, from head to feet: colours and textures, without any network.

After Gray and Tao, Viewpoint invariant pedestrian recognition with an ensemble of localized features (ECCV 2008):
horizontal parts survive a change of viewpoint. Histograms are compared as Hellinger's distance does: by their square
roots, whose inner product is the Bhattacharyya coefficient.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PARTS = 8
HUES, SATURATIONS, LIGHTNESSES = 12, 4, 8
DIMENSION = PARTS * (HUES * SATURATIONS + LIGHTNESSES)
_DARK = 30


def describe(picture: NDArray[np.uint8]) -> Floats:
    """The descriptor [:data:`DIMENSION`] of a person [256, 128, 3] RGB, of length one."""
    hue, saturation, value = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.int64), 2, 0)
    height, width = picture.shape[:2]
    # A person stands in the middle of a box; its sides show what is behind.
    middle = np.exp(-0.5 * ((np.arange(width) - (width - 1) / 2) / (width / 4)) ** 2)
    weights = np.broadcast_to(middle, (height, width))
    part = np.repeat(np.arange(PARTS), height // PARTS)[:, None]
    colour = (part * HUES + hue * HUES // 180) * SATURATIONS + (saturation >> 6)
    colours = _histogram(colour, weights * (value > _DARK), HUES * SATURATIONS)
    values = _histogram(part * LIGHTNESSES + (value >> 5), weights, LIGHTNESSES)
    parts = np.concatenate([colours, values], axis=1)
    roots = np.sqrt(parts / parts.sum(axis=1, keepdims=True)).ravel()
    vector: Floats = (roots / np.linalg.norm(roots)).astype(np.float32)
    return vector


def _histogram(bins: NDArray[np.int64], weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    counted = np.bincount(bins.ravel(), weights.ravel(), PARTS * count)
    return np.asarray(counted, np.float64).reshape(PARTS, count)
