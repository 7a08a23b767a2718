"""Pictures as an encoder takes them."""

from __future__ import annotations

import cv2
import numpy as np

from kinemesh_render.domain.drawing import Image


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size of a picture whose colour planes have half its size."""
    return width + width % 2, height + height % 2


def to_planes(image: Image) -> Image:
    """RGB as planes of yuv420p (BT.601, limited range); odd sizes are made even by repeating the last row or column.

    :returns: uint8 [even height × 3 / 2, even width].
    """
    height, width = image.shape[:2]
    if width % 2 or height % 2:
        image = np.asarray(cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
