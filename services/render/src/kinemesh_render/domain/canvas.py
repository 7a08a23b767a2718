"""What is drawn on: a picture in RGB, or a video's frame as the decoder gives it.

A frame stays in its own colour space: lines are drawn into its planes, so that nothing converts whole frames, and what
is not drawn on keeps its exact values. Positions and sizes are in pixels of the picture everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.nv12 import ColorMatrix, Image, chroma, luma, yuv_of_rgb
from kinemesh_render.domain.style import Color

Rectangle = tuple[int, int, int, int]
"""x, y, width and height of a part of a picture."""

_SHIFT: Final = 3  # OpenCV's fixed-point fraction bits: positions to an eighth of a pixel
_UNIT: Final = 1 << _SHIFT
_FAR: Final = 1 << 14  # positions this many pixels away are clipped, so that OpenCV's integers hold them
_THICKEST: Final = 255
# A value of U and V lies at the left ones of its four pixels, between upper and lower (H.264, figure 6-1).
_BETWEEN_ROWS: Final = np.array((0, _UNIT // 2), np.int32)
_FIRST: Final = np.zeros(2, np.int32)
_RGB: Final = ((1, _FIRST, slice(0, 3)),)
_NV12: Final = ((1, _FIRST, slice(0, 1)), (2, _BETWEEN_ROWS, slice(1, 3)))


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Some channels of a picture.

    :ivar pixels: uint8 [rows, columns] or [rows, columns, channels], a view that is drawn on.
    :ivar step: pixels of the picture per pixel of the layer, in both directions.
    :ivar origin: int32 [2], the position of its first pixel in the picture, :func:`fixed`.
    :ivar channels: which of a colour's values the layer holds.
    """

    pixels: Image
    step: int
    origin: NDArray[np.int32]
    channels: slice


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A picture to draw on, in place.

    :ivar width: of the picture in pixels.
    :ivar height: of the picture in pixels.
    :ivar layers: which together hold all channels.
    :ivar matrix: of Y, U and V; None for RGB.
    :ivar drawn_as: height of the picture for which lines and letters have their size; its own if 0.
    """

    width: int
    height: int
    layers: tuple[Layer, ...]
    matrix: ColorMatrix | None = None
    drawn_as: int = 0

    @property
    def lines(self) -> int:
        """Height of the picture for which lines and letters have their size."""
        return self.drawn_as or self.height


@dataclass(frozen=True, slots=True, eq=False)
class Stamp:
    """A small picture for canvases of one colour space, and how much of what is below shows through its pixels.

    :ivar layers: for each layer of the canvas, what it adds in 256ths, uint16 [rows, columns, channels], and how many
        256ths it leaves, uint16 [rows, columns, 1].
    """

    width: int
    height: int
    layers: tuple[tuple[NDArray[np.uint16], NDArray[np.uint16]], ...]


def on_rgb(image: Image) -> Canvas:
    """A canvas over a picture: uint8 [height, width, 3]."""
    return Canvas(image.shape[1], image.shape[0], (Layer(image, *_RGB[0]),))


def on_nv12(image: Image, matrix: ColorMatrix) -> Canvas:
    """A canvas over an NV12 picture."""
    y, uv = luma(image), chroma(image)
    return Canvas(y.shape[1], y.shape[0], (Layer(y, *_NV12[0]), Layer(uv, *_NV12[1])), matrix)


def within(canvas: Canvas, part: Rectangle, *, drawn_as: int = 0) -> Canvas:
    """A canvas over a part of the picture; its place and size are even."""
    x, y, columns, rows = part
    layers = [
        replace(layer, pixels=layer.pixels[y // step : (y + rows) // step, x // step : (x + columns) // step])
        for layer in canvas.layers
        for step in (layer.step,)
    ]
    return Canvas(columns, rows, tuple(layers), canvas.matrix, drawn_as)


def scaled(canvas: Canvas, part: Rectangle, width: int, height: int) -> Image:
    """A part of the picture at another size, in RGB whatever the canvas is: uint8 [height, width, 3]."""
    x, y, columns, rows = part
    values = []
    for layer in canvas.layers:
        step = layer.step
        region = layer.pixels[y // step : -(-(y + rows) // step), x // step : -(-(x + columns) // step)]
        values.append(np.atleast_3d(cv2.resize(region, (width, height), interpolation=cv2.INTER_AREA)))
    picture = np.concatenate(values, axis=2)
    if canvas.matrix is None:
        return picture.astype(np.uint8, copy=False)
    return np.asarray(cv2.transform(picture, _rgb_of_yuv(canvas.matrix)), np.uint8)


def fixed(points: NDArray[np.float32]) -> NDArray[np.int32]:
    """Positions as OpenCV's fixed-point numbers. Those that are far away or not finite are clipped."""
    finite = np.fmin(np.fmax(points, -_FAR), _FAR)  # these two prefer a number to NaN
    return np.asarray(np.rint(finite * _UNIT), np.int32)


