"""Pictures as a network in training sees them: scaled, cut, joined, lit otherwise, blurred and covered."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kinemesh_training.pictures import PAD, Picture

# A person of whom less than this is left after cutting is no longer one to be found.
LEFT = 0.2
SMALLEST_PX = 3.0


@dataclass(frozen=True)
class Sample:
    """What one step learns from.

    Attributes:
        clean: uint8 [S, S, 3], RGB: scaled, cut and joined only, for the teacher.
        seen: the same with other light, blur and things in front, for the network.
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of both.
    """

    clean: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    boxes: NDArray[np.float32]


def sample(pictures: Sequence[Picture], index: int, size: int, random: Generator, *, mosaic: float) -> Sample:
    """Make one sample around a picture; with the probability ``mosaic`` three others stand beside it."""
    canvas = np.full((size, size, 3), PAD, np.uint8)
    if random.random() < mosaic:
        x, y = (int(size * random.uniform(0.3, 0.7)) for _ in range(2))
        windows = [(0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)]
        chosen = [pictures[index], *(pictures[int(random.integers(len(pictures)))] for _ in range(3))]
        scales = (0.35, 1.3)
    else:
        windows, chosen, scales = [(0, 0, size, size)], [pictures[index]], (0.5, 1.6)
    random.shuffle(windows)
    boxes = np.concatenate(
        [_place(picture, canvas, window, scales, random) for picture, window in zip(chosen, windows, strict=True)]
    )
    seen = _covered(canvas, boxes, pictures, random)
    return Sample(canvas, _lit(seen, random), boxes)


def _place(
    picture: Picture,
    canvas: NDArray[np.uint8],
    window: tuple[int, int, int, int],
    scales: tuple[float, float],
    random: Generator,
) -> NDArray[np.float32]:
    """Draw a picture into a window of the canvas at a random scale; its boxes there."""
    left, top, right, bottom = window
    width, height = right - left, bottom - top
    scale = np.exp(random.uniform(*np.log(scales)))
    # Some were stretched to squares before they came here: what people's true proportions are is unknown.
    aspect = np.exp(random.uniform(np.log(0.75), np.log(1.5)))
    across, down = scale * np.sqrt(aspect), scale / np.sqrt(aspect)
    pixels, boxes = picture.pixels, picture.boxes
    if scale < 0.6:
        # Linear sampling of a picture made much smaller would be noise.
        pixels = np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        boxes = boxes / np.float32(2)
        across, down = across * 2, down * 2
    rows, columns = pixels.shape[:2]
    room = np.array([width - columns * across, height - rows * down])
    shift = room * random.random(2)
    mirror = random.random() < 0.5
    if mirror:
        across, shift[0] = -across, shift[0] + columns * across
    # It counts from the centres of pixels, boxes from their corners.
    matrix = np.array([[across, 0, shift[0] + (across - 1) / 2], [0, down, shift[1] + (down - 1) / 2]])
    canvas[top:bottom, left:right] = cv2.warpAffine(pixels, matrix, (width, height), borderValue=(PAD, PAD, PAD))
    boxes = boxes * _row(across, down, across, down) + _row(*shift, *shift)
    if mirror:
        boxes = boxes[:, [2, 1, 0, 3]]
    cut = np.clip(boxes, 0, _row(width, height, width, height))
    sides, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    kept = (sides.prod(1) > LEFT * whole.prod(1)) & (sides.min(1, initial=np.inf) >= SMALLEST_PX)
    return cut[kept] + _row(left, top, left, top)


def _row(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def _covered(
    canvas: NDArray[np.uint8], boxes: NDArray[np.float32], pictures: Sequence[Picture], random: Generator
) -> NDArray[np.uint8]:
    """Put up to two pieces of other pictures, or of one colour, in front of some people."""
    seen = canvas.copy()
    for x1, y1, x2, y2 in boxes:
        if random.random() > 0.15:
            continue
        width, height = ((x2 - x1) * random.uniform(0.2, 0.7), (y2 - y1) * random.uniform(0.15, 0.5))
        columns, rows = int(width), int(height)
        if columns < 2 or rows < 2:
            continue
        left, top = int(random.uniform(x1, x2 - width)), int(random.uniform(y1, y2 - height))
        if random.random() < 0.5:
            seen[top : top + rows, left : left + columns] = random.integers(0, 256, 3)
        else:
            other = pictures[int(random.integers(len(pictures)))].pixels
            rows, columns = min(rows, other.shape[0]), min(columns, other.shape[1])
            y, x = int(random.integers(other.shape[0] - rows + 1)), int(random.integers(other.shape[1] - columns + 1))
            seen[top : top + rows, left : left + columns] = other[y : y + rows, x : x + columns]
    return seen


def _lit(canvas: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """Another exposure, contrast, white balance and saturation; now and then grey, blurred, noisy or compressed."""
    levels = np.arange(256, dtype=np.float32)
    gains = random.uniform(0.65, 1.35) * random.uniform(0.92, 1.08, 3)
    shift, gamma = random.uniform(-25, 25), np.exp(random.uniform(-0.3, 0.3))
    tables = (255 * (levels[:, None] / 255) ** gamma - 114) * gains.astype(np.float32) + 114 + shift
    seen: NDArray[np.uint8] = np.asarray(cv2.LUT(canvas, np.clip(tables, 0, 255).astype(np.uint8)[None]), np.uint8)
    saturation = 0.0 if random.random() < 0.05 else random.uniform(0.5, 1.5)
    grey = cv2.cvtColor(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    seen = np.asarray(cv2.addWeighted(seen, saturation, grey, 1 - saturation, 0), np.uint8)
    if random.random() < 0.12:
        seen = _blurred(seen, random)
    if random.random() < 0.08:
        noise = random.normal(0, random.uniform(3, 14), seen.shape[:2]).astype(np.float32)
        seen = np.clip(seen + noise[..., None], 0, 255).astype(np.uint8)
    if random.random() < 0.12:
        _, encoded = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 75))])
        seen = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(seen)


def _blurred(canvas: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """Out of focus, or moved while the shutter was open."""
    if random.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(canvas, (0, 0), random.uniform(0.5, 1.6)), np.uint8)
    length, angle = int(random.integers(3, 9)), random.uniform(0, 180)
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    turned = cv2.warpAffine(line, cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, angle, 1), (length, length))
    return np.asarray(cv2.filter2D(canvas, -1, turned / turned.sum()), np.uint8)
