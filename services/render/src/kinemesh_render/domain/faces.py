"""Hiding faces. Where it is unsure, it hides too much.

Faces come from two sources: a detector, which knows people of whom no pose is known, and the heads of known poses,
which cover faces in profile and faces too small for the detector. Boxes are float64 [N, 4]: x1, y1, x2, y2 in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.nv12 import Image
from kinemesh_render.domain.canvas import Canvas, Rectangle, scaled
from kinemesh_render.domain.scene import Body
from kinemesh_render.domain.skeleton import HEAD, LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER

Boxes = NDArray[np.float64]

CARRIED_FRAMES = 8
"""For so many frames a face that is not found again stays hidden where it was."""

_LEAST_SCORE = 0.5
_DETECTED_MARGIN = 0.35  # detectors of faces leave out forehead, chin and ears
_HEAD_PER_SPINE = 0.62  # half the side of a box round the head, by the distance from shoulders to hips, with margin
_HEAD_PER_SHOULDERS = 0.75
_HEAD_PER_EXTENT = 1.6  # by the extent of the landmarks of the face
_GROWTH_PER_FRAME = 0.04
_SAME_FACE_IOU = 0.15
_CELLS = 5
_SQUARISH = 0.2
_VIEW_STEP = 0.75
_MOST_STEPS = 5  # a picture much wider than any video is not worth more
DETECTED_EVERY = 2
"""Faces are looked for in every second frame, counted from the start of the video; those between are carried over."""

_COLOR_STEP = 16


def views(width: int, height: int) -> list[Rectangle]:
    """What the detector is shown of a picture: the whole, and overlapping squares along it.

    The detector's picture is small. In a square a face is larger by the picture's aspect ratio than in the whole, which
    is what it takes to see the face of somebody who is in the picture from head to foot.
    """
    whole = (0, 0, width, height)
    side = min(width, height)
    slack = max(width, height) - side
    if slack < side * _SQUARISH:
        return [whole]
    steps = min(_MOST_STEPS, math.ceil(slack / (side * _VIEW_STEP)))
    starts = [round(step * slack / steps) for step in range(steps + 1)]
    return [whole, *((start, 0, side, side) if width > height else (0, start, side, side) for start in starts)]


def letterbox(canvas: Canvas, part: Rectangle, size: int) -> Image:
    """A part of the picture, scaled into the middle of a black square: uint8 [size, size, 3], RGB."""
    _, _, columns, rows = part
    scale, left, top = _placement(columns, rows, size)
    width, height = max(1, round(columns * scale)), max(1, round(rows * scale))
    square = np.zeros((size, size, 3), np.uint8)
    square[top : top + height, left : left + width] = scaled(canvas, part, width, height)
    return square


def unletterbox(faces: NDArray[np.float32], width: int, height: int, size: int) -> Boxes:
    """The detector's answer as boxes in the picture, grown to whole heads.

    :param faces: float32 [K, 5]: x1, y1, x2, y2 in the square's pixels, score; rows of score 0 are padding.
    """
    found = faces[faces[:, 4] >= _LEAST_SCORE].astype(np.float64)
    scale, left, top = _placement(width, height, size)
    boxes = (found[:, :4] - [left, top, left, top]) / scale
    return _grown(boxes, _DETECTED_MARGIN)


def heads(bodies: Sequence[Body]) -> Boxes:
    """A box round every known head, whether the face is seen or not.

    The head's size is taken from whatever part of the body looks largest: in profile the ears are close together,
    seen from above the spine is short.
    """
    boxes = []
    for body in bodies:
        points = body.points.astype(np.float64)
        head = points[list(HEAD)]
        centre = head.mean(axis=0)
        spine = np.hypot(*(points[LEFT_SHOULDER] + points[RIGHT_SHOULDER] - points[LEFT_HIP] - points[RIGHT_HIP])) / 2
        shoulders = np.hypot(*(points[LEFT_SHOULDER] - points[RIGHT_SHOULDER]))
        extent = np.ptp(head, axis=0).max()
        half = max(_HEAD_PER_SPINE * spine, _HEAD_PER_SHOULDERS * shoulders, _HEAD_PER_EXTENT * extent) / 2
        if np.isfinite(centre).all() and np.isfinite(half):
            boxes.append([*(centre - half), *(centre + half)])
    return np.array(boxes, np.float64).reshape(-1, 4)


class Carrier:
    """Keeps faces hidden while the detector blinks.

    What it answers for a frame depends on the :data:`CARRIED_FRAMES` frames before it and on nothing earlier: a segment
    that starts so many frames early hides exactly what one long run would.
    """

    def __init__(self) -> None:
        self._boxes: Boxes = np.empty((0, 4))
        self._ages = np.empty(0, np.int64)

    def advance(self, found: Boxes) -> Boxes:
        """The boxes to hide in the next frame, given those found in it."""
        lost = iou(self._boxes, found).max(axis=1, initial=0.0) < _SAME_FACE_IOU
        lost &= self._ages < CARRIED_FRAMES
        carried = _grown(self._boxes[lost], _GROWTH_PER_FRAME)
        self._boxes = np.concatenate([found, carried])
        self._ages = np.concatenate([np.zeros(len(found), np.int64), self._ages[lost] + 1])
        return self._boxes


def hide(canvas: Canvas, boxes: Boxes) -> None:
    """Make what lies in the boxes unrecognisable.

    An ellipse round each box is replaced by a smooth blend of 5×5 coarsely rounded mean colours: 25 colours say where a
    head is, and not whose it is.
    """
    for box in boxes:
        for layer in canvas.layers:
            _hide(layer.pixels, box / layer.step)


def _hide(pixels: NDArray[np.uint8], box: NDArray[np.float64]) -> None:
    height, width = pixels.shape[:2]
    half = (box[2:] - box[:2]) / 2 * np.sqrt(2)  # the ellipse through the box's corners
    centre = (box[:2] + box[2:]) / 2
    x1, y1 = np.clip(np.floor(centre - half), 0, (width, height)).astype(int)
    x2, y2 = np.clip(np.ceil(centre + half), 0, (width, height)).astype(int)
    if x2 - x1 < 1 or y2 - y1 < 1:
        return
    region = pixels[y1:y2, x1:x2]
    cells = cv2.resize(region, (min(_CELLS, x2 - x1), min(_CELLS, y2 - y1)), interpolation=cv2.INTER_AREA)
    cells = cells // _COLOR_STEP * _COLOR_STEP + _COLOR_STEP // 2
    blurred = cv2.resize(cells, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    xs = (np.arange(x1, x2) + 0.5 - centre[0]) / half[0]
    ys = (np.arange(y1, y2) + 0.5 - centre[1]) / half[1]
    inside = np.square(ys)[:, None] + np.square(xs) <= 1
    cv2.copyTo(blurred, inside.astype(np.uint8), region)


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of every box of ``a`` with every box of ``b``: float64 [A, B]."""
    corner1 = np.maximum(a[:, None, :2], b[None, :, :2])
    corner2 = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(corner2 - corner1, 0, None).prod(axis=-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=-1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.asarray(common / np.maximum(union, 1e-9), np.float64)


def _grown(boxes: Boxes, margin: float) -> Boxes:
    by = (boxes[:, 2:] - boxes[:, :2]) * margin / 2
    return np.concatenate([boxes[:, :2] - by, boxes[:, 2:] + by], axis=1)


def _placement(width: int, height: int, size: int) -> tuple[float, int, int]:
    """Scale, left and top of a centred picture in the square."""
    scale = size / max(width, height)
    return scale, (size - max(1, round(width * scale))) // 2, (size - max(1, round(height * scale))) // 2
