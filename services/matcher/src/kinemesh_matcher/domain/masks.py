"""Where people are in a picture, generously: the wall is what must match."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_VISIBLE: Final = 0.3
_MARGIN: Final = 0.12
"""Of the longer side of a body's box: landmarks lie inside of the body, and hair, clothes and a rope do not."""


def boxes_of(landmarks: NDArray[np.float32], width: int, height: int) -> NDArray[np.float64]:
    """The boxes of people, float64 [R, 4]: x1, y1, x2, y2 in pixels.

    :param landmarks: float32 [R, 33, ≥4]: x, y as fractions of width and height, z, visibility. All of a body's
        landmarks count if none is visible.
    """
    points = landmarks[:, :, :2].astype(np.float64) * (width, height)
    shown = landmarks[:, :, 3] >= _VISIBLE
    shown = shown | ~shown.any(axis=1, keepdims=True)
    low = np.where(shown[..., None], points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(shown[..., None], points, -np.inf).max(axis=1, initial=-np.inf)
    margin = _MARGIN * (high - low).max(axis=1, keepdims=True, initial=0)
    return np.concatenate([low - margin, high + margin], axis=1)
