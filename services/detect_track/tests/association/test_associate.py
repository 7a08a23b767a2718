"""One identity for each person, on made-up sites."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kinemesh_detect_track.domain.association.decisions import Kind
from kinemesh_detect_track.domain.association.places import Site

from .walks import Camera, Walks, straight, tell, wandering

NORTH = Camera((5.0, -5.0, 4.0), (5.0, 5.0))
SOUTH = Camera((5.0, 15.0, 4.0), (5.0, 5.0))
EAST = Camera((15.0, 5.0, 4.0), (5.0, 5.0), rate=7.0, start_sec=0.33)
WEST = Camera((-5.0, 5.0, 4.0), (5.0, 5.0), rate=15.0, start_sec=0.1)
FAR = Camera((35.0, -5.0, 4.0), (35.0, 5.0))
"""Looks at another hall, 30 metres away."""


def blind(camera: Camera) -> Camera:
    return Camera(camera.stands, camera.looks_at, camera.rate, camera.start_sec, calibrated=False)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("cameras", [(NORTH, SOUTH), (NORTH, SOUTH, EAST, WEST)], ids=["two", "four"])
def test_people_who_wander_through_views_that_overlap(seed: int, cameras: tuple[Camera, ...]) -> None:
    ways = [wandering(10 * seed + person) for person in range(4)]
    told = tell(Walks(cameras, ways, seconds=20, dropped=0.1, seed=seed, likeness=0.9))
    assert told.purity > 0.97
    assert Counter(d.kind for d in told.decisions)[Kind.APPEARED] <= 6


@pytest.mark.parametrize("seed", range(3))
def test_places_alone_tell_people_apart_who_keep_a_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ways = [straight((0.5, 2.0 + 3 * lane), (0.25 + 0.05 * float(rng.random()), 0.0)) for lane in range(3)]
    told = tell(Walks((NORTH, SOUTH, EAST), ways, dropped=0.15, seed=seed))
    for person in range(3):
        assert len(told.numbers_of(person)) == 1
    assert told.people.next_number == 4
    assert np.nanmean([row.miss for row in told.rows]) < 0.3


def test_one_camera_never_shows_somebody_twice() -> None:
    ways = [wandering(person) for person in range(6)]
    told = tell(Walks((NORTH, SOUTH, WEST), ways, dropped=0.2, likeness=0.5))
    shown = Counter((row.step, row.camera, row.person) for row in told.rows if row.person)
    assert max(shown.values()) == 1


def test_the_state_may_be_written_and_read_after_any_step() -> None:
    walks = Walks((NORTH, EAST), [wandering(person) for person in range(4)], seconds=15, dropped=0.1, likeness=0.8)
    plain, through = tell(walks), tell(walks, through_bytes=True)
    assert plain.states == through.states
    assert plain.decisions == through.decisions
    assert plain.rows == through.rows


def test_the_order_of_rows_does_not_matter() -> None:
    walks = Walks((NORTH, EAST, WEST), [wandering(person) for person in range(4)], seconds=15, likeness=0.8)
    plain, mixed = tell(walks), tell(walks, shuffle=True, backwards=True)
    assert plain.states == mixed.states
    assert plain.decisions == mixed.decisions
    assert sorted(plain.rows, key=repr) == sorted(mixed.rows, key=repr)


def test_feet_that_the_picture_cuts_are_estimated() -> None:
    # Close to the camera, so that its picture ends above the feet; the other one sees them whole.
    close = Camera((5.0, -1.0, 1.6), (5.0, 6.0))
    told = tell(Walks((close, SOUTH), [straight((4.5, 6.0), (0.0, -0.22))], seconds=20))
    hidden = [row.miss for row in told.rows if row.camera == 0 and row.time_sec > 15]
    assert len(told.numbers_of(0)) == 1
    assert np.median(hidden) < 0.7


def test_somebody_without_looks_is_known_again_where_they_were_lost() -> None:
    way = straight((1.0, 5.0), (0.8, 0.0))

    def behind_a_pillar(second: float) -> tuple[float, float] | None:
        return None if 4.0 < second < 6.5 else way(second)

    told = tell(Walks((NORTH, SOUTH), [behind_a_pillar], seconds=10))
    assert len({row.track for row in told.rows if row.camera == 0}) == 2
    assert told.numbers_of(0) == [1]


def test_tracks_that_a_camera_exchanges_are_taken_from_whom_they_no_longer_show() -> None:
    ways = [straight((2.0, 3.0), (0.15, 0.0)), straight((2.0, 7.0), (0.15, 0.0))]
    told = tell(Walks((NORTH, SOUTH), ways, swaps={1: 10.0}))
    assert Kind.SPLIT in {decision.kind for decision in told.decisions}
    for person in range(2):
        assert told.numbers_of(person, after=14.0) == told.numbers_of(person, camera=0)
    assert told.people.next_number == 3


def test_two_who_were_taken_for_different_people_become_one_at_one_place() -> None:
    told = tell(Walks((NORTH, SOUTH), [straight((3.0, 5.0), (0.2, 0.0))], seconds=15, pushed={1: (6.0, 160.0)}))
    merged = [decision for decision in told.decisions if decision.kind is Kind.MERGED]
    assert [(decision.person, decision.other) for decision in merged] == [(1, 2)]
    assert told.numbers_of(0, after=9.0) == [1]


def test_looks_tell_who_comes_back_where_views_do_not_overlap() -> None:
    ways = []
    for person in range(3):
        here = straight((2.0 + 2 * person, 4.0), (0.1, 0.0), 0.0, 12.0)
        there = straight((38.0 - 2 * person, 4.0), (-0.1, 0.0), 80.0, 92.0)
        ways.append(lambda second, here=here, there=there: here(second) or there(second))
    told = tell(Walks((NORTH, FAR), ways, seconds=92, likeness=0.95))
    for person in range(3):
        assert len(told.numbers_of(person)) == 1
    assert told.people.next_number == 4


def passage(least: float, longest: float) -> Site:
    one, other = np.array([[0.0, least], [least, 0.0]]), np.array([[np.inf, longest], [longest, np.inf]])
    return Site(1.0, 400.0, one, other)


@pytest.mark.parametrize(
    ("least", "longest", "same"), [(10, 60, True), (40, 60, False), (1, 20, False), (0, np.inf, True)]
)
@pytest.mark.parametrize("calibrated", [True, False])
def test_nobody_is_faster_or_slower_than_the_way_takes(
    least: float, longest: float, same: bool, calibrated: bool
) -> None:
    here, there = straight((3.0, 4.0), (0.1, 0.0), 0.0, 10.0), straight((34.0, 4.0), (0.1, 0.0), 40.0, 50.0)
    cameras = (NORTH, FAR) if calibrated else (blind(NORTH), blind(FAR))
    way = lambda second: here(second) or there(second)  # noqa: E731
    told = tell(Walks(cameras, [way], seconds=50, likeness=0.95, site=passage(least, longest)))
    assert (len(told.numbers_of(0)) == 1) is same


def test_the_gallery_knows_people_by_their_looks() -> None:
    ways = [straight((3.0, 4.0), (0.1, 0.0)), straight((3.0, 8.0), (0.1, 0.0)), straight((7.0, 6.0), (0.0, 0.0))]
    told = tell(Walks((NORTH, SOUTH), ways, seconds=12, likeness=0.95, known=(7, 1, 9, 0)))
    assert told.numbers_of(0) == [4]
    assert told.numbers_of(1) == [2]
    assert told.numbers_of(2) == [5]


def test_cameras_without_homography_share_people_by_looks_alone() -> None:
    ways = [straight((3.0, 4.0), (0.1, 0.0)), straight((3.0, 8.0), (0.1, 0.0)), straight((7.0, 6.0), (0.0, 0.0))]
    told = tell(Walks((blind(NORTH), blind(SOUTH)), ways, likeness=0.95))
    assert told.purity == 1.0
    assert told.people.next_number == 4
    assert not told.people.placed.any()


def test_nobody_at_all() -> None:
    told = tell(Walks((NORTH, SOUTH), [], seconds=2))
    assert not told.rows
    assert not told.decisions
    assert told.people.next_number == 1


def test_a_second_box_of_somebody_is_nobody_new() -> None:
    way = straight((3.0, 5.0), (0.2, 0.0))
    until = {"first": 6.0, "second": 5.0}  # a detector sees one person twice for a second, then the tracker goes on

    def first(second: float) -> tuple[float, float] | None:
        return way(second) if second < until["first"] else None

    def second(moment: float) -> tuple[float, float] | None:
        return way(moment) if moment >= until["second"] else None

    told = tell(Walks((NORTH,), [first, second], seconds=12))
    assert told.numbers_of(1) == told.numbers_of(0) == [1]
