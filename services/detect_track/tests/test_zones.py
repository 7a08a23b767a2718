"""Presence in zones."""

from __future__ import annotations

import numpy as np
import pytest

from kinemesh.geometry.polygons import inside
from kinemesh_detect_track.domain.zones import Visit, Zone, most_at_once, spells, union, visits

SQUARE = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])


def test_points_are_in_a_polygon_or_not() -> None:
    points = np.array([[0.5, 0.5], [0.1, 0.5], [0.5, 0.8], [0.26, 0.74], [-1, 0.5]])
    assert inside(points, SQUARE).tolist() == [True, False, False, True, False]
    assert inside(points, SQUARE[::-1]).tolist() == [True, False, False, True, False]
    horseshoe = np.array([[0, 0], [1, 0], [1, 1], [0.7, 1], [0.7, 0.3], [0.3, 0.3], [0.3, 1], [0, 1]])
    assert inside(np.array([[0.5, 0.5], [0.1, 0.9], [0.9, 0.9], [0.5, 0.1]]), horseshoe).tolist() == [
        False,
        True,
        True,
        True,
    ]


def test_every_point_lies_in_one_tile() -> None:
    points = np.random.default_rng(0).random((1000, 2))
    points[:50] = np.round(points[:50], 1)  # on the borders
    tiles = [
        np.array([[x, y], [x + 0.1, y], [x + 0.1, y + 0.1], [x, y + 0.1]])
        for x in np.arange(10) / 10
        for y in np.arange(10) / 10
    ]
    borders = np.isin(np.round(points, 6), [0.0, 1.0]).any(axis=1)
    hits = np.sum([inside(points, tile) for tile in tiles], axis=0)
    assert (hits[~borders & (np.arange(1000) >= 50)] == 1).all()


@pytest.mark.parametrize(("away", "count"), [(4, 1), (5, 1), (6, 2)])
def test_short_absences_are_none(away: int, count: int) -> None:
    frame = np.delete(np.arange(40), slice(10, 10 + away))
    found = spells(np.ones(len(frame), np.int64), frame / 10, (frame + 1) / 10)
    assert len(found) == count
    assert found[0][0] == 0
    assert found[-1][1] == len(frame) - 1


def test_visits_belong_to_their_object_and_zone() -> None:
    frame = np.repeat(np.arange(30), 2)
    track = np.tile([2, 1], 30)
    ground = np.where((track == 1)[:, None], (0.5, 0.5), (0.9, 0.9))
    ground[(track == 2) & (frame >= 10) & (frame < 20)] = (0.3, 0.3)
    zones = [Zone("b", SQUARE), Zone("a", SQUARE), Zone("none", SQUARE + 5)]
    found = visits(track, track + 5, frame / 10, (frame + 1) / 10, ground, zones)
    assert found == [
        Visit(1, 6, "a", 0.0, 3.0),
        Visit(1, 6, "b", 0.0, 3.0),
        Visit(2, 7, "a", 1.0, 2.0),
        Visit(2, 7, "b", 1.0, 2.0),
    ]
    nobody = np.empty(0, np.int64)
    assert visits(nobody, nobody, np.empty(0), np.empty(0), np.empty((0, 2)), zones) == []


def test_spans_unite_and_overlap() -> None:
    spans = [(5.0, 6.0), (0.0, 2.0), (2.0, 3.0), (1.0, 1.5)]
    assert union(spans) == [(0.0, 3.0), (5.0, 6.0)]
    assert most_at_once(spans) == 2
    assert most_at_once([(0.0, 1.0), (1.0, 2.0)]) == 1
    assert (union([]), most_at_once([])) == ([], 0)
