"""Single pictures and live streams over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import grpc
import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.common.v1 import common_pb2
from kinemesh.embedded.mesh import Mesh
from kinemesh.media import build_index, decode
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.channel import call, open_channel
from kinemesh.serving.status import from_rpc_error


@pytest_asyncio.fixture(loop_scope="session")
async def poses(mesh: Mesh) -> AsyncIterator[pose_pb2_grpc.PoseServiceAsyncStub]:
    async with open_channel(f"127.0.0.1:{mesh.ports.grpc['pose']}") as channel:
        yield pose_pb2_grpc.PoseServiceStub(channel)


@pytest.fixture(scope="module")
def pictures(person_clip: bytes, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """JPEGs of the first frames of the clip."""
    path: Path = tmp_path_factory.mktemp("pictures") / "clip.mp4"
    path.write_bytes(person_clip)
    frames = decode(path, build_index(path), 0, 6)
    return [cv2.imencode(".jpg", frame.image[:, :, ::-1])[1].tobytes() for frame in frames]


def frame(data: bytes, index: int = 0) -> common_pb2.EncodedFrame:
    return common_pb2.EncodedFrame(data=data, frame_index=index)


async def test_a_picture_of_a_person(poses: Any, pictures: list[bytes]) -> None:
    answer = await call(poses.Estimate, pose_pb2.EstimateRequest(frame=frame(pictures[0])))
    assert (answer.width, answer.height) == (640, 480)
    [pose] = answer.poses
    assert pose.person_id == 0
    assert len(pose.landmarks) == len(pose.world_landmarks) == 33
    nose, shoulders = pose.landmarks[0], pose.landmarks[11:13]
    assert nose.visibility > 0.9
    assert nose.y < min(shoulder.y for shoulder in shoulders)


async def test_a_picture_of_nobody(poses: Any) -> None:
    blank = cv2.imencode(".png", cv2.UMat(64, 96, cv2.CV_8UC3, (90, 90, 90)).get())[1].tobytes()
    answer = await call(poses.Estimate, pose_pb2.EstimateRequest(frame=frame(blank)))
    assert len(answer.poses) == 0


@pytest.mark.parametrize(
    ("data", "persons", "reason"),
    [
        (b"", 0, "EMPTY_PICTURE"),
        (b"not a picture at all", 0, "NOT_A_PICTURE"),
        (b"\x89PNG\r\n\x1a\n", 0, "CORRUPT_PICTURE"),
        (b"x", 17, "OUT_OF_RANGE"),
    ],
)
async def test_bad_pictures_are_refused(poses: Any, data: bytes, persons: int, reason: str) -> None:
    request = pose_pb2.EstimateRequest(frame=frame(data), max_persons=persons)
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(poses.Estimate, request)
    assert refused.value.reason in (reason, "NOT_A_PICTURE")


async def test_a_stream_keeps_its_persons(poses: Any, pictures: list[bytes]) -> None:
    async def requests() -> AsyncIterator[pose_pb2.EstimateStreamRequest]:
        for index, data in enumerate(pictures):
            yield pose_pb2.EstimateStreamRequest(frame=frame(data, 100 + index), max_persons=2)

    answers = [answer async for answer in poses.EstimateStream(requests(), timeout=60)]
    assert [answer.frame_index for answer in answers] == list(range(100, 106))
    assert [[pose.person_id for pose in answer.poses] for answer in answers] == [[1]] * 6


async def test_a_stream_that_changes_size_ends_with_a_reason(poses: Any, pictures: list[bytes]) -> None:
    small = cv2.imencode(".png", cv2.UMat(64, 96, cv2.CV_8UC3, (9, 9, 9)).get())[1].tobytes()

    async def requests() -> AsyncIterator[pose_pb2.EstimateStreamRequest]:
        for data in (pictures[0], small):
            yield pose_pb2.EstimateStreamRequest(frame=frame(data))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in poses.EstimateStream(requests(), timeout=60):
            pass
    assert from_rpc_error(refused.value).reason == "SIZE_CHANGED"
