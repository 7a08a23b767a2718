"""Plates with text."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from kinemesh.nv12 import ColorMatrix
from kinemesh_render.domain.canvas import Canvas, Stamp, fixed, on_rgb, paste, stamp_of, strokes
from kinemesh_render.domain.style import REFERENCE_LINES, Color, ink_on, mix

WHITE: Final[Color] = (255, 255, 255)
OUTLINE: Final[Color] = (24, 26, 32)
_LABEL_LINES: Final = 20
_LEAST_LINES: Final = 11


def caption_lines(canvas: Canvas, share: float = 1.0) -> int:
    """Size of the text of captions on a canvas, in pixels."""
    return max(_LEAST_LINES, round(_LABEL_LINES * share * canvas.lines / REFERENCE_LINES))


def plates(canvas: Canvas, x: float, y: float, text: str, detail: str, color: Color, lines: int) -> None:
    """A caption whose lower left corner is at a position, and what changes beside it on a plate of its own."""
    parts = [caption(text, color, ink_on(color), lines, canvas.matrix, "left" if detail else "both")]
    if detail:
        parts.append(caption(detail, OUTLINE, mix(color, WHITE, 0.35), lines, canvas.matrix, "right"))
    room = canvas.width - sum(plate.width for plate in parts)
    if detail and room < 0:
        return plates(canvas, x, y, text, "", color, lines)
    x = min(max(x, 0.0), float(room))
    for plate in parts:
        paste(canvas, plate, x, y - plate.height)
        x += plate.width


@lru_cache(maxsize=1024)
def caption(text: str, color: Color, ink: Color, size: int, matrix: ColorMatrix | None, rounded: str = "both") -> Stamp:
    """A plate with text, whose left, right or both ends are round."""
    font = cv2.FontFace("sans")
    box = cv2.getTextSize((4096, 256), text, (0, 0), font, size, 600)
    height = _even(size * 1.35)
    width = max(_even(int(box[2]) + size * 0.9), height)
    plate = np.empty((height, width, 3), np.uint8)
    plate[:] = color
    left = (width - int(box[2])) // 2 - int(box[0])
    baseline = (height + round(size * 0.72)) // 2
    cv2.putText(plate, text, (left, baseline), ink, font, size, 600)
    cover = np.zeros((height, width), np.uint8)
    middle = (height - 1) / 2
    first, last = middle, width - 1 - middle
    ends = fixed(np.array([(first, middle), (last, middle)], np.float32))
    strokes(on_rgb(cover), ends[None], WHITE, height - 1)
    if rounded == "left":
        cover[:, width // 2 :] = 255
    elif rounded == "right":
        cover[:, : width // 2] = 255
    return stamp_of(matrix, plate, cover)


def _even(length: float) -> int:
    return 2 * round(length / 2)
