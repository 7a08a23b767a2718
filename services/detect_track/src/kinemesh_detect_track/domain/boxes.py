"""Axis-aligned boxes as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def centred(corners: NDArray[np.floating]) -> Floats:
    """Boxes [N, 4] ``x1 y1 x2 y2`` as ``cx cy w h``, in the same unit."""
    low, high = corners[:, :2].astype(np.float64), corners[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def cornered(boxes: Floats) -> Floats:
    """Boxes [N, 4] ``cx cy w h`` as ``x1 y1 x2 y2``, in the same unit."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box of ``a`` [N, 4] with every one of ``b`` [M, 4], ``cx cy w h``: [N, M]."""
    half_a, half_b = a[:, 2:] / 2, b[:, 2:] / 2
    low = np.maximum((a[:, :2] - half_a)[:, None], (b[:, :2] - half_b)[None])
    high = np.minimum((a[:, :2] + half_a)[:, None], (b[:, :2] + half_b)[None])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = (a[:, 2] * a[:, 3])[:, None] + (b[:, 2] * b[:, 3])[None] - shared
    result: Floats = shared / np.maximum(union, np.finfo(np.float64).tiny)
    return result
