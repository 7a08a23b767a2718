"""What the stages do, except asking the model server, on one made-up object."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from kinemesh.inference.detector import Boxes, Detector, letterbox, padded
from kinemesh.inference.embedder import crops
from kinemesh.job.v1 import parameters_pb2
from kinemesh.media import build_index, decode
from kinemesh.media.synthetic import write_clip
from kinemesh.results.columns_parquet import LOOK_SCHEMA, from_parquet, to_parquet, to_table
from kinemesh.results.looks import LookRows
from kinemesh.results.tracks_parquet import rows_from_parquet, rows_to_parquet
from kinemesh_detect_track.documents import instructor_files, pitstop_files
from kinemesh_detect_track.domain.quality import worth
from kinemesh_detect_track.domain.refine import Refinement
from kinemesh_detect_track.domain.state import TrackerState, fresh_state
from kinemesh_detect_track.domain.tracker import parameters_for
from kinemesh_detect_track.looking import Looks, look_rows
from kinemesh_detect_track.messages import frame_results
from kinemesh_detect_track.rows import followed, found_rows, refined_rows, tracked_looks, tracked_rows

_FRAMES = 30
_STEP = 3000
_MODEL = Detector("made up", 64, 64, True, ("person",))


def rehearse() -> None:
    """Decode, look, follow, refine, measure; raises whatever a job would fail with."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-detect-track-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, pts=range(0, _STEP * _FRAMES, _STEP), size=(64, 48))
        index = build_index(clip)
        box = letterbox(_MODEL, index.width, index.height)
        [first] = decode(clip, index, 0, 1, size=box.size, whole=lambda number: number == 0)
    padded(first.image, box)
    assert first.whole is not None
    corners = np.array([[8, 8, 24, 40]], np.float32)
    found = [
        Boxes(corners + 0.5 * frame, np.full(1, 0.9, np.float32), np.zeros(1, np.int16)) for frame in range(_FRAMES)
    ]
    rows = rows_from_parquet(rows_to_parquet(found_rows(found, index, 0)))
    state = TrackerState.from_bytes(fresh_state().to_bytes())
    parameters = parameters_for(0.5, 1.0, camera_motion=True, hindsight=True)
    quality = worth(crops(first.whole, corners), corners, found[0].scores, index.width, index.height)
    looks = look_rows(found[:1], [Looks(np.zeros(1, np.int64), quality, np.ones((1, 1), np.float32))], 0)
    looks = from_parquet(LookRows, to_parquet(to_table(looks, LOOK_SCHEMA)), LOOK_SCHEMA)
    ids, _, path = followed(rows, 0, _FRAMES, index.times, state, parameters)
    tracked_looks(looks, ids)
    rows = tracked_rows(rows, ids)
    frame_results(rows, 0, _FRAMES, index, _MODEL)
    objects = refined_rows(rows, index, path, Refinement())
    pitstop_files(objects, index, parameters_pb2.PitstopParameters(), _MODEL.labels)
    instructor_files(objects, index, parameters_pb2.InstructorParameters(), _MODEL.labels)
