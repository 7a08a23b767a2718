"""What people look like: embeddings as columns, from the stages detect and track to associate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class LookRows:
    """R looks at people, ordered by frame, then row.

    :ivar frame_index: int64 [R], index of the frame in the asset.
    :ivar row: int32 [R], position of the box among all that the stage detect found in the segment.
    :ivar track_id: int32 [R]; 0 before tracking.
    :ivar quality: float32 [R], how much a look is worth, 0 to 1.
    :ivar embedding: float32 [R, E], L2-normalised. E is 0 if there is no row.
    """

    frame_index: NDArray[np.int64]
    row: NDArray[np.int32]
    track_id: NDArray[np.int32]
    quality: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.frame_index)
