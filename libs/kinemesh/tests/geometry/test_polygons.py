from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinemesh.geometry.polygons import Floats, area, inside, is_simple

SQUARE = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
HOOK = np.array([[0.0, 0], [4, 0], [4, 1], [1, 1], [1, 4], [0, 4]])


def test_inside_is_what_the_border_encloses() -> None:
    points = np.array([[0.5, 0.5], [3, 0.5], [0.5, 3], [3, 3], [-1, 0.5], [np.nan, 1]])
    assert inside(points, HOOK).tolist() == [True, True, True, False, False, False]
    assert inside(points, SQUARE).tolist() == [True, True, True, True, False, False]


@given(st.permutations(range(6)), st.booleans())
def test_where_a_polygon_begins_and_which_way_it_runs_does_not_matter(order: list[int], back: bool) -> None:
    points = np.random.default_rng(1).uniform(-1, 5, (200, 2))
    again = np.roll(HOOK, order[0], axis=0)[:: -1 if back else 1]
    assert (inside(points, again) == inside(points, HOOK)).all()
    assert area(again) == area(HOOK) == 7


@pytest.mark.parametrize(
    ("corners", "simple"),
    [
        (SQUARE, True),
        (HOOK, True),
        (SQUARE[[0, 2, 1, 3]], False),  # a bow
        (np.array([[0.0, 0], [2, 0], [1, 0], [1, 1]]), False),  # back on its own edge
        (np.array([[0.0, 0], [4, 0], [4, 4], [2, 0], [0, 4]]), False),  # a corner touches an edge
        (np.array([[0.0, 0], [1, 0], [0, 0], [0, 1]]), False),  # a corner twice
    ],
)
def test_a_simple_polygon_meets_itself_nowhere(corners: Floats, simple: bool) -> None:
    assert is_simple(corners) is simple
