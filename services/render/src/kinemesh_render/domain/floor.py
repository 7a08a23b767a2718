"""The map as a picture: what it shows, how large, and what never changes on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.nv12 import Image
from kinemesh_render.domain.canvas import fixed, on_rgb, strokes
from kinemesh_render.domain.captions import caption_lines, plates
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.people import color_of, name_of
from kinemesh_render.domain.scene import Scene, Spot, Trail
from kinemesh_render.domain.site import Floats, Floor, Zone, area_of, occupants
from kinemesh_render.domain.style import Color, Style

GROUND: Final[Color] = (24, 26, 32)
_TILES: Final[Color] = (38, 41, 49)
_LINES: Final[Color] = (58, 62, 72)
_PICTURE_SHARE: Final = 0.75  # of its brightness, so that people stand out from the map's picture
_LEAST_TILE: Final = 44  # pixels
_MARGIN: Final = 0.04
_ABOVE: Final = 0.06  # of the height stays free above and below
_PADDED: Final = 0.05
_UNKNOWN: Final = (0.0, 0.0, 10.0, 10.0)
_LEAST_EXTENT: Final = 1e-6
TRAIL_SEC: Final = 4.0
"""How far trails on the map reach back where the style does not say."""

Extent = tuple[float, float, float, float]
"""Least x and y, largest x and y, in the map's unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which part of the map lies where in a picture.

    :ivar extent: what is shown.
    :ivar scale: pixels per unit.
    :ivar left, top: of the shown part, in pixels.
    """

    width: int
    height: int
    extent: Extent
    scale: float
    left: float
    top: float
    y_up: bool

    def pixels(self, points: Floats) -> NDArray[np.float32]:
        """Points [N, 2] of the map in the picture."""
        x1, y1, _, y2 = self.extent
        x = (points[:, 0] - x1) * self.scale + self.left
        y = (y2 - points[:, 1] if self.y_up else points[:, 1] - y1) * self.scale + self.top
        return np.stack([x, y], axis=1).astype(np.float32)


def extent_of(floor: Floor, picture: Image | None, zones: Sequence[Zone], walked: Extent | None) -> Extent:
    """What of the map is shown: what the site says, else its picture, else as far as people and zones reach."""
    if floor.width > 0 and floor.height > 0:
        return 0.0, 0.0, floor.width, floor.height
    if picture is not None:
        scale = picture_scale(floor, picture)
        return 0.0, 0.0, picture.shape[1] / scale, picture.shape[0] / scale
    corners = [zone.corners for zone in zones if not zone.camera]
    if walked is not None:
        corners.append(np.array(walked).reshape(2, 2))
    if not corners:
        return _UNKNOWN
    points = np.concatenate(corners)
    low, high = points.min(axis=0), points.max(axis=0)
    pad = max(float((high - low).max()) * _PADDED, _LEAST_EXTENT)
    return float(low[0] - pad), float(low[1] - pad), float(high[0] + pad), float(high[1] + pad)


def picture_scale(floor: Floor, picture: Image) -> float:
    """Pixels of the map's picture per unit."""
    if floor.pixels_per_unit > 0:
        return floor.pixels_per_unit
    return picture.shape[1] / floor.width if floor.width > 0 else 1.0


def plan_of(extent: Extent, width: int, height: int, *, y_up: bool) -> Plan:
    """The largest plan of a part of the map in a picture."""
    x1, y1, x2, y2 = extent
    margin = _MARGIN * min(width, height)
    free = height - 2 * max(margin, _ABOVE * height)
    scale = min((width - 2 * margin) / (x2 - x1), free / (y2 - y1))
    return Plan(width, height, extent, scale, (width - (x2 - x1) * scale) / 2, (height - (y2 - y1) * scale) / 2, y_up)


