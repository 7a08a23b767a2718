from __future__ import annotations

import numpy as np
import pytest

from kinemesh_render.domain.planes import even_size, to_planes


@pytest.mark.parametrize(("width", "height"), [(96, 72), (95, 72), (96, 71), (1, 1)])
def test_planes_have_an_even_size(width: int, height: int) -> None:
    planes = to_planes(np.zeros((height, width, 3), np.uint8))
    even_width, even_height = even_size(width, height)
    assert planes.shape == (even_height * 3 // 2, even_width)


def test_the_last_row_and_column_are_repeated() -> None:
    image = np.zeros((3, 3, 3), np.uint8)
    image[:, 2] = image[2] = 255
    brightness = to_planes(image)[:4]
    assert (brightness[:2, :2] < 20).all()
    assert (brightness[2:] > 230).all()
    assert (brightness[:, 2:] > 230).all()
