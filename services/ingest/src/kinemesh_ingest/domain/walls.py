"""Pictures of walls that come with the product: painted by code, always the same, and rich in what one matches by."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.nv12 import Image

WIDTH: Final = 1080
HEIGHT: Final = 1440
_SUBPIXEL_BITS: Final = 4
_GRAIN: Final = ((1.0, 5.0), (4.0, 7.0), (18.0, 9.0))  # standard deviation in pixels, amplitude in grey levels


@dataclass(frozen=True, slots=True)
class Wall:
    """One picture.

    :ivar wall: its telling id.
    :ivar display_name: what people read.
    :ivar seed: of all that is random in it.
    :ivar panels: columns and rows of panels.
    :ivar tone: RGB of the panels.
    :ivar holds: how many holds.
    :ivar hold_px: least and greatest radius of a hold in pixels.
    :ivar volumes: how many large triangular bodies.
    :ivar shade: how much darker the bottom is than the top, 0 to 1.
    """

    wall: str
    display_name: str
    seed: int
    panels: tuple[int, int]
    tone: tuple[int, int, int]
    holds: int
    hold_px: tuple[int, int]
    volumes: int
    shade: float


WALLS: Final = (
    Wall("wall-vertical", "Vertical wall", 11, (3, 4), (196, 178, 150), 90, (10, 30), 0, 0.10),
    Wall("wall-overhang", "Overhanging wall", 23, (4, 5), (120, 128, 140), 110, (12, 38), 2, 0.45),
    Wall("wall-competition", "Competition wall", 37, (2, 3), (222, 220, 214), 60, (16, 58), 9, 0.20),
)

_COLORS: Final = (
    (214, 48, 49), (9, 132, 227), (0, 166, 112), (253, 203, 60), (232, 67, 147), (108, 92, 231), (45, 52, 54),
    (245, 245, 240), (230, 126, 34),
)  # fmt: skip


def paint_wall(wall: Wall) -> Image:
    """The picture of a wall: uint8 [1440, 1080, 3], RGB. The same wall gives the same pixels."""
    rng = np.random.default_rng(wall.seed)
    canvas = np.full((HEIGHT, WIDTH, 3), wall.tone, np.uint8)
    _panels(canvas, wall, rng)
    for _ in range(wall.volumes):
        _volume(canvas, wall, rng)
    for center in _places(wall, rng):
        _hold(canvas, center, wall, rng)
    light = np.linspace(1.0, 1.0 - wall.shade, HEIGHT, dtype=np.float32)[:, None, None]
    shaded = (canvas + _grain(rng)[..., None]) * light
    return np.ascontiguousarray(np.clip(np.rint(shaded), 0, 255).astype(np.uint8))


def _grain(rng: np.random.Generator) -> NDArray[np.float32]:
    """Texture of several scales: float32 [height, width], in grey levels."""
    texture = np.zeros((HEIGHT, WIDTH), np.float32)
    for sigma, amplitude in _GRAIN:
        noise = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), sigma)
        texture += amplitude * np.asarray(noise, np.float32) / float(noise.std())
    return texture


def _panels(canvas: Image, wall: Wall, rng: np.random.Generator) -> None:
    """Panels of slightly different tones, their joints, and the nuts that holds are screwed into."""
    columns, rows = wall.panels
    xs = np.linspace(0, WIDTH, columns + 1).round().astype(int)
    ys = np.linspace(0, HEIGHT, rows + 1).round().astype(int)
    for left, right in pairwise(xs.tolist()):
        for top, bottom in pairwise(ys.tolist()):
            tone = np.array(wall.tone) + rng.normal(0, 9) + rng.normal(0, 3, 3)
            canvas[top:bottom, left:right] = np.clip(tone, 0, 255).astype(np.uint8)
            cv2.rectangle(canvas, (left, top), (right, bottom), (70, 62, 54), 2, cv2.LINE_AA)
            _scratches(canvas, (left, top, right, bottom), rng)
    pitch = 48
    for row, y in enumerate(range(pitch // 2, HEIGHT, pitch)):
        for x in range(pitch // 2 + (row % 2) * pitch // 2, WIDTH, pitch):
            cv2.circle(canvas, (x, y), 4, (54, 50, 48), -1, cv2.LINE_AA)
            cv2.circle(canvas, (x - 1, y - 1), 1, (150, 146, 140), -1, cv2.LINE_AA)


def _scratches(canvas: Image, panel: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    left, top, right, bottom = panel
    for _ in range(14):
        x, y = int(rng.integers(left, right)), int(rng.integers(top, bottom))
        length, angle = float(rng.uniform(10, 70)), float(rng.uniform(0, np.pi))
        end = (round(x + length * np.cos(angle)), round(y + length * np.sin(angle)))
        grey = float(rng.uniform(60, 235))
        cv2.line(canvas, (x, y), end, (grey, grey * 0.98, grey * 0.94), 1, cv2.LINE_AA)


def _volume(canvas: Image, wall: Wall, rng: np.random.Generator) -> None:
    """A pyramid of three faces, each as bright as it is turned to the light."""
    center = rng.uniform((0.1 * WIDTH, 0.1 * HEIGHT), (0.9 * WIDTH, 0.9 * HEIGHT))
    turn, size = rng.uniform(0, 2 * np.pi), rng.uniform(80, 190)
    angles = turn + np.arange(3) * 2 * np.pi / 3 + rng.uniform(-0.3, 0.3, 3)
    corners = center + size * np.stack([np.cos(angles), np.sin(angles)], 1)
    peak = center + rng.uniform(-0.2, 0.2, 2) * size
    _fill(canvas, corners + np.array([8.0, 12.0]), tuple(0.45 * tone for tone in wall.tone))
    for i in range(3):
        brightness = float(rng.uniform(0.55, 1.1))
        _fill(canvas, np.array([corners[i], corners[(i + 1) % 3], peak]), tuple(brightness * t for t in wall.tone))
    for corner in corners:
        place = corner + 0.18 * (center - corner)
        cv2.circle(canvas, _point(place), 7 << _SUBPIXEL_BITS, (40, 40, 40), -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _places(wall: Wall, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where holds are: float64 [holds, 2], each the farthest from those before of a few tries."""
    low, high = (0.04 * WIDTH, 0.03 * HEIGHT), (0.96 * WIDTH, 0.97 * HEIGHT)
    placed = [rng.uniform(low, high)]
    while len(placed) < wall.holds:
        tries = rng.uniform(low, high, (8, 2))
        distances = np.linalg.norm(tries[:, None] - np.array(placed)[None], axis=2).min(1)
        placed.append(tries[int(distances.argmax())])
    return np.array(placed)


