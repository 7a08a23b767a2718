"""From the rows of one stage to those of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.inference.detector import Boxes
from kinemesh.media import FrameIndex
from kinemesh.results.columns import select
from kinemesh.results.looks import LookRows
from kinemesh.results.tracks import TrackRows
from kinemesh_detect_track.domain.boxes import Floats
from kinemesh_detect_track.domain.refine import Refinement, refined
from kinemesh_detect_track.domain.state import CameraPath, TrackerState
from kinemesh_detect_track.domain.tracker import Detections, Parameters, frames_between, step

_SMALLEST: Final = 1.0
"""Pixels of a box, either way, that is still one after it was cut at the picture's border."""


def found_rows(found: Sequence[Boxes], index: FrameIndex, first: int) -> TrackRows:
    """The objects of consecutive frames."""
    counts = [len(boxes.scores) for boxes in found]
    frame_index = first + np.repeat(np.arange(len(found), dtype=np.int64), counts)
    return TrackRows(
        frame_index=frame_index,
        time_sec=index.times[frame_index],
        track_id=np.zeros(len(frame_index), np.int32),
        box=np.concatenate([boxes.corners for boxes in found]),
        score=np.concatenate([boxes.scores for boxes in found]),
        class_id=np.concatenate([boxes.classes for boxes in found]),
        interpolated=np.zeros(len(frame_index), np.bool_),
    )


def of_classes(boxes: Boxes, classes: NDArray[np.int16] | None, most: int | None = None) -> Boxes:
    """The best ``most`` objects of ``classes``; all if either is None."""
    kept = np.flatnonzero(np.isin(boxes.classes, boxes.classes if classes is None else classes))[:most]
    return Boxes(boxes.corners[kept], boxes.scores[kept], boxes.classes[kept])


def followed(
    rows: TrackRows, start: int, stop: int, times: Floats, state: TrackerState, parameters: Parameters
) -> tuple[NDArray[np.int32], TrackerState, CameraPath]:
    """The track of each row of frames ``[start, stop)``, int32 [R], 0 for none, and what the next segment needs.

    :param times: float64 [F], presentation times of all frames of the recording, in seconds.
    """
    passed = np.ones(stop - start)
    since = max(start - 1, 0)
    passed[since - start + 1 :] = frames_between(times[since:stop], parameters)
    borders = np.searchsorted(rows.frame_index, np.arange(start, stop + 1))
    ids = np.zeros(len(rows), np.int32)
    offsets = np.zeros((stop - start, 2))
    for i in range(stop - start):
        here = slice(borders[i], borders[i + 1])
        found = Detections(rows.box[here], rows.score[here], rows.class_id[here])
        state, ids[here] = step(state, found, parameters, float(passed[i]))
        offsets[i] = state.camera
    return ids, state, CameraPath(offsets)


def tracked_rows(rows: TrackRows, ids: NDArray[np.int32]) -> TrackRows:
    """The rows that belong to a track, under its id, by frame and id."""
    named = replace(rows, track_id=ids).where(ids > 0)
    return named.where(np.lexsort((named.track_id, named.frame_index)))


def tracked_looks(looks: LookRows, ids: NDArray[np.int32]) -> LookRows:
    """The looks at what belongs to a track, under its id."""
    named = replace(looks, track_id=ids[looks.row])
    return select(named, named.track_id > 0)


def refined_rows(rows: TrackRows, index: FrameIndex, path: CameraPath, refinement: Refinement) -> TrackRows:
    """The rows of a whole recording, refined and cut at the picture's border."""
    better = refined(rows, index.times, path.offsets, refinement)
    box = np.clip(better.box, 0, np.array((index.width, index.height) * 2, np.float32))
    inside = np.flatnonzero((box[:, 2:] - box[:, :2] >= _SMALLEST).all(axis=1))
    return replace(better, box=box).where(inside)
