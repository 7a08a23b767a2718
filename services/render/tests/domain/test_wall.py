from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh.nv12 import chroma, luma
from kinemesh_render.domain.canvas import on_nv12, scaled
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.poses import PoseTable
from kinemesh_render.domain.route import Route, Touches, marks_of
from kinemesh_render.domain.style import resolve
from kinemesh_render.domain.wall import MATRIX, Wall, compose, ground_of, legs_of, shown_size

Standing = Callable[..., NDArray[np.float32]]
Image = NDArray[np.uint8]

RATE = 10.0
SIZE = (640, 360)
STYLE = resolve(["#FF0000", "#0000FF"], hide_labels=True)
NOBODY = PoseTable(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int32), np.zeros((0, 33, 5), np.float32))
NO_ONE = np.zeros(0, np.int32)
UNTOUCHED = Touches(NO_ONE, NO_ONE, np.zeros((0, 2), np.float32), np.zeros(0), np.zeros(0))


def grey() -> Image:
    return ground_of(np.full((*SIZE[::-1], 3), 160, np.uint8), SIZE)


def course_of(attempts: Sequence[int], times: Sequence[float], x: Sequence[float], y: Sequence[float]) -> PathTable:
    seen = np.ones(len(times), np.int32)
    return PathTable(np.array(times), np.array(attempts, np.int32), np.array(x), np.array(y), seen, 0.5 / RATE)


def climb(frames: Sequence[int], attempt: int = 1) -> PathTable:
    """Upwards in the middle of the picture, 4 pixels a frame."""
    count = len(frames)
    return course_of([attempt] * count, [f / RATE for f in frames], [320.0] * count, [300.0 - 4 * f for f in frames])


def route_of(course: PathTable, touches: Touches = UNTOUCHED, names: Sequence[str] = ("Anna",)) -> Route:
    return Route(names, *SIZE, RATE, course, frozenset(), marks_of(touches), STYLE)


def rgb(image: Image) -> NDArray[np.int64]:
    return scaled(on_nv12(image, MATRIX), (0, 0, *SIZE), *SIZE).astype(np.int64)


