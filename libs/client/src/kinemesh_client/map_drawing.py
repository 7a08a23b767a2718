"""A map in characters: where everyone is, where they came from, and zones.

Each character cell holds 2 × 4 dots of braille, in which trails and outlines are drawn; people are letters on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2

Point = tuple[float, float]

_ACROSS: Final = 2
_DOWN: Final = 4
_BRAILLE: Final = 0x2800
# Bits of a braille character, by row and column of the dot.
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_CELL_ASPECT: Final = 2.0  # a character is about twice as high as it is wide
_FAR: Final = 1e6  # dots; what lies farther away is outside all the same


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of the map that is shown, in its unit."""

    x1: float
    y1: float
    x2: float
    y2: float

    def with_points(self, points: Sequence[Point]) -> Extent:
        """The smallest extent that holds this one and the points."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return Extent(min([self.x1, *xs]), min([self.y1, *ys]), max([self.x2, *xs]), max([self.y2, *ys]))


@dataclass(frozen=True, slots=True)
class Marker:
    """Somebody on the map: one character to show, in one colour, with the way that led there."""

    letter: str
    color: str
    position: Point
    trail: Sequence[Point] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A character and its colour; an empty one means the terminal's own."""

    char: str = " "
    color: str = ""


def draw_map(
    extent: Extent,
    columns: int,
    rows: int,
    markers: Sequence[Marker],
    zones: Mapping[str, Sequence[Point]] | None = None,
    *,
    y_up: bool = False,
) -> list[list[Cell]]:
    """The map as rows of cells, to scale: it may be narrower or lower than ``columns`` × ``rows``.

    :param zones: corners by name.
    :param y_up: whether y grows upwards; downwards otherwise.
    """
    place = _Placing(extent, columns, rows, y_up)
    dots = [[0] * place.columns for _ in range(place.rows)]
    colors = [[""] * place.columns for _ in range(place.rows)]

    def dot(at: tuple[int, int], color: str) -> None:
        column, row = at[0] // _ACROSS, at[1] // _DOWN
        dots[row][column] |= _DOTS[at[1] % _DOWN][at[0] % _ACROSS]
        colors[row][column] = color

    for corners in (zones or {}).values():
        for one, other in zip(corners, [*corners[1:], *corners[:1]], strict=True):
            for at in place.line(one, other):
                dot(at, "bright_black")
    for marker in markers:
        path = [*marker.trail, marker.position]
        for one, other in pairwise(path):
            for at in place.line(one, other):
                dot(at, marker.color)
    cells = [
        [Cell(chr(_BRAILLE + bits), color) if bits else Cell() for bits, color in zip(*row, strict=True)]
        for row in zip(dots, colors, strict=True)
    ]
    for name, corners in (zones or {}).items():
        _write(cells, place.cell(_centre(corners)), name, "bright_black")
    for marker in markers:
        column, row = place.cell(marker.position)
        if 0 <= column < place.columns and 0 <= row < place.rows:
            cells[row][column] = Cell(marker.letter, marker.color)
    return cells


class _Placing:
    """Where positions on the map lie among the characters."""

    def __init__(self, extent: Extent, columns: int, rows: int, y_up: bool) -> None:
        width, height = max(extent.x2 - extent.x1, 1e-9), max(extent.y2 - extent.y1, 1e-9)
        unit = max(width / max(columns, 1), height / (max(rows, 1) * _CELL_ASPECT))  # of the map per character across
        self.columns = min(max(columns, 1), max(1, round(width / unit)))
        self.rows = min(max(rows, 1), max(1, round(height / (unit * _CELL_ASPECT))))
        self._extent, self._width, self._height, self._y_up = extent, width, height, y_up

    def dot(self, at: Point) -> tuple[int, int]:
        """Column and row of the dot."""
        across, down = self.columns * _ACROSS, self.rows * _DOWN
        x = (at[0] - self._extent.x1) / self._width
        y = (at[1] - self._extent.y1) / self._height
        y = 1 - y if self._y_up else y
        return _scaled(x, across), _scaled(y, down)

    def line(self, one: Point, other: Point) -> Iterator[tuple[int, int]]:
        """The dots between two positions, as far as they are shown."""
        shown = (0, 0, self.columns * _ACROSS, self.rows * _DOWN)
        visible, start, end = cv2.clipLine(shown, self.dot(one), self.dot(other))
        if not visible:
            return
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            yield (
                start[0] + round((end[0] - start[0]) * step / steps),
                start[1] + round((end[1] - start[1]) * step / steps),
            )

    def cell(self, at: Point) -> tuple[int, int]:
        """Column and row of the character."""
        x, y = self.dot(at)
        return x // _ACROSS, y // _DOWN


def _scaled(fraction: float, count: int) -> int:
    # The far border belongs to the last dot.
    return count - 1 if fraction == 1 else int(min(max(fraction * count, -_FAR), _FAR) // 1)


def _centre(corners: Sequence[Point]) -> Point:
    return sum(x for x, _ in corners) / len(corners), sum(y for _, y in corners) / len(corners)


def _write(cells: list[list[Cell]], at: tuple[int, int], text: str, color: str) -> None:
    start = at[0] - len(text) // 2
    if 0 <= at[1] < len(cells):
        row = cells[at[1]]
        for column, char in enumerate(text, start):
            if 0 <= column < len(row):
                row[column] = Cell(char, color)
