"""How frames lie on a reference image, as columns: from the stage match to retarget."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Verdict(IntEnum):
    """Whether a transform can be trusted; numbered as ``kinemesh.matcher.v1.Verdict``."""

    MATCHED = 1
    WEAK = 2
    CANNOT_MATCH = 3


@dataclass(frozen=True, slots=True, eq=False)
class MatchRows:
    """R frames of a recording, in order.

    :ivar frame_index: int64 [R], index of the frame in the asset.
    :ivar time_sec: float64 [R], presentation time in seconds.
    :ivar verdict: int8 [R], see :class:`Verdict`.
    :ivar reason: str [R], why not, in UPPER_SNAKE; empty when matched.
    :ivar followed: bool [R], points were followed from a frame before; else features were matched.
    :ivar image_features: int32 [R], features of the frame, or points that were to be followed.
    :ivar matches: int32 [R], pairs that look alike.
    :ivar inliers: int32 [R], pairs that agree with the transform.
    :ivar coverage: float64 [R], fraction of the frame that the inliers span, 0 to 1.
    :ivar rms_error_px: float64 [R], of the inliers, in pixels of the reference; NaN without a transform.
    :ivar condition_number: float64 [R], in normalised coordinates; NaN without a transform.
    :ivar matrix: float64 [R, 9], row by row: maps (x, y, 1) in pixels of the upright frame to pixels of the reference;
        NaN without a transform.
    """

    frame_index: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    verdict: NDArray[np.int8]
    reason: NDArray[np.str_]
    followed: NDArray[np.bool_]
    image_features: NDArray[np.int32]
    matches: NDArray[np.int32]
    inliers: NDArray[np.int32]
    coverage: NDArray[np.float64]
    rms_error_px: NDArray[np.float64]
    condition_number: NDArray[np.float64]
    matrix: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame_index)
