"""RenderFrame through a real gRPC server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from kinemesh import errors
from kinemesh.common.v1.common_pb2 import Box, EncodedFrame, NormalizedPoint
from kinemesh.detect_track.v1.tracking_pb2 import TrackedObject
from kinemesh.job.v1.parameters_pb2 import OverlayStyle, Zone
from kinemesh.media.picture import decode_picture, encode_picture
from kinemesh.pose.v1.pose_pb2 import Landmark, Pose
from kinemesh.render.v1 import render_pb2, render_pb2_grpc
from kinemesh.serving.channel import call
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh.testing.serving import served
from kinemesh_render.faces import FaceFinder
from kinemesh_render.rpc import RenderServicer
from kinemesh_render.settings import PictureSettings

Standing = Callable[..., NDArray[np.float32]]

IMAGE = np.full((240, 320, 3), 90, np.uint8)
FRAME = EncodedFrame(data=encode_picture(IMAGE, ".png", 90), frame_index=7, time_sec=1.5)
PNG = render_pb2.IMAGE_FORMAT_PNG


@pytest_asyncio.fixture(loop_scope="session")
async def stub(faces: FaceFinder) -> AsyncIterator[Any]:
    servicer = RenderServicer(faces, IN_PROCESS, PictureSettings(max_pixels=500_000, max_bytes=1_000_000))
    async with served(servicer, render_pb2_grpc.add_RenderServiceServicer_to_server) as channel:
        yield render_pb2_grpc.RenderServiceStub(channel)


def pose(standing: Standing) -> Pose:
    landmarks = [Landmark(x=x, y=y, visibility=v) for x, y, _, v, _ in standing().tolist()]
    return Pose(person_id=1, landmarks=landmarks)


async def ask(stub: Any, **fields: Any) -> render_pb2.RenderFrameResponse:
    request = render_pb2.RenderFrameRequest(frame=fields.pop("frame", FRAME), **fields)
    answer: render_pb2.RenderFrameResponse = await call(stub.RenderFrame, request)
    return answer


async def test_everything_is_drawn(stub: Any, standing: Standing) -> None:
    parts: dict[str, Any] = {
        "poses": [pose(standing)],
        "objects": [TrackedObject(track_id=2, box=Box(x1=10, y1=150, x2=60, y2=230), label="car", score=0.9)],
        "trails": [render_pb2.Trail(id=3, points=[NormalizedPoint(x=0.7, y=0.1), NormalizedPoint(x=0.95, y=0.1)])],
        "zones": [
            Zone(name="grid", polygon=[NormalizedPoint(x=x, y=y) for x, y in ((0.8, 0.8), (0.9, 0.8), (0.9, 0.9))])
        ],
    }
    for name, value in parts.items():
        answer = await ask(stub, format=PNG, **{name: value})
        picture = decode_picture(answer.frame.data, 500_000)
        assert (picture != 90).any(), name
    assert (answer.frame.frame_index, answer.frame.time_sec) == (7, 1.5)
    assert (answer.width, answer.height, answer.content_type) == (320, 240, "image/png")


async def test_nothing_asked_nothing_changed(stub: Any) -> None:
    hidden = TrackedObject(track_id=0, box=Box(x1=10, y1=10, x2=60, y2=60))
    answer = await ask(stub, format=PNG, objects=[hidden])
    np.testing.assert_array_equal(decode_picture(answer.frame.data, 500_000), IMAGE)


async def test_boxes_that_were_filled_in_are_dashed(stub: Any) -> None:
    ink = []
    for filled_in in (False, True):
        box = Box(x1=40, y1=60, x2=240, y2=220)
        given = TrackedObject(track_id=2, box=box, label="car", score=0.9, interpolated=filled_in)
        answer = await ask(stub, format=PNG, objects=[given])
        drawn = (decode_picture(answer.frame.data, 500_000) != 90).any(axis=2)
        ink.append((drawn[65:].sum(), drawn[:58].sum()))
    (solid, caption), (dashed, plain) = ink
    assert 0 < dashed < solid
    assert 0 < plain < caption  # without a confidence


@pytest.mark.parametrize(
    ("chosen", "content_type"),
    [
        (render_pb2.IMAGE_FORMAT_UNSPECIFIED, "image/jpeg"),
        (render_pb2.IMAGE_FORMAT_JPEG, "image/jpeg"),
        (render_pb2.IMAGE_FORMAT_WEBP, "image/webp"),
    ],
)
async def test_formats(stub: Any, chosen: render_pb2.ImageFormat, content_type: str) -> None:
    answer = await ask(stub, format=chosen, style=OverlayStyle(side_by_side=True))
    assert answer.content_type == content_type
    assert decode_picture(answer.frame.data, 500_000).shape == (240, 640, 3)
    assert (answer.width, answer.height) == (640, 240)


async def test_faces_are_blurred(stub: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    frame = EncodedFrame(data=encode_picture(image, ".png", 90))
    answer = await ask(stub, frame=frame, format=PNG, blur_faces=True)
    changed = (decode_picture(answer.frame.data, 500_000) != image).any(axis=2)
    assert 0.005 < changed.mean() < 0.5


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"frame": EncodedFrame()}, errors.InvalidArgument, "EMPTY_PICTURE"),
        ({"frame": EncodedFrame(data=b"#EXTM3U")}, errors.UnsupportedMedia, "NOT_A_PICTURE"),
        ({"frame": EncodedFrame(data=bytes(1_000_001))}, errors.TooLarge, "PICTURE_TOO_LARGE"),
        (
            {"frame": EncodedFrame(data=encode_picture(np.zeros((800, 800, 3), np.uint8), ".png", 90))},
            errors.TooLarge,
            "TOO_MANY_PIXELS",
        ),
        ({"style": OverlayStyle(colors=["x"])}, errors.InvalidArgument, "INVALID_STYLE"),
        ({"quality": 101}, errors.InvalidArgument, "INVALID_QUALITY"),
        ({"format": 9}, errors.InvalidArgument, "INVALID_FORMAT"),
        ({"poses": [Pose(landmarks=[Landmark()] * 32)]}, errors.InvalidArgument, "WRONG_LANDMARK_COUNT"),
        ({"poses": [Pose(landmarks=[Landmark(x=float("nan"))] * 33)]}, errors.InvalidArgument, "NOT_A_NUMBER"),
        ({"objects": [TrackedObject(track_id=1, box=Box(x1=float("inf")))]}, errors.InvalidArgument, "NOT_A_NUMBER"),
        ({"zones": [Zone()] * 1001}, errors.InvalidArgument, "TOO_MANY_ITEMS"),
    ],
)
async def test_bad_requests_are_told_why(
    stub: Any, fields: dict[str, Any], kind: type[errors.KinemeshError], reason: str
) -> None:
    with pytest.raises(kind) as caught:
        await ask(stub, **fields)
    assert caught.value.reason == reason
