from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.people import color_of
from kinemesh_render.domain.poses import PoseTable
from kinemesh_render.domain.route import TRAIL_SEC, Route, Touches, marks_of, scene_of_route
from kinemesh_render.domain.style import Style, resolve

Standing = Callable[..., NDArray[np.float32]]

RATE = 10.0
SIZE = (640, 360)
STYLE = resolve(["#FF0000", "#00FF00"])


def course_of(frames: dict[int, Sequence[int]]) -> PathTable:
    """Attempt a climbs 2 pixels a frame in column 100 · a."""
    rows = sorted((frame, attempt) for attempt, own in frames.items() for frame in own)
    frame, attempt = np.array(rows, np.int64).reshape(-1, 2).T
    seen = np.ones(len(frame), np.int32)
    x, y = 100 * attempt.astype(np.float64), 300 - 2 * frame.astype(np.float64)
    return PathTable(frame / RATE, attempt.astype(np.int32), x, y, seen, 0.5 / RATE)


def table_of(course: PathTable, standing: Standing) -> PoseTable:
    frames = np.rint(course.time_sec * RATE).astype(np.int64)
    places = zip(course.x / SIZE[0], course.y / SIZE[1], strict=True)
    images = [standing(place, 0.3, SIZE[0] / SIZE[1]) for place in places]
    return PoseTable(frames, course.time_sec, course.person, np.stack(images))


def route_of(
    course: PathTable,
    names: Sequence[str] = ("Anna", "Ben"),
    style: Style = STYLE,
    filled_in: frozenset[tuple[int, int]] = frozenset(),
) -> Route:
    return Route(names, *SIZE, RATE, course, filled_in, [], style)


def test_every_attempt_has_its_own_colour_and_its_number(standing: Standing) -> None:
    course = course_of({1: range(20), 2: range(5, 10)})
    route, table = route_of(course), table_of(course, standing)
    scene = scene_of_route(route, table, 7)
    assert [(body.identity, body.color, body.caption) for body in scene.bodies] == [
        (1, (255, 0, 0), "1"),
        (2, (0, 255, 0), "2"),
    ]
    np.testing.assert_allclose(scene.bodies[1].points[[23, 24]].mean(axis=0), (200, 286), atol=0.01)
    assert [trail.color for trail in scene.trails] == [(255, 0, 0), (0, 255, 0)]
    assert [body.identity for body in scene_of_route(route, table, 12).bodies] == [1]
    assert not scene_of_route(route, table, 20).bodies
    alone = route_of(course, ["Anna"])
    assert scene_of_route(alone, table, 12).bodies[0].caption == ""


def test_one_colour_for_several_attempts_comes_in_shades() -> None:
    style = resolve(["#FF0000"])
    assert len({color_of(attempt, style) for attempt in (1, 2, 3)}) == 3


def test_what_was_filled_in_is_marked(standing: Standing) -> None:
    """Whether or not the middle of the body is known there."""
    course = course_of({1: [0, 1, 2, 3, 4, *range(6, 20)]})
    table = table_of(course_of({1: range(20)}), standing)
    route = route_of(course, filled_in=frozenset({(4, 1), (5, 1), (6, 2)}))
    guessed = [scene_of_route(route, table, frame).bodies[0].guessed for frame in range(2, 8)]
    assert guessed == [False, False, True, True, False, False]


@pytest.mark.parametrize(("asked", "seconds"), [(0.0, TRAIL_SEC), (1.5, 1.5)])
def test_a_trail_reaches_back_and_fades(standing: Standing, asked: float, seconds: float) -> None:
    course = course_of({1: range(60)})
    route = route_of(course, style=resolve(trail_sec=asked))
    (trail,) = scene_of_route(route, table_of(course, standing), 50).trails
    back = round(seconds * RATE)
    np.testing.assert_allclose(trail.points[[0, -1]], [(100, 300 - 2 * (50 - back)), (100, 200)])
    np.testing.assert_allclose(trail.age, np.linspace(1, 0, back + 1), atol=1e-6)


def test_a_trail_breaks_where_nobody_was_seen(standing: Standing) -> None:
    course = course_of({1: [*range(10), *range(14, 30)]})
    table = table_of(course, standing)
    (trail,) = scene_of_route(route_of(course), table, 20).trails
    assert trail.points[0].tolist() == [100, 300 - 2 * 14]
    assert not scene_of_route(route_of(course), table, 12).trails


def test_a_body_without_a_centre_has_no_trail(standing: Standing) -> None:
    """The course leaves out places that are no numbers."""
    course = course_of({1: range(5)})
    table = table_of(course_of({1: range(10)}), standing)
    scene = scene_of_route(route_of(course), table, 8)
    assert len(scene.bodies) == 1
    assert not scene.bodies[0].guessed
    assert not scene.trails


def test_rings_of_a_shared_hold_lie_round_one_another() -> None:
    touches = Touches(
        np.array([1, 1, 2, 3, 3], np.int32),
        np.array([7, 8, 8, 8, 8], np.int32),
        np.array([(1, 1), (5, 5), (5, 6), (9, 9), (5, 5)], np.float32),
        np.array([3.0, 4.0, 1.0, 2.0, 0.5]),
        np.array([5.0, 6.0, 2.0, 3.0, 0.6]),
    )
    marks = marks_of(touches)
    assert [(mark.attempt, mark.inside, mark.since, mark.point.tolist()) for mark in marks] == [
        (3, 2, 0.5, [5, 5]),
        (2, 1, 1.0, [5, 5]),
        (1, 0, 3.0, [1, 1]),
        (1, 0, 4.0, [5, 5]),
    ]
    held = [moment for moment in (0.4, 0.5, 0.59, 0.6, 1.9, 2.0, 2.9, 3.0) if marks[0].held_at(moment)]
    assert held == [0.5, 0.59, 2.0, 2.9]
