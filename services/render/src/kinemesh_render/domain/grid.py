"""Where cameras and the map lie in the mosaic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kinemesh_render.domain.canvas import Rectangle

_LEAST_MAP: Final = 0.3  # of the mosaic's width
_GAP: Final = 4


@dataclass(frozen=True, slots=True)
class Grid:
    """Places in a picture, all of even numbers.

    :ivar cells: one per camera, row by row.
    """

    cells: tuple[Rectangle, ...]
    floor: Rectangle


def grid_of(count: int, width: int, height: int, shape: float) -> Grid:
    """The grid in which ``count`` cameras, at least one, are shown largest beside the map, which is at the right.

    :param shape: width by height of what most cameras show.
    """
    most = (1 - _LEAST_MAP) * width

    def cell_width(columns: int) -> float:
        return min(most / columns, height / math.ceil(count / columns) * shape)

    columns = max(range(1, count + 1), key=lambda number: (cell_width(number), -number))
    wide = _even(cell_width(columns))
    rows = math.ceil(count / columns)
    tall = min(_even(wide / shape), _even(height / rows))
    top = _even((height - rows * tall) / 2)
    cells = tuple(
        (place % columns * wide, top + place // columns * tall, wide - _GAP, tall - _GAP) for place in range(count)
    )
    left = columns * wide
    return Grid(cells, (left, 0, width - left, height))


def _even(length: float) -> int:
    return 2 * int(length / 2)
