from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from kinemesh.media import FrameIndex, Orientation
from kinemesh.nv12 import ColorMatrix, chroma, luma
from kinemesh_render.domain.grid import grid_of
from kinemesh_render.film import FINE, film_of, film_of_camera, fitted, framed


def index(pts: list[int], base: Fraction, size: tuple[int, int], step: int) -> FrameIndex:
    zero = np.zeros(1, np.int64)
    stamps = np.array(pts, np.int64)
    return FrameIndex(0, base, stamps, pts[-1] + step, zero, zero, *size, Orientation(), ColorMatrix.BT601)


FIRST = index([5, 6, 7], Fraction(1, 10), (200, 100), 1)
SECOND = index([0, 1001, 2002], Fraction(1, 30_000), (101, 100), 1001)


def test_one_recording_stays_as_it_is() -> None:
    for film in (film_of(FIRST), film_of_camera([FIRST], [3.0], 0)):
        assert film.stamps.tolist() == [5, 6, 7]
        assert (film.time_base, film.end, film.letterboxed) == (Fraction(1, 10), 8, False)
        assert (film.width, film.height, film.shown) == (200, 100, (0, 0, 200, 100))


def test_several_take_the_form_of_the_first() -> None:
    first, second = (film_of_camera([FIRST, SECOND], [10, 12.5], position) for position in (0, 1))
    assert {(film.width, film.height, film.time_base, film.frame_rate) for film in (first, second)} == {
        (200, 100, FINE, FIRST.frame_rate)
    }
    assert first.stamps.tolist() == [0, 9000, 18_000]
    assert second.stamps.tolist() == [225_000, 228_003, 231_006]
    assert (first.end, second.end) == (27_000, 234_009)
    assert (first.letterboxed, second.letterboxed) == (False, True)
    assert second.color_matrix is ColorMatrix.BT601


def test_frames_closer_than_a_tick_are_a_tick_apart() -> None:
    film = film_of_camera([FIRST, index([0, 1, 2, 3], Fraction(1, 1_000_000), (200, 100), 1)], [0, 1], 1)
    assert film.stamps.tolist() == [90_000, 90_001, 90_002, 90_003]
    assert film.end == 90_004


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (101, 100), (1920, 1080), (3, 500)])
@pytest.mark.parametrize("room", [(0, 0, 200, 100), (12, 34, 90, 90)])
def test_a_picture_fits_a_room(size: tuple[int, int], room: tuple[int, int, int, int]) -> None:
    x, y, width, height = fitted(size, room)
    assert not any(number % 2 for number in (x, y, width, height))
    assert room[0] <= x <= x + width <= room[0] + room[2]
    assert room[1] <= y <= y + height <= room[1] + room[3]
    assert width == room[2] or height == room[3]
    assert abs(2 * x + width - 2 * room[0] - room[2]) <= 4
    if min(size) > 3:
        assert width / height == pytest.approx(size[0] / size[1], abs=0.06 * size[0] / size[1])


def test_the_rest_of_a_frame_is_black() -> None:
    film = film_of_camera([FIRST, SECOND], [0, 2], 1)
    x, y, width, height = film.shown
    picture = np.full((height * 3 // 2, width), 77, np.uint8)
    whole = framed(picture, film)
    assert (luma(whole)[y : y + height, x : x + width] == 77).all()
    assert (chroma(whole)[:, x // 2 : (x + width) // 2] == 77).all()
    assert (luma(whole)[:, :x] == 16).all()
    assert (chroma(whole)[:, (x + width) // 2 :] == 128).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 16])
@pytest.mark.parametrize("shape", [16 / 9, 4 / 3, 9 / 16])
def test_cells_do_not_overlap_and_leave_room_for_the_map(count: int, shape: float) -> None:
    grid = grid_of(count, 1920, 1080, shape)
    assert len(grid.cells) == count
    taken = np.zeros((1080, 1920), np.int32)
    for x, y, width, height in (*grid.cells, grid.floor):
        assert not any(number % 2 for number in (x, y, width, height))
        assert 0 <= x < x + width <= 1920
        assert 0 <= y < y + height <= 1080
        taken[y : y + height, x : x + width] += 1
    assert taken.max() == 1
    assert grid.floor[2] >= 0.29 * 1920
    assert len({cell[2:] for cell in grid.cells}) == 1
    assert grid.cells[0][2] >= (900 if shape > 1 else 400) / np.ceil(np.sqrt(count))
