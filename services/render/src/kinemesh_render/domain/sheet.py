"""The contact sheet: frames spread evenly over a video, in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from kinemesh.nv12 import Image
from kinemesh_render.domain.canvas import Canvas, scaled

CELLS: Final = 9
_CELL_WIDTH: Final = 320
_GAP: Final = 4
_GROUND: Final = 24


def chosen_frames(frame_count: int) -> list[int]:
    """Indices of the frames that are shown, ascending: the middles of equal parts of the video."""
    count = min(CELLS, frame_count)
    return [(2 * cell + 1) * frame_count // (2 * count) for cell in range(count)]


def cell_of(canvas: Canvas) -> Image:
    """A picture at the size in which it is shown: uint8 [height, width, 3], RGB."""
    height = max(1, round(_CELL_WIDTH * canvas.height / canvas.width))
    return scaled(canvas, (0, 0, canvas.width, canvas.height), _CELL_WIDTH, height)


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
