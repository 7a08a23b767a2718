from __future__ import annotations

import numpy as np
import pytest

from kinemesh_render.domain.floor import background, extent_of, plan_of, scene_of_floor
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.people import color_of
from kinemesh_render.domain.site import Floor, Zone
from kinemesh_render.domain.style import resolve

SIZE = (400, 600)
SQUARE = np.array([(1, 1), (2, 1), (2, 2), (1, 2)], np.float64)
STYLE = resolve()


def test_how_much_of_the_map_is_shown() -> None:
    picture = np.zeros((50, 100, 3), np.uint8)
    zones = [Zone("z", 10 * SQUARE), Zone("picture", 99 * SQUARE, "a")]
    walked = (-10.0, 0.0, 5.0, 6.0)
    assert extent_of(Floor(width=7, height=8), picture, zones, walked) == (0, 0, 7, 8)
    assert extent_of(Floor(pixels_per_unit=10), picture, zones, walked) == (0, 0, 10, 5)
    assert extent_of(Floor(), picture, zones, walked) == (0, 0, 100, 50)
    assert extent_of(Floor(width=50), picture, zones, walked) == (0, 0, 50, 25)
    assert extent_of(Floor(), None, zones, walked) == pytest.approx((-11.5, -1.5, 21.5, 21.5))
    assert extent_of(Floor(), None, zones, None) == pytest.approx((9.5, 9.5, 20.5, 20.5))
    assert extent_of(Floor(), None, [], None) == (0, 0, 10, 10)
    x1, y1, x2, y2 = extent_of(Floor(), None, [], (3, 4, 3, 4))
    assert x1 < 3 < x2
    assert y1 < 4 < y2


@pytest.mark.parametrize("y_up", [False, True])
def test_the_plan_lies_within_the_picture_and_keeps_its_shape(y_up: bool) -> None:
    plan = plan_of((-2, 3, 8, 5), *SIZE, y_up=y_up)
    pixels = plan.pixels(np.array([(-2, 3), (8, 3), (8, 5), (-2, 5)], np.float64))
    assert (pixels >= 0).all()
    assert (pixels <= SIZE).all()
    wide, tall = np.ptp(pixels, axis=0)
    assert wide == pytest.approx(5 * tall, rel=1e-4)
    assert wide > 350
    assert (pixels[0, 1] > pixels[2, 1]) == y_up


@pytest.mark.parametrize("extent", [(0, 0, 1e-6, 2e-6), (0, 0, 3, 4), (-1e5, 0, 1e5, 10)])
def test_the_floor_has_a_grid_at_any_scale(extent: tuple[float, float, float, float]) -> None:
    image = background(plan_of(extent, *SIZE, y_up=False), Floor(), None)
    assert image.shape == (600, 400, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 2


@pytest.mark.parametrize("y_up", [False, True])
def test_the_maps_picture_begins_at_its_origin(y_up: bool) -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:20, :40] = 255
    floor = Floor(pixels_per_unit=10, y_up=y_up)
    plan = plan_of(extent_of(floor, picture, [], None), *SIZE, y_up=y_up)
    image = background(plan, floor, picture)
    bright, dark = plan.pixels(np.array([(2, 3 if y_up else 1), (6, 1 if y_up else 3)], np.float64)).astype(int)
    assert image[bright[1], bright[0]].min() > 150
    assert image[dark[1], dark[0]].max() < 10


def test_everyone_on_the_map() -> None:
    steps = np.arange(20).repeat(2)
    person = np.tile([1, 2], 20).astype(np.int32)
    paths = PathTable(steps / 10, person, steps / 10, person / 1.0, (person == 1).astype(np.int32), 0.05)
    plan = plan_of((0, 0, 4, 4), *SIZE, y_up=False)
    scene = scene_of_floor(plan, paths, [Zone("z", SQUARE), Zone("picture", SQUARE, "a")], 1.5, STYLE)
    one, other = scene.spots
    np.testing.assert_allclose(one.point, plan.pixels(np.array([(1.5, 1.0)]))[0])
    assert (one.caption, one.guessed, one.color) == ("#1", False, color_of(1, STYLE))
    assert (other.caption, other.guessed, other.color) == ("#2", True, color_of(2, STYLE))
    assert scene.trails[0].age[[0, -1]].tolist() == pytest.approx([1.5 / 4, 0])
    assert len(scene.trails[0].points) == 16
    assert [(area.name, area.detail) for area in scene.areas] == [("z", "1 in")]
    assert not scene_of_floor(plan, paths, [], 9, STYLE).spots
