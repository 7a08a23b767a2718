"""A recording cut anywhere is tracked as if it had not been cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh.testing.real_data import real_data
from kinemesh_detect_track.domain.state import CameraPath, TrackerState, fresh_state
from kinemesh_detect_track.domain.tracker import Detections, Parameters, step


def scene(seed: int, frames: int, things: int, embedding: int) -> list[Detections]:
    """Objects that wander before a camera that shakes; each is missed, doubted or doubled now and then."""
    rng = np.random.default_rng(seed)
    place, speed = rng.uniform(0, 600, (things, 2)), rng.normal(0, 4, (things, 2))
    size, classes = rng.uniform(20, 90, (things, 2)), rng.integers(0, 3, things)
    looks = rng.normal(size=(things, embedding))
    answer = []
    for number in range(frames):
        seen = np.flatnonzero(rng.random(things) < 0.85)
        middle = place + number * speed + rng.normal(0, 6, 2)
        low = middle[seen] + rng.normal(0, 1, (len(seen), 2))
        near = looks[seen] + rng.normal(0, 0.3, (len(seen), embedding))
        length = np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-9)
        answer.append(
            Detections(
                np.concatenate([low, low + size[seen]], axis=1).astype(np.float32),
                rng.uniform(0.05, 1, len(seen)).astype(np.float32),
                classes[seen].astype(np.int16),
                (near / length).astype(np.float32) if embedding else None,
            )
        )
    return answer


def follow(
    frames: Sequence[Detections], parameters: Parameters, cut: int | None
) -> tuple[list[list[int]], TrackerState]:
    """Ids of all frames, and the state after them; at ``cut`` all that is known goes through bytes."""
    state, answers = fresh_state(), []
    for number, detections in enumerate(frames):
        if number == cut:
            data = state.to_bytes()
            state = TrackerState.from_bytes(data)
            assert state.to_bytes() == data
        state, ids = step(state, detections, parameters, 0.5 + number % 3)
        answers.append(ids.tolist())
    return answers, state


def check_every_cut(frames: Sequence[Detections], parameters: Parameters) -> None:
    whole, end = follow(frames, parameters, None)
    for cut in range(len(frames) + 1):
        answers, state = follow(frames, parameters, cut)
        assert answers == whole
        assert state.to_bytes() == end.to_bytes()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(0, 24),
    things=st.integers(0, 9),
    embedding=st.sampled_from([0, 0, 5]),
    camera_motion=st.booleans(),
)
def test_every_cut_of_a_made_up_scene(seed: int, frames: int, things: int, embedding: int, camera_motion: bool) -> None:
    parameters = Parameters(high_score=0.3, new_score=0.4, lost_frames=7, camera_motion=camera_motion, appearance=0.4)
    check_every_cut(scene(seed, frames, things, embedding), parameters)


@pytest.mark.data
def test_every_cut_of_a_real_crowd() -> None:
    found = np.loadtxt(real_data() / "mot/MOT17/MOT17-09-FRCNN/det/det.txt", delimiter=",")
    frames = []
    for number in range(1, int(found[:, 0].max()) + 1):
        rows = found[found[:, 0] == number]
        corners = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
        frames.append(Detections(corners, rows[:, 6], np.zeros(len(rows), np.int16)))
    # The state is all that a step reads: if no cut changes a bit of it or of the next step, none ever does.
    state = fresh_state()
    for detections in frames:
        restored = TrackerState.from_bytes(state.to_bytes())
        state, ids = step(state, detections, Parameters())
        after, same = step(restored, detections, Parameters())
        assert same.tolist() == ids.tolist()
        assert after.to_bytes() == state.to_bytes()
    assert state.next_id > 20


def test_the_camera_comes_back_from_bytes() -> None:
    path = CameraPath(np.random.default_rng(0).normal(size=(7, 2)))
    again = CameraPath.from_bytes(path.to_bytes())
    np.testing.assert_array_equal(again.offsets, path.offsets)
    assert again.to_bytes() == path.to_bytes()


def test_bytes_that_are_no_snapshot_are_refused() -> None:
    _, state = follow(scene(0, 9, 4, 0), Parameters(high_score=0.1, new_score=0.1), None)
    data = state.to_bytes()
    for bad in (b"", b"\x80\x04pickle", data[:-1], data + b"\0", CameraPath(np.zeros((3, 2))).to_bytes()):
        with pytest.raises(InvalidArgument) as refused:
            TrackerState.from_bytes(bad)
        assert refused.value.reason == "SNAPSHOT_CORRUPT"
    with pytest.raises(FailedPrecondition) as other:
        TrackerState.from_bytes(data[:4] + b"\x63" + data[5:])
    assert other.value.reason == "SNAPSHOT_VERSION"