def strokes(canvas: Canvas, lines: NDArray[np.int32], color: Color, thickness: float, *, closed: bool = False) -> None:
    """Draw lines with round ends.

    :param lines: int32 [L, P, 2], x and y of each line's points, :func:`fixed`.
    :param thickness: in pixels; rounded to whole ones of each layer.
    """
    values = _values(canvas.matrix, color)
    for layer in canvas.layers:
        here = list(lines if layer.step == 1 else (lines - layer.origin) // layer.step)
        width = max(1, min(_THICKEST, round(thickness / layer.step)))
        cv2.polylines(layer.pixels, here, closed, values[layer.channels], width, cv2.LINE_AA, _SHIFT)


def dot(canvas: Canvas, centre: NDArray[np.int32], radius: float, color: Color) -> None:
    """Draw a filled circle round a :func:`fixed` position, int32 [2]; ``radius`` is in pixels."""
    values = _values(canvas.matrix, color)
    for layer in canvas.layers:
        at = ((centre - layer.origin) // layer.step).tolist()
        size = round(radius * _UNIT / layer.step)
        cv2.circle(layer.pixels, at, size, values[layer.channels], cv2.FILLED, cv2.LINE_AA, _SHIFT)


def ring(canvas: Canvas, centre: NDArray[np.int32], radius: float, color: Color, thickness: float) -> None:
    """Draw a circle's line round a :func:`fixed` position, int32 [2]; ``radius`` and ``thickness`` are in pixels."""
    values = _values(canvas.matrix, color)
    for layer in canvas.layers:
        at = ((centre - layer.origin) // layer.step).tolist()
        width = max(1, min(_THICKEST, round(thickness / layer.step)))
        size = round(radius * _UNIT / layer.step)
        cv2.circle(layer.pixels, at, size, values[layer.channels], width, cv2.LINE_AA, _SHIFT)


def tint(canvas: Canvas, corners: NDArray[np.int32], color: Color, share: float) -> None:
    """Mix a share (0 to 1) of a colour into what lies within a polygon.

    :param corners: int32 [P, 2], :func:`fixed`.
    """
    for layer in canvas.layers:
        here = (corners - layer.origin) // layer.step
        size = layer.pixels.shape[1::-1]
        x1, y1 = np.clip(here.min(axis=0) >> _SHIFT, 0, size).tolist()
        x2, y2 = np.clip((here.max(axis=0) >> _SHIFT) + 1, 0, size).tolist()
        if x1 == x2 or y1 == y2:
            continue
        region = layer.pixels[y1:y2, x1:x2]
        inside = np.zeros(region.shape[:2], np.uint8)
        cv2.fillPoly(inside, [here - np.array((x1, y1), np.int32) * _UNIT], 1, cv2.LINE_8, _SHIFT)
        table = np.ascontiguousarray(_mixtures(canvas.matrix, color, share)[..., layer.channels])
        cv2.copyTo(cv2.LUT(region, table), inside, region)


def stamp_of(matrix: ColorMatrix | None, picture: Image, cover: Image) -> Stamp:
    """Prepare a picture for :func:`paste` on canvases of this matrix.

    :param picture: uint8 [height, width, 3], RGB, both sizes even.
    :param cover: uint8 [height, width].
    """
    height, width = cover.shape
    values = picture if matrix is None else cv2.transform(picture, yuv_of_rgb(matrix))
    layers = []
    for step, _, channels in _RGB if matrix is None else _NV12:
        size = (width // step, height // step)
        here = cv2.resize(values[:, :, channels], size, interpolation=cv2.INTER_AREA)
        over = np.atleast_3d(cv2.resize(cover, size, interpolation=cv2.INTER_AREA)).astype(np.uint16)
        over += over > 127
        layers.append((np.atleast_3d(here).astype(np.uint16) * over, 256 - over))
    return Stamp(width, height, tuple(layers))


def paste(canvas: Canvas, stamp: Stamp, left: float, top: float) -> None:
    """Blend a stamp in; where it would leave the picture it is moved inside, and left out if it is larger."""
    if not (math.isfinite(left) and math.isfinite(top)) or stamp.height > canvas.height or stamp.width > canvas.width:
        return
    x = int(min(max(left, 0), canvas.width - stamp.width))
    y = int(min(max(top, 0), canvas.height - stamp.height))
    for layer, (added, left_over) in zip(canvas.layers, stamp.layers, strict=True):
        rows, columns = left_over.shape[:2]
        region = np.atleast_3d(layer.pixels)[
            y // layer.step : y // layer.step + rows, x // layer.step : x // layer.step + columns
        ]
        region[:] = (added + region * left_over) >> 8


@lru_cache(maxsize=1024)
def _values(matrix: ColorMatrix | None, color: Color) -> Sequence[int]:
    """A colour as a canvas holds it."""
    if matrix is None:
        return color
    return tuple(int(value) for value in np.rint(yuv_of_rgb(matrix) @ (*color, 1)))


@lru_cache(maxsize=64)
def _mixtures(matrix: ColorMatrix | None, color: Color, share: float) -> Image:
    """What each value of each channel becomes: uint8 [256, 1, channels]."""
    mixed = np.arange(256)[:, None] * (1 - share) + np.array(_values(matrix, color)) * share
    return np.rint(mixed).astype(np.uint8)[:, None]


@lru_cache
def _rgb_of_yuv(matrix: ColorMatrix) -> NDArray[np.float64]:
    """The affine map [3, 4] back to red, green and blue."""
    forth = yuv_of_rgb(matrix)
    back = np.linalg.inv(forth[:, :3])
    return np.column_stack([back, -back @ forth[:, 3]])
