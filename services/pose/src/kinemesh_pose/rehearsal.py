"""What the stages do, except asking the model server, on one made-up person."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from kinemesh.media import build_index, decode
from kinemesh.media.synthetic import write_clip
from kinemesh.results.poses import LANDMARKS, PoseRows, rows_from_parquet, rows_to_parquet
from kinemesh_pose.domain.roi import crop
from kinemesh_pose.messages import frame_results
from kinemesh_pose.results import to_documents
from kinemesh_pose.worker import stitched

_FRAMES = 30
_STEP = 9000  # a tenth of a second: three seconds are enough for every metric to have something to measure


def rehearse() -> None:
    """Decode, cut out, name, measure; raises whatever a job would fail with."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-pose-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, pts=range(0, _STEP * _FRAMES, _STEP), size=(64, 48))
        index = build_index(clip)
        for frame in decode(clip, index, 0, 1):
            crop(frame.image, np.array([[32.0, 24.0, 40.0, 0.1]]))
    wave = np.sin(index.times * 6)[:, None, None].astype(np.float32)
    shape = np.random.default_rng(0).uniform(0.3, 0.7, (LANDMARKS, 5)).astype(np.float32)
    rows = PoseRows(
        frame_index=np.arange(_FRAMES, dtype=np.int64),
        time_sec=index.times,
        person_id=np.ones(_FRAMES, np.int32),
        score=np.ones(_FRAMES, np.float32),
        warm_up=np.zeros(_FRAMES, np.bool_),
        image=shape + 0.01 * wave,
        world=shape[:, :3] + 0.1 * wave,
    )
    rows, _ = stitched(rows_from_parquet(rows_to_parquet(rows)), None, index.width / index.height)
    frame_results(rows, range(_FRAMES), index)
    to_documents(rows, index, smooth=True)
