"""The contact sheet: frames spread evenly over a video, in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from kinemesh_render.domain.drawing import Image

CELLS: Final = 9
_CELL_WIDTH: Final = 320
_GAP: Final = 4
_GROUND: Final = 24


def chosen_frames(frame_count: int) -> list[int]:
    """Indices of the frames that are shown, ascending: the middles of equal parts of the video."""
    count = min(CELLS, frame_count)
    return [(2 * cell + 1) * frame_count // (2 * count) for cell in range(count)]


def cell_of(image: Image) -> Image:
    """A frame [H, W, 3] at the size in which it is shown."""
    height = max(1, round(_CELL_WIDTH * image.shape[0] / image.shape[1]))
    return np.asarray(cv2.resize(image, (_CELL_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)


def compose(cells: Sequence[Image]) -> Image:
    """Cells of one size, row by row in a near-square grid."""
    height, width = cells[0].shape[:2]
    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _GROUND, np.uint8)
    for position, cell in enumerate(cells):
        top = _GAP + position // columns * (height + _GAP)
        left = _GAP + position % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = cell
    return sheet
