from __future__ import annotations

import numpy as np
import pytest

from kinemesh_render.domain.canvas import on_rgb
from kinemesh_render.domain.sheet import cell_of, chosen_frames, compose


@pytest.mark.parametrize(("frames", "chosen"), [(1, [0]), (3, [0, 1, 2]), (90, [5, 15, 25, 35, 45, 55, 65, 75, 85])])
def test_frames_are_spread_over_the_video(frames: int, chosen: list[int]) -> None:
    assert chosen_frames(frames) == chosen


def test_cells_stand_row_by_row() -> None:
    cells = [cell_of(on_rgb(np.full((90, 160, 3), 20 * shade, np.uint8))) for shade in range(1, 6)]
    assert cells[0].shape == (180, 320, 3)
    sheet = compose(cells)
    assert sheet.shape == (2 * 184 + 4, 3 * 324 + 4, 3)
    shades = [int(sheet[4 + 90 + 184 * (i // 3), 4 + 160 + 324 * (i % 3), 0]) for i in range(6)]
    assert shades == [20, 40, 60, 80, 100, 24]
