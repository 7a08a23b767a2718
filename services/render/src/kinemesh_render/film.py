"""How recordings of one camera, which may differ in size and rate, become one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.media import FrameIndex
from kinemesh.nv12 import ColorMatrix, Image, chroma, even_size, luma
from kinemesh_render.domain.canvas import Rectangle

FINE: Final = Fraction(1, 90_000)
"""Ticks in which all usual frame rates are whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A video's form, and when each frame of one recording is shown in it.

    :ivar shown: where in the picture the recording's lie.
    :ivar stamps: int64 [F], of the recording's frames, in ticks.
    :ivar end: when the last of them ends, in ticks.
    """

    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction
    color_matrix: ColorMatrix
    shown: Rectangle
    stamps: NDArray[np.int64]
    end: int

    @property
    def letterboxed(self) -> bool:
        """Whether something is left beside the recording's picture."""
        return self.shown[2:] != (self.width, self.height)


def film_of(index: FrameIndex) -> Film:
    """A video of one recording: as it is."""
    width, height = even_size(index.width, index.height)
    whole = (0, 0, width, height)
    return Film(width, height, index.time_base, index.frame_rate, index.color_matrix, whole, index.pts, index.end_pts)


def film_of_camera(indexes: Sequence[FrameIndex], starts: Sequence[float], position: int) -> Film:
    """A video of several recordings, for one of them: in the form of the first.

    :param starts: when each begins, in seconds of the same clock.
    """
    first, own = indexes[0], indexes[position]
    if len(indexes) == 1:
        return film_of(first)
    width, height = even_size(first.width, first.height)
    seconds = starts[position] - starts[0] + (own.times - own.times[0])
    counted = np.arange(own.frame_count)
    # Where times are closer than a tick, frames are a tick apart.
    stamps = np.maximum.accumulate(np.rint(seconds / float(FINE)).astype(np.int64) - counted) + counted
    end = max(int(stamps[-1]) + 1, round((starts[position] - starts[0] + own.duration_s) / FINE))
    shown = fitted((own.width, own.height), (0, 0, width, height))
    return Film(width, height, FINE, first.frame_rate, first.color_matrix, shown, stamps, end)


def fitted(size: tuple[int, int], room: Rectangle) -> Rectangle:
    """The largest place in a room, both of even numbers, that has the shape of a picture."""
    x, y, width, height = room
    scale = min(width / size[0], height / size[1])
    wide, tall = (
        max(2, min(most, 2 * round(side * scale / 2))) for side, most in zip(size, (width, height), strict=True)
    )
    return x + (width - wide) // 4 * 2, y + (height - tall) // 4 * 2, wide, tall


def framed(image: Image, film: Film) -> Image:
    """An NV12 picture of the shown size in a black one of the film's."""
    x, y, width, height = film.shown
    whole = np.empty((film.height * 3 // 2, film.width), np.uint8)
    luma(whole)[:], chroma(whole)[:] = 16, 128
    luma(whole)[y : y + height, x : x + width] = luma(image)
    chroma(whole)[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] = chroma(image)
    return whole
