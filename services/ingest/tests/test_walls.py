from __future__ import annotations

import cv2
import numpy as np
import pytest

from kinemesh_ingest.domain.walls import HEIGHT, WALLS, WIDTH, Wall, paint_wall


@pytest.mark.parametrize("wall", WALLS, ids=[wall.wall for wall in WALLS])
def test_a_wall_is_always_the_same_and_rich_in_features(wall: Wall) -> None:
    picture = paint_wall(wall)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, paint_wall(wall))
    points = np.array([one.pt for one in cv2.SIFT.create(8000).detect(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))])
    assert len(points) > 4000
    cells, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=(6, 8), range=((0, WIDTH), (0, HEIGHT)))
    assert cells.min() > 20


def test_walls_differ() -> None:
    first, second, third = (paint_wall(wall).astype(float) for wall in WALLS)
    assert min(float(np.abs(a - b).mean()) for a, b in ((first, second), (second, third), (first, third))) > 10
