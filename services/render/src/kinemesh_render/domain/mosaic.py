"""One picture of all cameras and the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from kinemesh.nv12 import Image
from kinemesh_render.domain.canvas import Rectangle, on_rgb, within
from kinemesh_render.domain.captions import caption_lines, plates
from kinemesh_render.domain.drawing import draw_scene
from kinemesh_render.domain.floor import GROUND, Extent, Plan, background, drawn_as, plan_of, scene_of_floor
from kinemesh_render.domain.grid import Grid
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.scene import Scene
from kinemesh_render.domain.site import Site
from kinemesh_render.domain.style import Color, Style
from kinemesh_render.domain.tracks import duration

WIDTH: Final = 1920
HEIGHT: Final = 1080
_EMPTY: Final[Color] = (14, 15, 18)
_TITLE: Final[Color] = (110, 120, 142)
_TEXT: Final = 0.8
_NOTHING: Final = "no picture"


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """What all pictures of a span of time have in common.

    :ivar titles: of the grid's cells.
    :ivar ground: the mosaic with nothing on it but the map.
    """

    site: Site
    grid: Grid
    titles: Sequence[str]
    plan: Plan
    ground: Image
    paths: PathTable
    style: Style


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What a camera shows.

    :ivar cell: number of the grid's cell.
    :ivar place: of the picture in the mosaic.
    :ivar picture: uint8 [height, width, 3], RGB, of the place's size.
    """

    cell: int
    place: Rectangle
    picture: Image
    scene: Scene


def backdrop(
    site: Site, grid: Grid, titles: Sequence[str], picture: Image | None, extent: Extent, paths: PathTable, style: Style
) -> Backdrop:
    """Prepare a span of time, with the part of the map that is shown and the map's picture, if there is one."""
    ground = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    for x, y, width, height in grid.cells:
        ground[y : y + height, x : x + width] = _EMPTY
    x, y, width, height = grid.floor
    plan = plan_of(extent, width, height, y_up=site.floor.y_up)
    ground[y : y + height, x : x + width] = background(plan, site.floor, picture)
    return Backdrop(site, grid, titles, plan, ground, paths, style)


def compose(behind: Backdrop, shots: Sequence[Shot], moment: float) -> Image:
    """The mosaic at a moment of the site's clock; cameras without a shot say so. uint8 [HEIGHT, WIDTH, 3], RGB."""
    site, style = behind.site, behind.style
    image = behind.ground.copy()
    canvas = on_rgb(image)
    for shot in shots:
        x, y, width, height = shot.place
        image[y : y + height, x : x + width] = shot.picture
        draw_scene(within(canvas, shot.place), shot.scene, style)
    shown = {shot.cell for shot in shots}
    lines = caption_lines(canvas, _TEXT)
    for cell, (place, title) in enumerate(zip(behind.grid.cells, behind.titles, strict=True)):
        plates(within(canvas, place), 0, 1.35 * lines, title, "" if cell in shown else _NOTHING, _TITLE, lines)
    floor = within(canvas, behind.grid.floor, drawn_as=drawn_as(*behind.grid.floor[2:]))
    draw_scene(floor, scene_of_floor(behind.plan, behind.paths, site.zones, moment, style), style)
    plates(floor, lines, 2 * lines, site.name, clock_text(moment, site.clock_start), _TITLE, lines)
    return image


def clock_text(moment: float, clock_start: float | None) -> str:
    """The time of day in UTC where that is known, else the time on the site's clock."""
    if clock_start is None:
        return duration(max(0.0, moment))
    return datetime.fromtimestamp(clock_start + moment, UTC).strftime("%H:%M:%S")
