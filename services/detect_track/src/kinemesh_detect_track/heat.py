"""The floor as a picture that shows where people spent their time."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from kinemesh.media.picture import encode_picture
from kinemesh.nv12 import Image
from kinemesh_detect_track.domain.boxes import Floats
from kinemesh_detect_track.domain.floor import Floor, pixels, seconds

_CELL_PX: Final = 4
_BLUR_M: Final = 0.25
_PAPER: Final = (246, 246, 244)
_GRID: Final = (216, 216, 212)
_INK: Final = (60, 60, 60)
_STRONGEST: Final = 0.85


def heat_map(
    floor: Floor,
    place: Floats,
    each: float,
    metre: float,
    unit: str,
    zones: list[tuple[str, str, Floats]],
    background: Image | None,
) -> bytes:
    """A PNG of the floor: the longer people were at a place, the hotter its colour.

    :param place: float64 [N, 2], on the map; each stands for ``each`` seconds.
    :param metre: length of a metre in the map's unit, whose name is ``unit``.
    :param zones: (name, colour as #RRGGBB, corners [K, 2] on the map).
    :param background: RGB picture of the floor's size.
    """
    image = _paper(floor, metre) if background is None else background.copy()
    spent = seconds(floor, place, each, _CELL_PX)
    sigma = max(_BLUR_M * metre * floor.scale / _CELL_PX, 0.8)
    blurred = cv2.GaussianBlur(spent, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    hottest = float(blurred.max(initial=0))
    if hottest > 0:
        # The root shows ways as well as places where people stand for minutes.
        share = np.sqrt(blurred / hottest)
        whole = cv2.resize(share, None, fx=_CELL_PX, fy=_CELL_PX, interpolation=cv2.INTER_LINEAR)
        share = np.clip(whole[: floor.height, : floor.width], 0, 1)
        colors = cv2.cvtColor(
            cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB
        )
        cover = (np.minimum(4 * share, 1) * _STRONGEST)[:, :, None]
        image = np.rint(image * (1 - cover) + colors * cover).astype(np.uint8)
    for name, color, corners in zones:
        _zone(image, name, color, pixels(floor, corners))
    _scale_bar(image, floor, unit)
    return encode_picture(image, ".png", 100)


def _paper(floor: Floor, metre: float) -> Image:
    image = np.full((floor.height, floor.width, 3), _PAPER, np.uint8)
    step = _nice(max(metre, 40 / floor.scale))
    for axis, side in ((0, floor.width), (1, floor.height)):
        low = (floor.x, floor.y)[axis]
        ticks = np.arange(np.ceil(low / step), np.floor((low + side / floor.scale) / step) + 1) * step
        place = np.zeros((len(ticks), 2))
        place[:, axis] = ticks
        for at in np.rint(pixels(floor, place)[:, axis]).astype(int).tolist():
            start, end = ((at, 0), (at, floor.height)) if axis == 0 else ((0, at), (floor.width, at))
            cv2.line(image, start, end, _GRID, 1)
    return image


def _zone(image: Image, name: str, color: str, corners: Floats) -> None:
    outline = np.rint(np.clip(corners, -1e4, 1e4)).astype(np.int32)
    rgb = _rgb(color)
    cv2.polylines(image, [outline[:, None]], True, rgb, 2, cv2.LINE_AA)
    column, row = outline.mean(axis=0).astype(int).tolist()
    _text(image, name, column, row, rgb, centred=True)


def _scale_bar(image: Image, floor: Floor, unit: str) -> None:
    length = _nice(0.15 * image.shape[1] / floor.scale)
    row, left = image.shape[0] - 16, 16
    right = left + round(length * floor.scale)
    cv2.line(image, (left, row), (right, row), (255, 255, 255), 6)
    cv2.line(image, (left, row), (right, row), _INK, 2)
    _text(image, f"{length:g} {unit}", left, row - 8, _INK)


def _text(
    image: Image, text: str, column: int, row: int, color: tuple[int, int, int], *, centred: bool = False
) -> None:
    # OpenCV's letters are those of ASCII.
    text = text.encode("ascii", "replace").decode()[:40]
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    if centred:
        column -= cv2.getTextSize(text, font, size, 1)[0][0] // 2
    cv2.putText(image, text, (column, row), font, size, (255, 255, 255), 3, cv2.LINE_AA)
    cv2.putText(image, text, (column, row), font, size, color, 1, cv2.LINE_AA)


def _rgb(color: str) -> tuple[int, int, int]:
    try:
        value = int(color.removeprefix("#"), 16) if len(color) == 7 else 0x2060C0
    except ValueError:
        value = 0x2060C0
    return value >> 16 & 255, value >> 8 & 255, value & 255


def _nice(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 … and their fractions that is not below ``least``."""
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9)))
