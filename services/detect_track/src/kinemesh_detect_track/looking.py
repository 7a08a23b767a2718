"""Looking at people in order to recognise them: now and then, at all in the picture at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.inference.detector import Boxes
from kinemesh.inference.embedder import Embedder, crops
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_thread
from kinemesh.results.looks import LookRows
from kinemesh_detect_track.domain.quality import worth
from kinemesh_detect_track.models import Models

LEAST_SHARE: Final = 0.5
"""Of the threshold: the score from which on a box is looked at, because it may yet continue a track."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """L looks at the objects in one frame.

    :ivar row: int64 [L], position of each among the frame's boxes.
    :ivar quality: float32 [L], 0 to 1.
    :ivar embedding: float32 [L, E], L2-normalised.
    """

    row: NDArray[np.int64]
    quality: NDArray[np.float32]
    embedding: NDArray[np.float32]


def moments(times: NDArray[np.float64], interval_s: float) -> NDArray[np.bool_]:
    """In which frames people are looked at, bool [F]: the first after each multiple of the interval.

    It follows from the frames' times [F] in seconds alone, so that it does not matter where a recording is cut.
    """
    beat = np.floor(times / interval_s)
    first: NDArray[np.bool_] = np.diff(beat, prepend=-np.inf) != 0
    return first


async def looks_at(models: Models, embedder: Embedder, image: Image, boxes: Boxes, least: float) -> Looks:
    """Look at all boxes in a picture of their pixels whose score is ``least`` or more."""
    row = np.flatnonzero(boxes.scores >= least)
    pictures, quality = await in_thread(_judged, image, boxes, row)
    return Looks(row, quality, await models.embed(embedder, pictures))


async def embeddings(
    models: Models, embedder: Embedder, image: Image, boxes: Boxes, least: float
) -> NDArray[np.float32]:
    """The same for a tracker: float32 [D, E] of all D boxes; zeros below ``least``."""
    row = np.flatnonzero(boxes.scores >= least)
    made = await models.embed(embedder, await in_thread(crops, image, boxes.corners[row]))
    result = np.zeros((len(boxes.scores), made.shape[1]), np.float32)
    result[row] = made
    return result


def look_rows(found: Sequence[Boxes], looks: Sequence[Looks | None], first: int) -> LookRows:
    """The looks at the objects of consecutive frames, ``None`` where nobody was looked at."""
    before = np.cumsum([0, *(len(boxes.scores) for boxes in found)])
    made = [(number, one) for number, one in enumerate(looks) if one is not None and len(one.row)]
    if not made:
        return no_looks()
    frame_index = np.concatenate([np.full(len(one.row), first + number, np.int64) for number, one in made])
    return LookRows(
        frame_index=frame_index,
        row=np.concatenate([before[number] + one.row for number, one in made]).astype(np.int32),
        track_id=np.zeros(len(frame_index), np.int32),
        quality=np.concatenate([one.quality for _, one in made]),
        embedding=np.concatenate([one.embedding for _, one in made]),
    )


def no_looks() -> LookRows:
    """None at all."""
    return LookRows(
        np.empty(0, np.int64),
        np.empty(0, np.int32),
        np.empty(0, np.int32),
        np.empty(0, np.float32),
        np.empty((0, 0), np.float32),
    )


def _judged(image: Image, boxes: Boxes, row: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    pictures = crops(image, boxes.corners[row])
    height, width = image.shape[:2]
    return pictures, worth(pictures, boxes.corners[row], boxes.scores[row], width, height)
