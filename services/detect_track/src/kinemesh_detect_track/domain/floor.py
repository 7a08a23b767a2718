"""The floor as a picture: which pixel a place is, and how long people were at each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from kinemesh_detect_track.domain.boxes import Floats

_LONG_SIDE: Final = 1024
_MARGIN: Final = 0.05
_LEAST_M: Final = 2.0


@dataclass(frozen=True, slots=True)
class Floor:
    """A part of the map as a picture.

    :ivar x: of the picture's left edge, in the map's unit.
    :ivar y: of its upper edge, or of its lower edge if y grows upwards.
    :ivar width: of the picture in pixels.
    :ivar height: of the picture in pixels.
    :ivar scale: pixels per unit of the map.
    :ivar y_up: whether y grows upwards.
    """

    x: float
    y: float
    width: int
    height: int
    scale: float
    y_up: bool


def pictured(width: int, height: int, pixels_per_unit: float, y_up: bool) -> Floor:
    """The floor that a picture of the map shows; the map's origin is its upper left corner, or its lower left one if y
    grows upwards."""
    return Floor(0.0, 0.0, width, height, pixels_per_unit, y_up)


def measured(place: Floats, width: float, height: float, y_up: bool, metre: float) -> Floor:
    """A floor of the extent that is known, or as far as people were seen.

    :param place: float64 [N, 2], where people were.
    :param width: along x, in the map's unit; 0 if it is not known.
    :param height: along y.
    """
    low, high = np.zeros(2), np.array([width, height])
    for axis in (0, 1):
        if high[axis] <= 0:
            low[axis], high[axis] = _extent(place[:, axis], metre)
    side = high - low
    scale = _LONG_SIDE / float(side.max())
    pixels = np.maximum(np.rint(side * scale), 1).astype(int)
    return Floor(float(low[0]), float(low[1]), int(pixels[0]), int(pixels[1]), scale, y_up)


def pixels(floor: Floor, place: Floats) -> Floats:
    """Columns and rows, float64 [N, 2], of places [N, 2]."""
    column, row = ((place - (floor.x, floor.y)) * floor.scale).T
    return np.stack([column, floor.height - row if floor.y_up else row], axis=1)


def seconds(floor: Floor, place: Floats, each: float, cell: int) -> Floats:
    """How long people were in each cell of ``cell`` pixels a side, float64 [rows, columns]; elsewhere is left out.

    :param each: seconds that each of the places [N, 2] stands for.
    """
    rows, columns = -(-floor.height // cell), -(-floor.width // cell)
    at = np.floor(pixels(floor, place) / cell)
    inside = np.flatnonzero(((at >= 0) & (at < (columns, rows))).all(axis=1))
    column, row = at[inside].astype(np.int64).T
    spent = np.bincount(row * columns + column, minlength=rows * columns)
    result: Floats = spent.reshape(rows, columns).astype(np.float64) * each
    return result


def _extent(values: Floats, metre: float) -> tuple[float, float]:
    if not len(values):
        return 0.0, 10 * metre
    # Single places far outside, of people near the horizon, do not make everything else tiny.
    low, high = np.quantile(values, [0.001, 0.999]).tolist()
    margin = max(_MARGIN * (high - low), (_LEAST_M * metre - (high - low)) / 2)
    return low - margin, high + margin
