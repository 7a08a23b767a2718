"""The picture of a route that climbers are drawn on, with the ways that they have climbed so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.nv12 import ColorMatrix, Image, chroma, luma, yuv_of_rgb
from kinemesh_render.domain.canvas import Canvas, dot, fixed, on_nv12, ring, strokes
from kinemesh_render.domain.captions import OUTLINE, WHITE, caption_lines, plates
from kinemesh_render.domain.drawing import draw_scene, pen_for
from kinemesh_render.domain.floor import drawn_as
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.people import color_of
from kinemesh_render.domain.poses import PoseTable
from kinemesh_render.domain.route import Mark, Route, scene_of_route
from kinemesh_render.domain.scene import LONGEST_GAP_SEC
from kinemesh_render.domain.style import REFERENCE_LINES, Color, Style, mix
from kinemesh_render.domain.tracks import duration

MATRIX: Final = ColorMatrix.BT709

_LONGEST_SIDE: Final = 1920
_BRIGHTNESS: Final = 0.72  # that is left of the picture, and of how colourful it is: holds are as colourful as people
_COLORFULNESS: Final = 0.75
_LEAST_STEP: Final = 3.0  # pixels between two points of a way
_WAY: Final = 0.45  # of the thickness of bones
_FAINT: Final = 0.3
# Of rings: radius of the innermost, how much larger the next is, and their line, in pixels at 720 lines.
_RADIUS: Final = 9.0
_BAND: Final = 8.0
_RING: Final = 3.0
_LEAST_SCALE: Final = 0.6  # colours have half of a picture's detail: smaller rings would run together
_TEXT: Final = 0.8
_MOST_LETTERS: Final = 28
_TITLE: Final[Color] = (110, 120, 142)
_ABSENT: Final = 0.6


def shown_size(width: int, height: int) -> tuple[int, int]:
    """The even size at which a picture is shown: its own or less."""
    longest = max(width, height)
    most = min(_LONGEST_SIDE, longest)
    return max(2, width * most // longest // 2 * 2), max(2, height * most // longest // 2 * 2)


def ground_of(picture: Image, size: tuple[int, int]) -> Image:
    """A route's picture at a size (even width and height), dimmed so that people stand out, as NV12."""
    width, height = size
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    values = cv2.transform(cv2.convertScaleAbs(scaled, alpha=_BRIGHTNESS), yuv_of_rgb(MATRIX))
    ground = np.empty((height * 3 // 2, width), np.uint8)
    luma(ground)[:] = values[..., 0]
    colors = cv2.resize(values[..., 1:], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    cv2.convertScaleAbs(colors, dst=colors, alpha=_COLORFULNESS, beta=128 * (1 - _COLORFULNESS))
    chroma(ground)[:] = colors
    return ground


@dataclass(frozen=True, slots=True, eq=False)
class Legs:
    """Short lines that ways consist of: L of them, by time, then attempt.

    :ivar time_sec: float64 [L], when its end is reached.
    :ivar attempt: int32 [L], from 1.
    :ivar ends: float32 [L, 2, 2], in pixels.
    """

    time_sec: NDArray[np.float64]
    attempt: NDArray[np.int32]
    ends: NDArray[np.float32]


def legs_of(course: PathTable) -> Legs:
    """The ways of a course, without what is too short to be seen and broken where nobody was seen."""
    last: dict[int, tuple[float, float]] = {}
    seen: dict[int, float] = {}
    longest_gap = max(LONGEST_GAP_SEC, 4 * course.reach_sec)
    legs: list[tuple[float, int, float, float, float, float]] = []
    rows = zip(*(column.tolist() for column in (course.time_sec, course.person, course.x, course.y)), strict=True)
    for time, attempt, x, y in rows:
        if attempt not in last or time - seen[attempt] > longest_gap:
            last[attempt] = x, y
        seen[attempt] = time
        from_x, from_y = last[attempt]
        if (x - from_x) ** 2 + (y - from_y) ** 2 >= _LEAST_STEP**2:
            legs.append((time, attempt, from_x, from_y, x, y))
            last[attempt] = x, y
    values = np.array(legs, np.float64).reshape(-1, 6)
    return Legs(values[:, 0], values[:, 1].astype(np.int32), values[:, 2:].reshape(-1, 2, 2).astype(np.float32))


class Wall:
    """A route's picture on which ways and rings gather: what is drawn once stays, so that long climbs cost nothing.

    What lies on top follows from the times alone, not from when the first frame is asked for.

    :param ground: NV12; drawn on.
    """

    def __init__(self, ground: Image, route: Route) -> None:
        self._ground = ground
        self._canvas = sized(on_nv12(ground, MATRIX))
        self._route = route
        self._legs = legs_of(route.course)
        self._leg = 0
        self._mark = 0

    def at(self, moment: float) -> Image:
        """A copy with the ways and the rings of the holds up to a moment; moments ascend."""
        marks = self._route.marks
        while self._mark < len(marks) and marks[self._mark].since <= moment:
            self._draw_legs(marks[self._mark].since)
            draw_ring(self._canvas, marks[self._mark], self._route.style, held=False)
            self._mark += 1
        self._draw_legs(moment)
        return self._ground.copy()

    def _draw_legs(self, until: float) -> None:
        legs, style, first = self._legs, self._route.style, self._leg
        self._leg = stop = max(first, int(np.searchsorted(legs.time_sec, until, "right")))
        width = max(1.0, pen_for(style, self._canvas.lines).line * _WAY)
        borders = (first + np.flatnonzero(np.diff(legs.attempt[first:stop])) + 1).tolist()
        for start, end in pairwise([first, *borders, stop]):
            if start < end:
                color = mix(color_of(int(legs.attempt[start]), style), OUTLINE, _FAINT)
                strokes(self._canvas, fixed(legs.ends[start:end]), color, width)


def sized(canvas: Canvas) -> Canvas:
    """The same canvas, on which lines and letters are as large in an upright picture as in a wide one."""
    return replace(canvas, drawn_as=drawn_as(canvas.width, canvas.height))


def compose(wall: Wall, route: Route, table: PoseTable, frame: int) -> Image:
    """A frame of the output; frames ascend. NV12."""
    moment = route.moment(frame)
    image = wall.at(moment)
    canvas = sized(on_nv12(image, MATRIX))
    for mark in route.marks:
        if mark.held_at(moment):
            draw_ring(canvas, mark, route.style, held=True)
    scene = scene_of_route(route, table, frame)
    draw_scene(canvas, scene, route.style)
    if route.style.labels:
        _draw_legend(canvas, route, {body.identity for body in scene.bodies}, moment)
    return image


def draw_ring(canvas: Canvas, mark: Mark, style: Style, *, held: bool) -> None:
    """The ring of a hold, filled inwards while it is held."""
    scale = max(_LEAST_SCALE, canvas.lines / REFERENCE_LINES)
    centre, radius = fixed(mark.point), (_RADIUS + mark.inside * _BAND) * scale
    outline, color = pen_for(style, canvas.lines).outline, color_of(mark.attempt, style)
    ring(canvas, centre, radius, OUTLINE, _RING * scale + 2 * outline)
    if held and not mark.inside:
        dot(canvas, centre, radius, color)
    elif held:
        filling = (_BAND - _RING) * scale
        ring(canvas, centre, radius - filling / 2, color, filling)
    ring(canvas, centre, radius, mix(color, WHITE, 0.25), _RING * scale)


def _draw_legend(canvas: Canvas, route: Route, shown: set[int], moment: float) -> None:
    """The time, and below it everyone's name, pale while its climber is not there."""
    lines = caption_lines(canvas, _TEXT)
    left, bottom = lines / 2, 1.9 * lines
    plates(canvas, left, bottom, duration(moment), "", _TITLE, lines)
    for attempt, name in enumerate(route.names, 1):
        bottom += 1.5 * lines
        color = color_of(attempt, route.style)
        color = color if attempt in shown else mix(color, OUTLINE, _ABSENT)
        plates(canvas, left, bottom, _title(route, attempt, name), "", color, lines)


def _title(route: Route, attempt: int, name: str) -> str:
    text = name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 1].rstrip() + "…"
    return text if len(route.names) == 1 else f"{attempt}  {text}"
