"""What leaves the pose service: events, tables and documents."""

from __future__ import annotations

import io
import json
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest

from kinemesh.media import FrameIndex, Orientation
from kinemesh.nv12 import ColorMatrix
from kinemesh.results.poses import PoseRows, empty_rows
from kinemesh_pose.messages import frame_results
from kinemesh_pose.results import to_documents

FRAMES = 30


def index_of(frames: int) -> FrameIndex:
    pts = np.arange(frames, dtype=np.int64)
    first = np.zeros(1, np.int64)
    return FrameIndex(0, Fraction(1, 30), pts, frames, first, first, 200, 100, Orientation(), ColorMatrix.BT709)


def rows_of(persons: list[int]) -> PoseRows:
    """Still standing people, everyone in every frame."""
    rng = np.random.default_rng(3)
    count = FRAMES * len(persons)
    image = np.tile(rng.random((1, 33, 5), dtype=np.float32), (count, 1, 1))
    image[:, :, 3:] = 0.9
    frame = np.repeat(np.arange(FRAMES, dtype=np.int64), len(persons))
    return PoseRows(
        frame,
        index_of(FRAMES).times[frame],
        np.tile(np.array(persons, np.int32), FRAMES),
        np.full(count, 0.8, np.float32),
        np.zeros(count, np.bool_),
        image,
        np.tile(rng.random((1, 33, 3), dtype=np.float32), (count, 1, 1)),
    )


def test_events_tell_of_every_frame_and_box_what_is_visible() -> None:
    rows = rows_of([1, 2])
    rows.image[0, 4, :4] = (0.99, 0.0, 0.0, 0.1)
    results = frame_results(rows.where(rows.frame_index != 7), range(FRAMES), index_of(FRAMES))
    assert [result.frame_index for result in results] == list(range(FRAMES))
    assert [len(result.persons) for result in results] == [0 if frame == 7 else 2 for frame in range(FRAMES)]
    first = results[0].persons[0]
    assert len(first.landmarks) == 99
    others = np.delete(rows.image[0], 4, axis=0)
    assert first.box.x2 == pytest.approx(others[:, 0].max() * 200)
    assert first.box.y1 == pytest.approx(others[:, 1].min() * 100)


def test_nobody_in_the_clip_is_an_answer_too() -> None:
    index = index_of(FRAMES)
    assert all(not result.persons for result in frame_results(empty_rows(), range(FRAMES), index))
    outcome = to_documents(empty_rows(), index, smooth=True)
    files = {name: data for name, _, data in outcome.files}
    assert outcome.persons == []
    assert json.loads(files["metrics.json"])["persons"] == []
    assert len(json.loads(files["landmarks.json"])["frames"]) == FRAMES
    empty = pq.read_table(io.BytesIO(files["movement.parquet"]))
    some = {n: d for n, _, d in to_documents(rows_of([1]), index, smooth=False).files}
    assert empty.num_rows == 0
    assert empty.schema == pq.read_schema(io.BytesIO(some["movement.parquet"]))


@pytest.mark.parametrize("smooth", [False, True])
def test_documents_agree_with_one_another(smooth: bool) -> None:
    rows = rows_of([1, 3])
    outcome = to_documents(rows, index_of(FRAMES), smooth=smooth)
    files = {name: data for name, _, data in outcome.files}
    table = pq.read_table(io.BytesIO(files["landmarks.parquet"]))
    document = json.loads(files["landmarks.json"])
    assert table.num_rows == FRAMES * 2 * 33
    person = document["frames"][5]["persons"][1]
    row = table.slice((5 * 2 + 1) * 33 + 7, 1).to_pylist()[0]
    assert (row["frame_index"], row["person_id"], row["landmark"]) == (5, 3, document["landmark_names"][7])
    assert [row[c] for c in ("x", "y", "z", "visibility", "presence")] == pytest.approx(person["landmarks"][7])
    assert [row[c] for c in ("world_x", "world_y", "world_z")] == pytest.approx(person["world"][7])
    assert ("smooth" in person) == smooth == ("smooth_x" in table.column_names)
    assert [entry["person_id"] for entry in json.loads(files["metrics.json"])["persons"]] == [1, 3]
    assert to_documents(rows, index_of(FRAMES), smooth=smooth).files == outcome.files