def reddish(image: Image) -> NDArray[np.bool_]:
    red, green, _ = rgb(image).transpose(2, 0, 1)
    return np.asarray(red - green > 60)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1920, 1080), (1920, 1080)),
        ((4032, 3024), (1920, 1440)),
        ((3024, 4032), (1440, 1920)),
        ((333, 251), (332, 250)),
        ((20_000, 10), (1920, 2)),
        ((1, 1), (2, 2)),
    ],
)
def test_the_shown_size_is_even_and_at_most_full_hd(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert shown_size(*size) == shown


def test_the_picture_is_dimmed_and_less_colourful() -> None:
    picture = np.zeros((200, 400, 3), np.uint8)
    picture[:100], picture[100:, :200], picture[100:, 200:] = 200, (220, 40, 40), (40, 40, 220)
    ground = ground_of(picture, (200, 100))
    assert (luma(ground).shape, chroma(ground).shape) == ((100, 200), (50, 100, 2))
    shown = scaled(on_nv12(ground, MATRIX), (0, 0, 200, 100), 200, 100).astype(int)
    np.testing.assert_allclose(shown[25, 100], (144, 144, 144), atol=2)
    for place, channel in (((75, 50), 0), ((75, 150), 2)):
        red, green, blue = shown[place]
        strong = (red, green, blue)[channel]
        assert 100 < strong < 180
        assert 60 < strong - green < 0.72 * 180


def test_a_way_leaves_out_small_steps_and_breaks_at_gaps() -> None:
    trembling = legs_of(course_of([1] * 5, [0, 0.1, 0.2, 0.3, 0.4], [10, 11, 10, 9, 10], [5] * 5))
    assert len(trembling.ends) == 0
    broken = legs_of(climb([0, 1, 2, 8, 9]))
    np.testing.assert_allclose(broken.time_sec, [0.1, 0.2, 0.9])
    np.testing.assert_allclose(broken.ends[:, :, 1], [(300, 296), (296, 292), (268, 264)])
    slow = legs_of(course_of([1] * 5, [0, 0.1, 0.2, 0.3, 0.4], [0, 1, 2, 3, 4], [0] * 5))
    np.testing.assert_allclose(slow.ends, [[(0, 0), (3, 0)]])


def test_two_ways_do_not_mix() -> None:
    legs = legs_of(course_of([1, 2, 1, 2], [0, 0, 0.1, 0.1], [0, 100, 9, 109], [0, 50, 0, 50]))
    assert legs.attempt.tolist() == [1, 2]
    np.testing.assert_allclose(legs.ends, [[(0, 0), (9, 0)], [(100, 50), (109, 50)]])


def test_the_way_grows_and_stays() -> None:
    course = climb(range(20))
    route = route_of(course)
    wall = Wall(grey(), route)
    reached = []
    for frame in (0, 5, 10, 40):
        rows = np.flatnonzero(reddish(compose(wall, route, NOBODY, frame))[:, 316:325].any(axis=1))
        reached.append((rows.min(), rows.max()) if len(rows) else None)
    assert reached[0] is None
    for found, top in zip(reached[1:], (280, 260, 224), strict=True):
        assert found == (pytest.approx(top, abs=3), pytest.approx(300, abs=3))


def test_a_hold_appears_when_it_is_touched_and_is_filled_while_it_is_held() -> None:
    one = np.ones(1, np.int32)
    touches = Touches(one, one, np.array([(100, 100)], np.float32), np.array([1.0]), np.array([2.0]))
    route = route_of(climb([]), touches)
    wall = Wall(grey(), route)
    for frame in range(30):
        red = reddish(compose(wall, route, NOBODY, frame))
        assert red.any() == (frame >= 10), frame
        assert red[99:102, 99:102].all() == (10 <= frame < 20), frame


def test_a_hold_of_two_has_two_rings_of_which_the_held_is_filled() -> None:
    touches = Touches(
        np.array([1, 2], np.int32),
        np.ones(2, np.int32),
        np.full((2, 2), 100, np.float32),
        np.array([0.0, 0.0]),
        np.array([0.1, 9.0]),
    )
    route = replace(route_of(climb([]), touches), width=1280, height=720)
    ground = ground_of(np.full((720, 1280, 3), 160, np.uint8), (1280, 720))
    canvas = on_nv12(compose(Wall(ground, route), route, NOBODY, 5), MATRIX)
    image = scaled(canvas, (0, 0, 1280, 720), 1280, 720).astype(np.int64)
    red, green, blue = image[100, 100:130].T
    np.testing.assert_allclose(image[100, 100], 160 * 0.72, atol=8)  # colours have half the detail
    inner, outer = np.flatnonzero(red - green > 60), np.flatnonzero(blue - green > 60)
    assert 4 <= inner.min() < inner.max() < outer.min() < outer.max() < 22


def test_what_lies_on_top_does_not_depend_on_the_first_frame() -> None:
    """A window that begins later shows the same, where ways of several and rings lie over one another."""
    rng = np.random.default_rng(4)
    frames = np.arange(40).repeat(2)
    attempts = np.tile([1, 2], 40)
    x, y = (rng.uniform(100, 200, 80) for _ in range(2))
    course = course_of(attempts.tolist(), (frames / RATE).tolist(), x.tolist(), y.tolist())
    starts = rng.uniform(0, 4, 8)
    touches = Touches(
        np.tile([1, 2], 4).astype(np.int32), np.arange(8, dtype=np.int32),
        rng.uniform(100, 200, (8, 2)).astype(np.float32), starts, starts + 0.2,
    )  # fmt: skip
    route = route_of(course, touches)
    wall = Wall(grey(), route)
    whole = [compose(wall, route, NOBODY, frame) for frame in range(40)]
    for first in (7, 23, 39):
        later = Wall(grey(), route)
        for frame in range(first, 40):
            np.testing.assert_array_equal(compose(later, route, NOBODY, frame), whole[frame])


def test_what_was_filled_in_has_gaps(standing: Standing) -> None:
    table = PoseTable(np.zeros(1, np.int64), np.zeros(1), np.ones(1, np.int32), standing((0.5, 0.5), 0.8, 16 / 9)[None])
    route = route_of(climb([0]))
    guessed = replace(route, filled_in=frozenset({(0, 1)}))
    seen, filled_in = (compose(Wall(grey(), each), each, table, 0) for each in (route, guessed))
    ankle, knee = (table.image[0, joint, :2] * SIZE for joint in (28, 26))
    along = np.linspace(0.15, 0.85, 60)[:, None]
    places = np.rint(knee + along * (ankle - knee)).astype(int)
    bone = [(np.abs(rgb(image)[places[:, 1], places[:, 0]] - 115).max(axis=1) > 40) for image in (seen, filled_in)]
    assert bone[0].all()
    assert 0.3 < bone[1].mean() < 0.9


@pytest.mark.parametrize("names", [("Anna",), ("Anna", "Ben"), ("", "A name that is far too long to be written there")])
def test_the_legend_names_everyone_and_pales_who_is_not_there(names: Sequence[str], standing: Standing) -> None:
    table = PoseTable(np.zeros(1, np.int64), np.zeros(1), np.ones(1, np.int32), standing((0.8, 0.6), 0.3, 16 / 9)[None])
    route = replace(route_of(climb([0]), names=names), style=resolve(["#FF0000", "#0000FF"]))
    wall = Wall(grey(), route)
    there, gone = (rgb(compose(wall, route, table, frame))[:100, :300] for frame in (0, 1))
    bright = [int((image[:, :, 0] - image[:, :, 1] > 150).sum()) for image in (there, gone)]
    assert bright[0] > 100
    assert bright[1] == 0
    blue = (there[:, :, 2] - there[:, :, 1] > 30).sum()
    assert (blue > 100) == (len(names) > 1)
    assert np.abs(gone - there)[:20].max() > 20  # the time
