from __future__ import annotations

from typing import Any

import numpy as np

from kinemesh.results.sightings import SightingRows
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.people import UNKNOWN, camera_of_view, color_of, name_of, people_table, scene_of_people
from kinemesh_render.domain.scene import Scene
from kinemesh_render.domain.site import View, Zone
from kinemesh_render.domain.style import PALETTE, resolve

SIZE = (200, 100)
STYLE = resolve(trail_sec=1)


def paths(*rows: tuple[float, int, float, float, int], reach: float = 0.05) -> PathTable:
    time, person, x, y, cameras = np.array(rows, np.float64).reshape(-1, 5).T
    return PathTable(time, person.astype(np.int32), x, y, cameras.astype(np.int32), reach)


def people(*rows: tuple[int, int, bool, bool]) -> SightingRows:
    """Of (frame, person, interpolated, feet hidden); ten frames a second, each box ten pixels to the right."""
    frame, person, guessed, hidden = (np.array(column) for column in zip(*rows, strict=True))
    left, zero = (10 * frame).astype(np.float32), np.zeros(len(rows))
    named = np.array([f"{number:08x}-uuid" if number else "" for number in person.tolist()])
    name = np.full(len(rows), "a")
    return SightingRows(
        frame, frame / 10, name, name, frame, (person + 1).astype(np.int32), person.astype(np.int32), named,
        left, zero.astype(np.float32) + 20, left + 8, zero.astype(np.float32) + 60, zero.astype(np.float32),
        zero.astype(np.int16), guessed, zero, zero, zero, zero, zero, hidden,
    )  # fmt: skip


def scene(rows: SightingRows, frame: int, *zones: Zone, at: PathTable | None = None, **view: Any) -> Scene:
    camera = camera_of_view("a", View(np.eye(3)), zones, SIZE, view.get("own", SIZE), view.get("shown", SIZE))
    return scene_of_people(people_table(rows), camera, at or paths(), frame, frame / 10, STYLE)


def test_colours_differ_longer_than_the_palette_lasts() -> None:
    colors = [color_of(person, STYLE) for person in range(1, 3 * len(PALETTE) + 1)]
    assert len(set(colors)) == len(colors)
    assert color_of(0, STYLE) == UNKNOWN
    assert UNKNOWN not in colors
    assert (name_of(3), name_of(0)) == ("#3", "")


def test_people_of_a_frame() -> None:
    rows = people((0, 3, False, False), (2, 3, False, True), (2, 0, True, False), (3, 3, False, False))
    one, other = scene(rows, 2).things
    assert (one.caption, one.detail, one.guessed, one.feet_hidden) == ("#3", "0000", False, True)
    assert one.color == color_of(3, STYLE)
    assert (other.caption, other.detail, other.guessed, other.feet_hidden) == ("", "", True, False)
    assert other.color == UNKNOWN
    np.testing.assert_array_equal(one.box, (20, 20, 28, 60))
    trail = scene(rows, 2).trails[0]
    np.testing.assert_array_equal(trail.points, [(4, 60), (24, 60)])
    assert trail.color == one.color
    assert not scene(rows, 1).things


def test_boxes_and_trails_are_scaled_to_what_is_shown() -> None:
    rows = people((0, 1, False, False), (1, 1, False, False))
    shown = scene(rows, 1, shown=(100, 200))
    np.testing.assert_array_equal(shown.things[0].box, (5, 40, 9, 120))
    np.testing.assert_array_equal(shown.trails[0].points[-1], (7, 120))


def test_a_zone_keeps_its_place_in_recordings_of_another_size() -> None:
    corners = np.array([(0, 0), (20, 0), (20, 50), (0, 50)], np.float64)
    (area,) = scene(people((0, 1, False, False)), 0, Zone("z", corners), own=(400, 200), shown=(100, 50)).areas
    np.testing.assert_allclose(area.corners, corners / 2)


def test_a_zone_of_the_map_counts_people_and_one_of_the_picture_boxes() -> None:
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    zones = [Zone("map", 50 * square), Zone("picture", square * (0.2, 0.7), "a"), Zone("other", square, "b")]
    at = paths((0.1, 1, 10, 10, 1), (0.1, 2, 20, 10, 0), (0.1, 3, 90, 10, 1), (0.3, 1, 90, 90, 1))
    rows = people((1, 1, False, False), (3, 1, False, False))
    assert [(area.name, area.detail) for area in scene(rows, 1, *zones, at=at).areas] == [
        ("map", "2 in"),
        ("picture", "1 in"),
    ]
    assert [area.detail for area in scene(rows, 2, *zones, at=at).areas] == ["", ""]
    assert [area.detail for area in scene(rows, 3, *zones, at=at).areas] == ["", "1 in"]


def test_the_step_nearest_to_a_moment() -> None:
    table = paths((0.0, 1, 0, 0, 1), (0.1, 1, 1, 0, 1), (0.1, 2, 5, 5, 1), (0.2, 1, 2, 0, 1))
    assert table.at(0.08) == slice(1, 3)
    assert table.at(0.12) == slice(1, 3)
    assert table.at(0.24) == slice(3, 4)
    assert table.at(0.3) == slice(0, 0)


def test_a_way_ends_where_it_was_broken() -> None:
    table = paths(
        *((step / 10, person, step, 0, 1) for step in range(20) for person in (1, 2) if step not in range(3, 9))
    )
    last = table.at(1.9).stop - 1
    assert table.time_sec[table.trail(last, 0.5)].round(1).tolist() == [1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
    assert table.time_sec[table.trail(last, 9)].round(1).min() == 0.9
    assert set(table.person[table.trail(last, 9)].tolist()) == {2}
