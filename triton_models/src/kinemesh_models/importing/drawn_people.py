"""Draws people to try embedders on where no photo is at hand."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh_models.part_colors import HEIGHT, WIDTH


def drawn_person(number: int, *, moved: bool = False) -> NDArray[np.uint8]:
    """Somebody of a few ellipses in clothes of one's own before a wall, as a camera's noise shows it [256, 128, 3].

    :param moved: a little aside, in a little more light.
    """
    dice = np.random.default_rng([7, number])
    wall, skin, top, trousers, shoes = (tuple(map(float, dice.uniform(20, 230, 3))) for _ in range(5))
    shade = np.linspace(0.7, 1.1, HEIGHT, dtype=np.float32)[:, None, None]
    canvas = np.ascontiguousarray(np.broadcast_to(np.array(wall, np.float32) * shade, (HEIGHT, WIDTH, 3)))
    x, y = (6, -4) if moved else (0, 0)
    parts = [((x, 184), (11, 64), trousers), ((x, 90), (27, 50), top), ((x, 28), (13, 18), skin)]
    for (aside, height), size, colour in parts:
        sides = (-14, 14) if colour is trousers else (0,)
        for side in sides:
            cv2.ellipse(canvas, (WIDTH // 2 + aside + side, height + y), size, 0, 0, 360, colour, -1, cv2.LINE_AA)
    for side in (-16, 16):
        cv2.ellipse(canvas, (WIDTH // 2 + x + side, 248 + y), (12, 5), 0, 0, 360, shoes, -1, cv2.LINE_AA)
    noise = np.random.default_rng([8, number, moved]).normal(0, 6, canvas.shape).astype(np.float32)
    light = np.float32(1.1 if moved else 1.0)
    picture: NDArray[np.uint8] = np.clip(np.rint(canvas * light + noise), 0, 255).astype(np.uint8)
    return picture
