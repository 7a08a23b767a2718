"""Where cameras and the map lie in the mosaic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kinemesh_render.domain.canvas import Rectangle

_SHAPE: Final = 16 / 9  # of a cell: what most cameras have
_LEAST_MAP: Final = 0.26  # of the mosaic's width
_GAP: Final = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """Places in a picture, all of even numbers.

    :ivar cells: one per camera, row by row.
    """

    cells: tuple[Rectangle, ...]
    floor: Rectangle


def grid_of(count: int, width: int, height: int) -> Grid:
    """The grid in which ``count`` cameras, at least one, are shown largest beside the map, which is at the right."""
    most = (1 - _LEAST_MAP) * width

    def cell_width(columns: int) -> float:
        return min(most / columns, height / math.ceil(count / columns) * _SHAPE)

    columns = max(range(1, count + 1), key=lambda number: (cell_width(number), -number))
    wide = _even(cell_width(columns))
    rows = math.ceil(count / columns)
    tall = min(_even(wide / _SHAPE), _even(height / rows))
    top = _even((height - rows * tall) / 2)
    cells = tuple(
        (place % columns * wide, top + place // columns * tall, wide - _GAP, tall - _GAP) for place in range(count)
    )
    left = columns * wide
    return Grid(cells, (left, 0, width - left, height))


def _even(length: float) -> int:
    return 2 * int(length / 2)
