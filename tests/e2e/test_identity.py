"""A person keeps one id from the first frame to the last, wherever a clip is cut.

Estimation and stitching as the pose worker runs them, with the real networks; without the rest of the mesh, so that
many ways to cut can be tried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from kinemesh.bodies.skeleton import LEFT_HIP, RIGHT_HIP
from kinemesh.bodies.subject import select
from kinemesh.inference import TritonClient
from kinemesh.testing.fixtures import TritonServer
from kinemesh_pose.domain import tracking
from kinemesh_pose.domain.snapshot import Snapshot
from kinemesh_pose.domain.stitch import SegmentRows, stitch
from kinemesh_pose.domain.tracking import Options
from kinemesh_pose.models import TritonModels

pytestmark = pytest.mark.data

WARM_UP = 10
FPS = 30.0
Frames = NDArray[np.uint8]
Hips = dict[int, tuple[float, float]]
"""Frame → middle of the hips in fractions of width and height."""

# Read off the frames of sports2d_demo.mp4 (1768 × 994 pixels).
MAN: Hips = {
    3: (0.37, 0.31),  # on the roof
    30: (0.36, 0.27),
    60: (0.36, 0.30),
    90: (0.37, 0.27),
    102: (0.37, 0.30),
    195: (0.59, 0.80),  # down on the grass after a somersault
    204: (0.65, 0.74),
    219: (0.81, 0.73),
}
WALKER: Hips = {
    42: (0.87, 0.76),  # steps out from behind the tree on the right …
    60: (0.80, 0.74),
    90: (0.64, 0.74),
    120: (0.46, 0.74),
    150: (0.30, 0.72),
    180: (0.11, 0.75),
    189: (0.06, 0.74),  # … and leaves on the left
}
NEAR = 0.04


@pytest_asyncio.fixture(loop_scope="session")
async def models(default_triton_server: TritonServer) -> AsyncIterator[TritonModels]:
    async with TritonClient(default_triton_server.settings) as client:
        yield TritonModels(client)


def footage(path: Path) -> Frames:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


async def segment(frames: Frames, start: int, stop: int, models: TritonModels) -> SegmentRows:
    first = max(0, start - WARM_UP)

    async def images() -> AsyncIterator[Frames]:
        for frame in frames[first:stop]:
            yield frame

    found = [poses async for poses in tracking.estimate(images(), models, Options(), first_index=first)]
    frame_index = first + np.repeat(np.arange(len(found), dtype=np.int64), [len(poses.ids) for poses in found])
    return SegmentRows(
        frame=frame_index,
        time_s=frame_index / FPS,
        local_id=np.concatenate([poses.ids for poses in found]).astype(np.int64),
        landmarks=np.concatenate([poses.landmarks for poses in found]),
        overlap=frame_index < start,
    )


async def persons(frames: Frames, length: int, models: TritonModels) -> dict[int, dict[int, NDArray[np.float32]]]:
    """Person → frame → landmarks [33,5], of the persons that a job about everybody shows."""
    height, width = frames.shape[1:3]
    snapshot: Snapshot | None = None
    person, frame, landmarks = [], [], []
    for start in range(0, len(frames), length):
        rows = await segment(frames, start, min(start + length, len(frames)), models)
        named, snapshot = stitch(rows, snapshot, width / height)
        person.append(named)
        frame.append(rows.frame[~rows.overlap])
        landmarks.append(rows.landmarks[~rows.overlap])
    ids, where, what = np.concatenate(person), np.concatenate(frame), np.concatenate(landmarks)
    return {
        int(shown): dict(zip(where[ids == shown].tolist(), what[ids == shown], strict=True))
        for shown in select(ids, where / FPS, what, width / height)
    }


def strays(person: dict[int, NDArray[np.float32]], hips: Hips) -> dict[int, object]:
    """Frames in which a person is not where the body is."""
    found = {
        frame: person[frame][[LEFT_HIP, RIGHT_HIP], :2].mean(axis=0) if frame in person else None for frame in hips
    }
    return {
        frame: place
        for frame, place in found.items()
        if place is None or float(np.linalg.norm(place - np.array(hips[frame]))) > NEAR
    }


@pytest.mark.parametrize("length", [230, 115, 60, 35, 24])
async def test_two_people_are_two_persons(media_data: Path, models: TritonModels, length: int) -> None:
    found = await persons(footage(media_data / "sports2d_demo.mp4"), length, models)
    assert sorted(found) == [1, 2]
    assert strays(found[1], MAN) == {}
    assert strays(found[2], WALKER) == {}
    assert sorted(found[2]) == [*range(min(found[2]), max(found[2]) + 1)]  # she is never lost


async def test_one_person_is_one_person(media_data: Path, models: TritonModels) -> None:
    frames = footage(media_data / "sports2d_demo5.mp4")[:240]
    found = await persons(frames, 48, models)
    assert {person: sorted(seen) for person, seen in found.items()} == {1: [*range(240)]}
