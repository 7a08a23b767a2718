"""Boxes as columns: what the stages detect, track and refine pass on. A row is one object in one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh.results.columns import joined, select


@dataclass(frozen=True, slots=True)
class TrackRows:
    """R boxes, ordered by frame.

    :ivar frame_index: int64 [R], index of the frame in the asset.
    :ivar time_sec: float64 [R], presentation time in seconds.
    :ivar track_id: int32 [R], from 1; 0 where a box belongs to no track.
    :ivar box: float32 [R, 4], ``x1 y1 x2 y2`` in pixels of the upright picture.
    :ivar score: float32 [R], confidence 0 to 1.
    :ivar class_id: int16 [R], as the model counts its classes.
    :ivar interpolated: bool [R], whether the box was filled in between frames where the object was seen.
    """

    frame_index: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    track_id: NDArray[np.int32]
    box: NDArray[np.float32]
    score: NDArray[np.float32]
    class_id: NDArray[np.int16]
    interpolated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.frame_index)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> TrackRows:
        """The rows that a mask or an index array names."""
        return select(self, keep)


def empty_rows() -> TrackRows:
    """No box at all."""
    return TrackRows(
        np.empty(0, np.int64),
        np.empty(0, np.float64),
        np.empty(0, np.int32),
        np.empty((0, 4), np.float32),
        np.empty(0, np.float32),
        np.empty(0, np.int16),
        np.empty(0, np.bool_),
    )


def concatenate(parts: Sequence[TrackRows]) -> TrackRows:
    """The rows of all parts in their order."""
    return joined([empty_rows(), *parts])
