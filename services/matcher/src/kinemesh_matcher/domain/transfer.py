"""Bodies put onto the reference, and looked up between the frames that show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.bodies.skeleton import Bools, Floats, Ints
from kinemesh_matcher.domain.projective import mapped

LONGEST_GAP_S: Final = 0.5
"""A body that is not seen for longer is not shown meanwhile."""
_FARTHEST: Final = 3.0
"""How far outside the reference a landmark may lie, in the reference's sizes: farther off it is nonsense."""
_SAME: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A climber on the reference: R rows, one per frame that shows them.

    :ivar frame_index: int64 [R], frame of the recording.
    :ivar time_sec: float64 [R], from the recording's first frame, increasing.
    :ivar image: float32 [R, 33, 5]: x and y as fractions of the reference's width and height; z, visibility and
        presence as they were in the frame.
    :ivar world: float32 [R, 33, 3], as it was.
    :ivar score: float32 [R], as it was.
    :ivar filled: bool [R], the frame's transform comes from other frames.
    """

    frame_index: Ints
    time_sec: Floats
    image: NDArray[np.float32]
    world: NDArray[np.float32]
    score: NDArray[np.float32]
    filled: Bools

    def __len__(self) -> int:
        return len(self.frame_index)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """A body at T moments that need not be those of frames: S of them, at which it can be shown.

    :ivar moment: int64 [S], which of the moments.
    :ivar image: float32 [S, 33, 5], as in :class:`Body`; linear between the frames before and after.
    :ivar world: float32 [S, 33, 3].
    :ivar score: float32 [S].
    :ivar interpolated: bool [S], a frame between lacks the body, or the transform of one was filled in.
    """

    moment: Ints
    image: NDArray[np.float32]
    world: NDArray[np.float32]
    score: NDArray[np.float32]
    interpolated: Bools


def transferred(
    image: NDArray[np.float32], matrix: Floats, frame: tuple[int, int], reference: tuple[int, int]
) -> tuple[NDArray[np.float32], Bools]:
    """Landmarks through transforms.

    :param image: float32 [R, 33, 5], x and y as fractions of the frame.
    :param matrix: float64 [R, 3, 3], pixels of the frame to pixels of the reference; NaN where there is none.
    :param frame: width and height of the frames in pixels.
    :param reference: width and height of the reference in pixels.
    :returns: the landmarks with x and y as fractions of the reference, and bool [R], which bodies can be shown: those
        that have a transform, lie before the horizon, and not absurdly far outside.
    """
    points = image[:, :, :2].astype(np.float64) * np.array(frame, np.float64)
    places = mapped(matrix, points) / np.array(reference, np.float64)
    inside = (places >= -_FARTHEST) & (places <= 1 + _FARTHEST)
    result = image.astype(np.float32, copy=True)
    result[:, :, :2] = places
    return result, np.asarray(inside.all(axis=(1, 2)), np.bool_)


def at_moments(body: Body, time_sec: Floats, lasts_sec: float) -> Moments:
    """A body at moments of its recording.

    It is shown between frames that are at most :data:`LONGEST_GAP_S` apart, and as long as the last frame lasts.

    :param time_sec: float64 [T], from the recording's first frame.
    :param lasts_sec: how long a frame is shown.
    """
    if not len(body):
        empty = np.empty(0, np.int64)
        return Moments(empty, body.image, body.world, body.score, body.filled)
    right = np.searchsorted(body.time_sec, time_sec - _SAME, side="left")  # the first frame not before
    left = np.maximum(right - 1, 0)
    right = np.minimum(right, len(body) - 1)
    gap = body.time_sec[right] - body.time_sec[left]
    share = np.clip((time_sec - body.time_sec[left]) / np.where(gap > 0, gap, 1.0), 0, 1)
    exact = np.abs(time_sec - body.time_sec[right]) <= _SAME
    share = np.where(exact, 1.0, share)
    over = time_sec - body.time_sec[right]  # after the last frame
    shown = exact | ((time_sec > body.time_sec[0]) & (gap <= LONGEST_GAP_S + _SAME) & (over < lasts_sec))
    moment = np.flatnonzero(shown)
    left, right, share, exact = left[moment], right[moment], share[moment].astype(np.float32), exact[moment]

    def blended(values: NDArray[np.float32]) -> NDArray[np.float32]:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(values[left] * (1 - weight) + values[right] * weight, np.float32)

    lacking = body.frame_index[right] - body.frame_index[left] > 1
    return Moments(
        moment,
        blended(body.image),
        blended(body.world),
        blended(body.score),
        body.filled[right] | (~exact & (body.filled[left] | lacking)),
    )
