"""Pictures as video holds them: NV12, brightness in full size and colour in half, in limited range.

An NV12 picture is uint8 [height · 3/2, width], both even: the rows of Y, then the rows of U and V, interleaved.
Decoders give and encoders take it as it is, so that what is not drawn on keeps its exact values.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""Pixels: NV12 where that is said, else uint8 [height, width, 3] in RGB, upright."""


class ColorMatrix(StrEnum):
    """Which Y, U and V a colour has: ITU-R BT.601-7 or BT.709-6."""

    BT601 = "bt601"
    BT709 = "bt709"


_RED_AND_BLUE: Final = {ColorMatrix.BT601: (0.299, 0.114), ColorMatrix.BT709: (0.2126, 0.0722)}


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size at which a picture is held: odd ones get their last column or row twice."""
    return width + width % 2, height + height % 2


def luma(image: Image) -> Image:
    """The Y of an NV12 picture, a view: uint8 [height, width]."""
    return image[: image.shape[0] * 2 // 3]


def chroma(image: Image) -> Image:
    """The U and V of an NV12 picture, a view: uint8 [height / 2, width / 2, 2]."""
    rows = image[image.shape[0] * 2 // 3 :]
    return rows.reshape(rows.shape[0], rows.shape[1] // 2, 2)


def yuv_of_rgb(matrix: ColorMatrix) -> npt.NDArray[np.float64]:
    """The affine map [3, 4] from red, green, blue and one, 0 to 255, to Y, U and V in limited range (BT.601-7, 2.5)."""
    red, blue = _RED_AND_BLUE[matrix]
    y = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - y) / (1 - blue)
    v = (np.array([1, 0, 0]) - y) / (1 - red)
    return np.column_stack([np.stack([y * 219, u * 112, v * 112]) / 255, (16, 128, 128)])
