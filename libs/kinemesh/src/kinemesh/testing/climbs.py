"""A clip of somebody on a wall, filmed by hand: made from two pictures, with the camera's every transform known."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.media import H264Writer, concatenate
from kinemesh.nv12 import Image

RATE: Final = 30
_GREY: Final = 96


def camera(moment: float, wall: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    """How the camera sees a wall: float64 [3, 3], from pixels of the wall's picture to those of the frame.

    It pans, zooms, turns and tilts, all within a second or two.

    :param moment: in seconds.
    :param wall: width and height of the wall's picture.
    :param size: width and height of the frame.
    """
    across, along = 0.5 + 0.08 * math.sin(1.3 * moment), 0.5 + 0.06 * math.cos(0.9 * moment)
    middle = wall[0] * across, wall[1] * along
    scale = min(size[0] / wall[0], size[1] / wall[1]) * (1.25 + 0.2 * math.sin(0.8 * moment))
    turn = math.radians(7 * math.sin(1.1 * moment))
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    to_middle = np.array([[1, 0, -middle[0]], [0, 1, -middle[1]], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, 1, 0], [4e-5 * math.sin(0.7 * moment), 3e-5 * math.cos(0.6 * moment), 1]])
    back = np.array([[1, 0, size[0] / 2], [0, 1, size[1] / 2], [0, 0, 1]])
    return np.asarray(back @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ tilt @ to_middle, np.float64)


def with_person(wall: Image, person: Image, middle: tuple[float, float], height: float) -> Image:
    """A wall with somebody on it: the picture of a person in an oval with soft edges.

    :param wall: uint8 [height, width, 3].
    :param person: uint8 [height, width, 3].
    :param middle: of the oval, in pixels of the wall.
    :param height: of the oval, in pixels of the wall.
    """
    scale = height / person.shape[0]
    small = np.asarray(cv2.resize(person, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)
    rows, columns = small.shape[:2]
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    cover = np.clip((1 - np.hypot(x, y)) * 8, 0, 1)[..., None].astype(np.float32)
    left, top = round(middle[0] - columns / 2), round(middle[1] - rows / 2)
    whole = wall.copy()
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + columns, wall.shape[1]), min(top + rows, wall.shape[0])
    inside = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    behind = whole[y1:y2, x1:x2]
    whole[y1:y2, x1:x2] = np.rint(small[inside] * cover[inside] + behind * (1 - cover[inside]))
    return whole


def climb(
    wall: Image,
    person: Image,
    frames: int,
    size: tuple[int, int],
    *,
    blurred: Collection[int] = (),
    occluded: Collection[int] = (),
    still: bool = False,
) -> Iterator[Image]:
    """The frames of somebody who climbs, uint8 [height, width, 3]: up the middle of the wall, with a rest half-way.

    :param blurred: frames that show nothing sharp.
    :param occluded: frames in which something grey is in front of the camera.
    :param still: the camera does not move.
    """
    height, width = wall.shape[:2]
    for number in range(frames):
        if number in occluded:
            yield np.full((size[1], size[0], 3), _GREY, np.uint8)
            continue
        progress = number / max(frames - 1, 1)
        risen = min(progress / 0.4, 1.0) / 2 + max((progress - 0.6) / 0.4, 0.0) / 2
        shown = with_person(wall, person, (width * 0.5, height * (0.62 - 0.24 * risen)), height * 0.36)
        matrix = camera(0.0 if still else number / RATE, (width, height), size)
        seen = cv2.warpPerspective(shown, matrix, size, flags=cv2.INTER_AREA, borderValue=(_GREY, _GREY, _GREY))
        yield np.asarray(cv2.GaussianBlur(seen, (0, 0), 14) if number in blurred else seen, np.uint8)


def write_climb(out: Path, frames: Iterator[Image], size: tuple[int, int]) -> None:
    """Write frames as an MP4 of :data:`RATE` frames/s."""
    part = out.with_suffix(".nut")
    with H264Writer(part, width=size[0], height=size[1], time_base=Fraction(1, RATE), crf=18) as writer:
        for number, frame in enumerate(frames):
            writer.write(frame, number)
    concatenate([part], out, time_base=Fraction(1, RATE))
    part.unlink()