def _hold(canvas: Image, center: NDArray[np.float64], wall: Wall, rng: np.random.Generator) -> None:
    """A rounded body with its shadow, a lit side, its bolt, chalk, and sometimes a label."""
    radius = rng.uniform(*wall.hold_px)
    color = np.array(_COLORS[int(rng.integers(len(_COLORS)))], float)
    corners = int(rng.integers(5, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    squeeze = np.array([1.0, rng.uniform(0.5, 1.0)])
    outline = radius * rng.uniform(0.65, 1.1, (corners, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1) * squeeze
    _fill(canvas, center + outline + 0.18 * radius, (48, 44, 40))
    _fill(canvas, center + outline, tuple(0.78 * color))
    _fill(canvas, center + 0.72 * outline - 0.1 * radius, tuple(color))
    _fill(canvas, center + 0.35 * outline - 0.22 * radius, tuple(np.minimum(color * 1.25 + 18, 255)))
    for _ in range(int(rng.integers(2, 7))):
        chalk = center + rng.normal(0, 0.4 * radius, 2)
        size = int(rng.uniform(1, 0.12 * radius + 2)) << _SUBPIXEL_BITS
        cv2.circle(canvas, _point(chalk), size, (236, 234, 228), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.circle(canvas, _point(center), 4 << _SUBPIXEL_BITS, (20, 20, 20), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    if rng.uniform() < 0.3:
        place = (int(center[0] + radius), int(center[1] + radius))
        text = f"{int(rng.integers(3, 9))}{'abc'[int(rng.integers(3))]}"
        cv2.rectangle(canvas, (place[0] - 3, place[1] - 15), (place[0] + 27, place[1] + 5), (250, 250, 246), -1)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (30, 30, 30), 1, cv2.LINE_AA)


def _fill(canvas: Image, corners: NDArray[np.float64], color: tuple[float, ...]) -> None:
    points = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [points], color, cv2.LINE_AA, _SUBPIXEL_BITS)


def _point(place: NDArray[np.float64]) -> tuple[int, int]:
    x, y = (round(float(value) * (1 << _SUBPIXEL_BITS)) for value in place)
    return x, y
