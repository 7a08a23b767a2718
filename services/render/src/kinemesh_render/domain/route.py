"""Climbers on a picture of their route: what there is to draw on one of the output's frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.people import color_of
from kinemesh_render.domain.poses import PoseTable
from kinemesh_render.domain.scene import Body, Scene, Trail
from kinemesh_render.domain.style import Color, Style

TRAIL_SEC: Final = 3.0
"""How far trails reach back where the style does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class Touches:
    """Touches of holds.

    :ivar attempt: int32 [R], from 1.
    :ivar hold: int32 [R], its number, which attempts share.
    :ivar points: float32 [R, 2], where it is, in pixels.
    :ivar start_sec: float64 [R], when a limb comes to rest on it.
    :ivar stop_sec: float64 [R], when the limb leaves.
    """

    attempt: NDArray[np.int32]
    hold: NDArray[np.int32]
    points: NDArray[np.float32]
    start_sec: NDArray[np.float64]
    stop_sec: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A hold that an attempt touches.

    :ivar point: float32 [2] in pixels, the same for all attempts.
    :ivar inside: how many attempts of lower number touch it too, whose rings lie within.
    :ivar start_sec: float64 [T], of each touch.
    :ivar stop_sec: float64 [T].
    """

    attempt: int
    point: NDArray[np.float32]
    inside: int
    start_sec: NDArray[np.float64]
    stop_sec: NDArray[np.float64]

    @property
    def since(self) -> float:
        """When the hold is touched first."""
        return float(self.start_sec.min())

    def held_at(self, moment: float) -> bool:
        """Whether a limb rests on the hold."""
        return bool(((self.start_sec <= moment) & (self.stop_sec > moment)).any())


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What a window's frames have in common.

    :ivar names: of the attempts, in order of their numbers.
    :ivar width, height: of the output in pixels.
    :ivar course: the centres of mass, in pixels.
    :ivar filled_in: frame and attempt of the poses that were filled in between others.
    :ivar marks: by the time when they are touched first.
    """

    names: Sequence[str]
    width: int
    height: int
    frame_rate: float
    course: PathTable
    filled_in: frozenset[tuple[int, int]]
    marks: Sequence[Mark]
    style: Style

    def moment(self, frame: int) -> float:
        """When a frame is shown, in seconds."""
        return frame / self.frame_rate


def marks_of(touches: Touches) -> list[Mark]:
    """The holds that each attempt touches, by time; rings of one hold lie round one another."""
    marks = []
    for hold in np.unique(touches.hold):
        rows = np.flatnonzero(touches.hold == hold)
        for inside, attempt in enumerate(np.unique(touches.attempt[rows])):
            own = rows[touches.attempt[rows] == attempt]
            point = touches.points[rows[0]]
            marks.append(Mark(int(attempt), point, inside, touches.start_sec[own], touches.stop_sec[own]))
    return sorted(marks, key=lambda mark: (mark.since, mark.attempt))


def scene_of_route(route: Route, table: PoseTable, frame: int) -> Scene:
    """The bodies of a frame, and the way that each centre of mass took just before.

    :param table: poses as fractions of the picture's width and height; ``person_id`` is the attempt.
    """
    scale = np.array([route.width, route.height], np.float32)
    rows, here = table.of_frame(frame), route.course.at(route.moment(frame))
    centres = {int(route.course.person[row]): row for row in range(here.start, here.stop)}
    bodies, trails = [], []
    for person, image in zip(table.person_id[rows].tolist(), table.image[rows], strict=True):
        color, row = color_of(person, route.style), centres.get(person)
        filled_in = (frame, person) in route.filled_in
        caption = str(person) if len(route.names) > 1 else ""
        bodies.append(Body(person, image[:, :2] * scale, image[:, 3], color, caption, filled_in))
        if row is not None:
            trails.append(_trail(route, row, color))
    return Scene(bodies, trails)


def _trail(route: Route, row: int, color: Color) -> Trail:
    seconds = route.style.trail_sec or TRAIL_SEC
    course = route.course
    way = course.trail(row, seconds)
    age = ((course.time_sec[row] - course.time_sec[way]) / seconds).astype(np.float32)
    return Trail(int(course.person[row]), course.points(way).astype(np.float32), age, color, outlined=True)
