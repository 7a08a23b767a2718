"""What a whole job comes to: numbers in hindsight, ways, presence, and the floor as a picture."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh_detect_track.domain.floor import Floor, measured, pictured, pixels, seconds
from kinemesh_detect_track.domain.hindsight import Observed, Reunion, Stray, final_numbers, renumbered, settled
from kinemesh_detect_track.domain.presence import Count, Stay, counts, occupied, stays
from kinemesh_detect_track.domain.ways import lengths, ways

RATE = 20.0


def observed(rows: list[tuple[int, int, int, int]], place: list[tuple[float, float]] | None = None) -> Observed:
    """Rows are (step, camera, track, person), by step."""
    step, camera, track, person = np.array(rows, np.int64).reshape(-1, 4).T
    position = np.full((len(rows), 2), np.nan) if place is None else np.array(place)
    return Observed(
        step.astype(np.int32),
        camera.astype(np.int16),
        track.astype(np.int32),
        person.astype(np.int32),
        position,
        np.tile(np.array([0.04, 0, 0.04], np.float32), (len(rows), 1)),
    )


def test_a_track_belongs_from_its_beginning_to_whom_it_is_given() -> None:
    rows = [(0, 0, 1, 0), (0, 1, 1, 0), (1, 0, 1, 0), (2, 0, 1, 4), (2, 1, 1, 0), (3, 0, 1, 4), (3, 0, 2, 0)]
    assert settled(observed(rows), [], []).tolist() == [4, 0, 4, 4, 0, 4, 0]


def test_mergers_hold_for_what_was_before_one_after_the_other() -> None:
    rows = [(0, 0, 1, 3), (1, 0, 1, 2), (2, 0, 1, 1), (2, 1, 1, 5)]
    assert settled(observed(rows), [(2, 3), (1, 2)], []).tolist() == [1, 1, 1, 5]


def test_what_strayed_belongs_to_whom_it_is_given_to_next() -> None:
    rows = [(step, camera, 1, 1 if step < 6 else 2) for step in range(8) for camera in (0, 1)]
    found = settled(observed(rows), [], [Stray(camera=1, track=1, start=4, stop=6)])
    assert found[0::2].tolist() == [1] * 6 + [2] * 2
    assert found[1::2].tolist() == [1] * 4 + [2] * 4


def test_nobody_is_twice_in_a_picture_for_being_given_a_second_box_late() -> None:
    first = [(step, 0, 1, 1) for step in range(4)]
    second = [(step, 0, 2, 1 if step >= 4 else 0) for step in range(2, 7)]
    elsewhere = [(step, 1, 2, 1 if step >= 4 else 0) for step in range(2, 7)]
    rows = sorted([*first, *second, *elsewhere])
    found = settled(observed(rows), [], [])
    assert {row[:3] for row, person in zip(rows, found.tolist(), strict=True) if not person} == {(2, 0, 2), (3, 0, 2)}


def test_a_circle_of_mergers_ends() -> None:
    assert renumbered(np.array([1, 2, 3], np.int32), {1: 2, 2: 1}).tolist() in ([1, 2, 3], [2, 1, 3])


@pytest.mark.parametrize(
    ("reunions", "known", "expected"),
    [
        ([(5, 7), (5, 9)], [], {5: 5, 7: 5, 9: 5}),
        ([(5, 7), (3, 5)], [], {3: 3, 5: 3, 7: 3}),
        ([(5, 1), (5, 7)], [1, 2], {5: 1, 1: 1, 7: 1}),  # the gallery's number stays
        ([(7, 1), (5, 7)], [1, 2], {5: 1, 1: 1, 7: 1}),
        ([(2, 1), (2, 7)], [1, 2], {2: 2, 1: 2, 7: 2}),  # two of the gallery
    ],
)
def test_people_who_are_one_get_one_number(
    reunions: list[tuple[int, int]], known: list[int], expected: dict[int, int]
) -> None:
    becomes = final_numbers([Reunion(stays, goes, 0, 0) for stays, goes in reunions], known)
    numbers = np.array(list(expected), np.int32)
    assert renumbered(numbers, becomes).tolist() == list(expected.values())


def test_ways_are_filled_where_somebody_was_away_for_a_moment_only() -> None:
    seen = [step for step in range(200) if not (50 <= step < 80 or 120 <= step < 180)]
    rows = [(step, camera, 1, 1) for step in seen for camera in (0, 1)]
    place = [(0.05 * step, 2.0) for step in seen for _ in (0, 1)]
    found = ways(observed(rows, place), np.ones(len(rows), np.int32), RATE, 0.1, 1.0)
    assert found.step.tolist() == [*range(120), *range(180, 200)]
    assert found.cameras[:50].tolist() == [2] * 50
    assert found.cameras[50:80].tolist() == [0] * 30
    np.testing.assert_allclose(found.place[:, 0], 0.05 * found.step, atol=0.02)
    np.testing.assert_allclose(found.velocity[:, 0], 1.0, atol=0.05)
    assert lengths(found, RATE)[1] == pytest.approx(0.05 * (119 + 19), rel=0.02)


def test_maps_in_national_grids_lose_no_digit() -> None:
    rows = [(step, 0, 1, 1) for step in range(60)]
    place = np.array([(0.05 * step, 1.0) for step in range(60)])
    person = np.ones(60, np.int32)
    origin = np.array([467_000.0, 5_270_000.0])
    here = ways(observed(rows, [tuple(one) for one in place.tolist()]), person, RATE, 0.1, 1.0)
    there = ways(observed(rows, [tuple(one) for one in (place + origin).tolist()]), person, RATE, 0.1, 1.0)
    np.testing.assert_allclose(there.place - origin, here.place, atol=1e-6)


def test_who_nobody_knows_and_who_has_no_place_goes_no_way() -> None:
    rows = [(0, 0, 1, 0), (0, 0, 2, 3), (1, 0, 1, 0)]
    found = ways(observed(rows), np.array([0, 3, 0], np.int32), RATE, 0.1, 1.0)
    assert len(found) == 0
    assert lengths(found, RATE) == {}


def test_a_stay_lasts_through_flicker_and_through_cameras_of_any_rate() -> None:
    person = np.array([1, 1, 1, 2, 1])
    start = np.array([0, 10, 21, 5, 40])
    stop = np.array([10, 11, 22, 6, 41])
    # Ten steps are half a second, which is no absence yet; eighteen are one.
    assert stays("bay", person, start, stop, RATE) == [
        Stay("bay", 1, 0, 22),
        Stay("bay", 2, 5, 6),
        Stay("bay", 1, 40, 41),
    ]
    long_and_short = stays("bay", np.array([1, 1, 1]), np.array([0, 1, 25]), np.array([30, 2, 26]), RATE)
    assert long_and_short == [Stay("bay", 1, 0, 30)]
    assert stays("bay", person[:0], start[:0], stop[:0], RATE) == []


def test_counts_change_where_people_come_and_go() -> None:
    found = [Stay("bay", 1, 0, 10), Stay("bay", 2, 4, 10), Stay("bay", 3, 10, 12), Stay("bay", 1, 20, 21)]
    assert counts(found) == [Count(0, 1), Count(4, 2), Count(10, 1), Count(12, 0), Count(20, 1), Count(21, 0)]
    assert occupied(found) == 13
    assert counts([]) == []


def test_random_stays_agree_with_counting_step_by_step() -> None:
    rng = np.random.default_rng(3)
    there = rng.random((5, 300)) < 0.6
    person, start = np.nonzero(there)
    found = stays("bay", person, start, start + 1, rate=1.0)  # so that no absence is too short to count
    for number in range(5):
        marked = np.zeros(300, bool)
        for stay in found:
            if stay.person == number:
                assert not marked[stay.start : stay.stop].any()
                marked[stay.start : stay.stop] = True
        np.testing.assert_array_equal(marked, there[number])
    at_once = np.zeros(301, int)
    for change, following in zip(counts(found), [*counts(found)[1:], Count(301, 0)], strict=True):
        at_once[change.step : following.step] = change.people
    np.testing.assert_array_equal(at_once[:300], there.sum(axis=0))


def test_the_maps_origin_is_a_corner_of_its_picture() -> None:
    place = np.array([[0, 0], [2, 1]], np.float64)
    down, up = pictured(400, 300, 100, y_up=False), pictured(400, 300, 100, y_up=True)
    assert pixels(down, place).tolist() == [[0, 0], [200, 100]]
    assert pixels(up, place).tolist() == [[0, 300], [200, 200]]


def test_a_map_without_extent_reaches_as_far_as_people() -> None:
    place = np.random.default_rng(0).uniform((3, -4), (8, 6), (1000, 2))
    floor = measured(place, 0, 0, y_up=False, metre=1.0)
    inside = pixels(floor, place)
    assert ((inside > -20) & (inside < (floor.width + 20, floor.height + 20))).all()
    assert max(floor.width, floor.height) == 1024
    assert measured(place, 20, 10, y_up=False, metre=1.0) == Floor(0, 0, 1024, 512, 51.2, y_up=False)
    nobody = measured(place[:0], 0, 0, y_up=False, metre=100.0)
    assert nobody.width / nobody.scale == pytest.approx(1000)
    alone = measured(np.array([[5.0, 5.0]]), 0, 0, y_up=False, metre=1.0)
    assert alone.width / alone.scale == pytest.approx(2)


def test_seconds_on_the_floor_are_all_there_and_where_they_belong() -> None:
    floor = pictured(40, 30, 10, y_up=False)
    place = np.array([[0.05, 0.05], [0.05, 0.07], [3.95, 2.95], [9, 9], [-1, 0]])
    spent = seconds(floor, place, 0.5, cell=4)
    assert spent.shape == (8, 10)
    assert (spent[0, 0], spent[7, 9], spent.sum()) == (1.0, 0.5, 1.5)
