"""Figures of a made-up climber of whom everything is known."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh_matcher.domain.climbing import (
    climb_of,
    end_of_route,
    metrics_of,
    moves_of,
    pauses_of,
    rests_of,
    touches_of,
    way_of,
)
from kinemesh_matcher.domain.holds import holds_of
from kinemesh_matcher.domain.motion import Motion, motion_of, resting, runs

from . import climber

ASPECT = 4 / 3


def motion(time: climber.Floats, points: climber.Floats, noise: float = 0.0, seed: int = 0) -> Motion:
    trembling = np.random.default_rng(seed).normal(0, noise, points.shape) if noise else 0.0
    return motion_of(time, climber.visible(points + trembling, ASPECT), ASPECT)


def times(rate: float, seconds: float = climber.SECONDS) -> climber.Floats:
    return np.arange(round(seconds * rate)) / rate


@pytest.mark.parametrize(("rate", "noise"), [(30.0, 0.0), (30.0, 0.002), (24.0, 0.001), (60.0, 0.002)])
def test_what_the_climber_does_is_counted(rate: float, noise: float) -> None:
    seen = motion(times(rate), climber.climbing(times(rate)), noise)
    climb = climb_of(seen)
    assert climb.leaves_ground
    assert climb.start_sec == pytest.approx(climber.LEAVES_SEC, abs=0.25)
    assert climb.stop_sec == pytest.approx(climber.SECONDS, abs=0.1)
    rests = rests_of(seen, climb)
    moves = moves_of(rests, climb, seen.size)
    assert [rests[move.target].limb for move in moves] == climber.MOVES
    assert end_of_route(rests, moves, climb) == pytest.approx(climber.LAST_MOVE_SEC, abs=0.15)
    touches = touches_of(rests, climb)
    number, _ = holds_of(np.array([(rests[row].x, rests[row].y) for row in touches]), 0.3 * seen.size)
    assert len(np.unique(number)) == climber.HOLDS
    figures = metrics_of(seen, climb, rests, moves, climber.HOLDS)
    assert figures.pauses == 1
    assert figures.pause_sec == pytest.approx(climber.PAUSE_SEC, abs=0.4)
    assert figures.time_on_route_sec == pytest.approx(climber.LAST_MOVE_SEC - climber.LEAVES_SEC, abs=0.3)
    assert 0.2 < figures.path_length < 0.35
    assert 0.85 < figures.straightness <= 1


def test_trembling_adds_no_length() -> None:
    time = times(30)
    still, trembling = (motion(time, climber.climbing(time), noise) for noise in (0.0, 0.003))
    assert way_of(trembling, 3.5, 9)[0] == pytest.approx(way_of(still, 3.5, 9)[0], rel=0.03)


def test_a_straight_way_is_straight_and_a_way_back_is_not() -> None:
    time = times(30, 4)
    points = np.tile(climber.climbing(np.zeros(1)), (len(time), 1, 1))
    up = points - np.array([0.0, 0.1]) * time[:, None, None]
    back = points - np.array([0.0, 0.1]) * np.minimum(time, 4 - time)[:, None, None]
    assert way_of(motion(time, up), 0, 4) == pytest.approx((0.4, 1.0), abs=0.02)
    length, straightness = way_of(motion(time, back), 0, 4)
    assert length == pytest.approx(0.4, abs=0.03)
    assert straightness < 0.05


def test_a_try_that_ends_on_the_ground_is_no_start() -> None:
    hop = ((1.0, 1.3, 0.2), (1.8, 2.1, -0.2), *((a + 3, b + 3, by) for a, b, by in climber.RISES))
    reaches = [(limb, a + 3, b + 3, place) for limb, a, b, place in climber.REACHES]
    time = times(30, climber.SECONDS + 3)
    climb = climb_of(motion(time, climber.climbing(time, reaches, hop), 0.001))
    assert climb.start_sec == pytest.approx(climber.LEAVES_SEC + 3, abs=0.25)


def test_who_falls_is_back_on_the_ground() -> None:
    falls = (*climber.RISES, (9.5, 9.9, -0.24))
    reaches: list[climber.Reach] = [*climber.REACHES]
    reaches += [(limb, 9.5, 9.9, place) for limb, place in enumerate(climber.STANDING)]
    time = times(30, 14)
    seen = motion(time, climber.climbing(time, reaches, falls), 0.001)
    climb = climb_of(seen)
    assert 9.5 < climb.stop_sec < 10.2
    rests = rests_of(seen, climb)
    moves = moves_of(rests, climb, seen.size)
    assert [rests[move.target].limb for move in moves if rests[move.target].start_sec < 9.5] == climber.MOVES
    assert not any(rests[move.target].limb in (climber.LEFT_FOOT, climber.RIGHT_FOOT) for move in moves[5:])


def test_a_foot_on_the_ground_is_on_no_hold() -> None:
    time = times(30)
    reaches: list[climber.Reach] = [*climber.REACHES, (climber.LEFT_FOOT, 9.2, 9.6, (0.40, 0.95))]
    seen = motion(time, climber.climbing(time, reaches), 0.001)
    climb = climb_of(seen)
    rests = rests_of(seen, climb)
    assert [rests[move.target].limb for move in moves_of(rests, climb, seen.size)] == climber.MOVES
    assert all(rests[row].y < 0.9 for row in touches_of(rests, climb))


def test_who_never_leaves_is_measured_from_the_beginning() -> None:
    time = times(30, 5)
    seen = motion(time, climber.climbing(time, [(climber.LEFT_HAND, 1.0, 1.4, (0.42, 0.5))], ()))
    climb = climb_of(seen)
    assert (climb.start_sec, climb.leaves_ground) == (0, False)
    assert climb.stop_sec == pytest.approx(5, abs=0.05)
    assert len(moves_of(rests_of(seen, climb), climb, seen.size)) == 1


def test_gripping_anew_is_no_move_and_no_other_touch() -> None:
    time = times(30, 5)
    reaches = [(climber.LEFT_HAND, 1.0, 1.2, (0.42, 0.69)), (climber.LEFT_HAND, 3.0, 3.2, (0.42, 0.72))]
    seen = motion(time, climber.climbing(time, reaches, ()))
    climb = climb_of(seen)
    rests = rests_of(seen, climb)
    assert moves_of(rests, climb, seen.size) == []
    assert [rest.limb for rest in rests] == [0, 1, 2, 3]


def test_limbs_that_are_out_of_sight_for_a_while_are_where_they_were() -> None:
    time = times(30)
    image = climber.visible(climber.climbing(time), ASPECT)
    image[(time > 5) & (time < 6.5), 15:, 3] = 0.1
    seen = motion_of(time, image, ASPECT)
    assert np.isnan(seen.limbs[165]).all()
    assert np.isnan(seen.centre[165]).all()
    climb = climb_of(seen)
    rests = rests_of(seen, climb)
    moves = moves_of(rests, climb, seen.size)
    assert [rests[move.target].limb for move in moves] == climber.MOVES
    assert way_of(seen, 3.5, 9)[0] == pytest.approx(way_of(motion(time, climber.climbing(time)), 3.5, 9)[0], rel=0.02)


def test_nobody_seen_is_nothing_measured() -> None:
    seen = motion_of(np.empty(0), np.empty((0, 33, 5), np.float32), ASPECT)
    climb = climb_of(seen)
    figures = metrics_of(seen, climb, rests_of(seen, climb), [], 0)
    assert (figures.time_on_route_sec, figures.path_length, figures.straightness, figures.pauses) == (0, 0, 0, 0)
    assert pauses_of(seen, 0, 1) == []


def test_limits_of_rest_have_a_memory() -> None:
    speed = np.array([1.0, 0.4, 0.2, 0.4, 0.5, 0.7, 0.4, np.nan, 0.1, 0.1])
    assert runs(resting(speed, 0.3, 0.6)).tolist() == [[2, 5], [8, 10]]


def test_holds_do_not_follow_the_order_of_touches() -> None:
    random = np.random.default_rng(3)
    middle = np.array([[0.2, 0.9], [0.5, 0.9], [0.4, 0.5], [0.45, 0.2]])
    places = np.concatenate([one + random.uniform(-0.01, 0.01, (20, 2)) for one in middle])
    number, found = holds_of(places, 0.05)
    assert len(found) == 4
    np.testing.assert_allclose(np.sort(found[:, 1])[::-1], found[:, 1])  # from the lowest up
    shuffled = random.permutation(len(places))
    again, same = holds_of(places[shuffled], 0.05)
    np.testing.assert_array_equal(again, number[shuffled])
    np.testing.assert_allclose(same, found, atol=1e-12)
    assert all(len(set(number[20 * k : 20 * k + 20].tolist())) == 1 for k in range(4))


def test_places_that_tie_do_not_follow_the_order_either() -> None:
    row = np.stack([np.arange(9) * 0.0625, np.full(9, 0.5)], axis=1)
    number, _ = holds_of(row, 0.07)
    for order in (np.arange(9)[::-1], np.random.default_rng(1).permutation(9), np.roll(np.arange(9), 4)):
        np.testing.assert_array_equal(holds_of(row[order], 0.07)[0], number[order])


def test_no_places_are_no_holds() -> None:
    number, middle = holds_of(np.empty((0, 2)), 0.1)
    assert number.shape == (0,)
    assert middle.shape == (0, 2)