def background(plan: Plan, floor: Floor, picture: Image | None) -> Image:
    """The map with nobody on it: its picture, or a floor with a grid. uint8 [height, width, 3]."""
    image = np.full((plan.height, plan.width, 3), GROUND, np.uint8)
    canvas = replace(on_rgb(image), drawn_as=drawn_as(plan.width, plan.height))
    x1, y1, x2, y2 = plan.extent
    corners = plan.pixels(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]))
    low, high = np.rint(_corners(plan)).astype(int)
    image[low[1] : high[1], low[0] : high[0]] = _TILES
    if picture is not None:
        _lay(image, plan, picture, picture_scale(floor, picture))
    step = _tile(plan.scale)
    if picture is None:
        ends = [
            *(((x, y1), (x, y2)) for x in np.arange(math.ceil(x1 / step), x2 / step + 1e-9) * step),
            *(((x1, y), (x2, y)) for y in np.arange(math.ceil(y1 / step), y2 / step + 1e-9) * step),
        ]
        lines = plan.pixels(np.array(ends).reshape(-1, 2)).reshape(-1, 2, 2)
        strokes(canvas, fixed(lines), _LINES, 1)
    strokes(canvas, fixed(corners)[None], _LINES, 2, closed=True)
    lines_of_text = caption_lines(canvas, 0.8)
    plates(
        canvas, float(low[0]), float(high[1]) + 1.6 * lines_of_text, f"{step:g} {floor.unit}", "", _LINES, lines_of_text
    )
    return image


def drawn_as(width: int, height: int) -> int:
    """Height of a camera's picture of the same area, so that letters are as large there as here."""
    return round(math.sqrt(width * height * 9 / 16))


def scene_of_floor(plan: Plan, paths: PathTable, zones: Sequence[Zone], moment: float, style: Style) -> Scene:
    """Everyone on the map at a moment, the way they came, and the zones."""
    here = paths.at(moment)
    seconds = style.trail_sec or TRAIL_SEC
    points = paths.points(here)
    places = plan.pixels(points)
    trails, spots = [], []
    for row, place in zip(range(here.start, here.stop), places, strict=True):
        person = int(paths.person[row])
        color = color_of(person, style)
        way = paths.trail(row, seconds)
        age = ((paths.time_sec[row] - paths.time_sec[way]) / seconds).astype(np.float32)
        trails.append(Trail(person, plan.pixels(paths.points(way)), age, color))
        spots.append(Spot(place, color, name_of(person), guessed=not paths.cameras[row]))
    areas = [area_of(zone, plan.pixels(zone.corners), occupants(zone, points)) for zone in zones if not zone.camera]
    return Scene(trails=trails, areas=areas, spots=spots)


def _lay(image: Image, plan: Plan, picture: Image, scale: float) -> None:
    """Lay the map's picture down: its left edge at x = 0, its edge towards y = 0 there."""
    ends = plan.pixels(np.array([(0, 0), (picture.shape[1], picture.shape[0])]) / scale)
    (left, top), (right, bottom) = np.rint([ends.min(axis=0), ends.max(axis=0)]).astype(int).tolist()
    low, high = np.rint(_corners(plan)).astype(int)
    x1, y1, x2, y2 = max(left, low[0]), max(top, low[1]), min(right, high[0]), min(bottom, high[1])
    if x1 >= x2 or y1 >= y2:
        return
    dimmed = cv2.convertScaleAbs(picture, alpha=_PICTURE_SHARE)
    laid = cv2.resize(dimmed, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    image[y1:y2, x1:x2] = laid[y1 - top : y2 - top, x1 - left : x2 - left]


def _corners(plan: Plan) -> NDArray[np.float32]:
    """The upper left and the lower right corner of what is shown: float32 [2, 2]."""
    ends = plan.pixels(np.array(plan.extent).reshape(2, 2))
    return np.stack([ends.min(axis=0), ends.max(axis=0)])


def _tile(scale: float) -> float:
    """The least of 1, 2, 5, 10, … units that is wide enough on the picture."""
    power = 10.0 ** math.floor(math.log10(_LEAST_TILE / scale))
    return next(power * times for times in (1, 2, 5, 10) if power * times * scale >= _LEAST_TILE * 0.999)
