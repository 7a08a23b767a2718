from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kinemesh.results.tracks import TrackRows, empty_rows
from kinemesh_render.domain.scene import Scene
from kinemesh_render.domain.tracks import MOST_LABEL, Zone, duration, scene_of_tracks, table_of, thing_of

SIZE = (200, 100)


def rows_of(*rows: tuple[int, float, int, bool]) -> TrackRows:
    """Of (frame, time, track, interpolated); a track's box moves to the right by ten pixels a frame."""
    frame, time, track, guessed = zip(*rows, strict=True)
    left = 10 * np.array(frame)
    box = np.stack([left, np.full(len(rows), 20), left + 8, np.full(len(rows), 60)], axis=1)
    return TrackRows(
        np.array(frame, np.int64), np.array(time), np.array(track, np.int32), box.astype(np.float32),
        np.full(len(rows), 0.834, np.float32), np.zeros(len(rows), np.int16), np.array(guessed),
    )  # fmt: skip


def scene(rows: TrackRows, frame: int, time: float = 0.0, zones: Sequence[Zone] = (), trail_sec: float = 0) -> Scene:
    return scene_of_tracks(table_of(rows), {1: "tyre gun"}, zones, frame, time, SIZE, trail_sec)


def zone(*visits: tuple[float, float]) -> Zone:
    corners = np.array([(0.1, 0.5), (0.5, 0.5), (0.5, 1)], np.float32)
    return Zone("box 4", corners, *np.array(visits, np.float64).reshape(-1, 2).T)


def test_objects_of_a_frame() -> None:
    rows = rows_of((0, 0.0, 1, False), (3, 0.1, 1, False), (3, 0.1, 2, True), (4, 0.2, 1, False))
    one, two = scene(rows, 3).things
    assert (one.identity, one.caption, one.detail, one.guessed) == (1, "tyre gun #1", "0.83", False)
    assert (two.identity, two.caption, two.detail, two.guessed) == (2, "#2", "", True)
    np.testing.assert_array_equal(one.box, (30, 20, 38, 60))
    assert not scene(rows, 2).things


def test_no_rows_and_rows_of_no_track() -> None:
    assert scene(empty_rows(), 0, trail_sec=1) == Scene(trails=[], things=[], areas=[])
    assert not scene(rows_of((0, 0.0, 0, False)), 0, trail_sec=1).things


def test_long_names_are_cut() -> None:
    caption = thing_of(7, np.zeros(4, np.float32), "wheel " * 20, 0.5, guessed=False).caption
    assert caption.endswith("… #7")
    assert len(caption) == MOST_LABEL + 3


def test_trails_follow_the_feet_of_one_track() -> None:
    rows = rows_of(*((frame, frame / 10, track, False) for frame in range(6) for track in (1, 2)))
    first, second = scene(rows, 4, trail_sec=0.25).trails
    assert (first.identity, second.identity) == (1, 2)
    np.testing.assert_allclose(first.points, [(24, 60), (34, 60), (44, 60)])
    np.testing.assert_allclose(first.age, [0.8, 0.4, 0], atol=1e-6)
    assert not scene(rows, 4).trails


def test_trails_do_not_bridge_an_absence() -> None:
    rows = rows_of((0, 0.0, 1, False), (1, 0.1, 1, False), (9, 0.9, 1, False), (10, 1.0, 1, False))
    (trail,) = scene(rows, 10, trail_sec=5).trails
    assert len(trail.points) == 2
    (trail,) = scene(rows, 9, trail_sec=5).trails
    assert len(trail.points) == 1


@pytest.mark.parametrize(
    ("time", "detail"),
    [
        (0.9, ""),
        (1.0, "1 in · 0.0 s"),
        (2.5, "2 in · 1.5 s"),
        (3.0, "1 in · 1.0 s"),
        (70.0, "1 in · 1:08.0"),
        (99.0, ""),
    ],
)
def test_a_zone_tells_who_is_there_and_the_longest_for_how_long(time: float, detail: str) -> None:
    """A visit lasts until its last frame's end, at which the next frame begins."""
    (area,) = scene(empty_rows(), 0, time, [zone((1.0, 3.0), (2.0, 99.0))]).areas
    assert (area.name, area.detail, area.occupied) == ("box 4", detail, bool(detail))
    np.testing.assert_allclose(area.corners, [(20, 50), (100, 50), (100, 100)])


def test_times_may_be_rounded_to_six_decimals() -> None:
    third = 1 / 3
    visited = zone((round(2 * third, 6), round(3 * third, 6)))
    assert [scene(empty_rows(), 0, n * third, [visited]).areas[0].occupied for n in (1, 2, 3)] == [False, True, False]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00.0"), (61.25, "1:01.3"), (3600, "60:00.0")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
