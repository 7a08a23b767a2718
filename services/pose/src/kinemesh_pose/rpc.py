"""PoseService: pictures and live streams in, poses out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from kinemesh import errors
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import in_thread
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh_pose.domain.roi import Image
from kinemesh_pose.domain.tracking import FramePoses, Models, Options, estimate
from kinemesh_pose.messages import to_poses
from kinemesh_pose.settings import EstimationSettings

_DEFAULT_PERSONS = 4
_MOST_PERSONS = 16


class PoseRpc(pose_pb2_grpc.PoseServiceServicer):
    """Estimates body poses."""

    def __init__(self, models: Models, decoder: Decoder, estimation: EstimationSettings) -> None:
        self._decoder = decoder
        self._models = models
        self._estimation = estimation

    async def Estimate(self, request: pose_pb2.EstimateRequest, _context: Any) -> pose_pb2.EstimateResponse:  # noqa: N802
        options = self._options(request.max_persons)
        image = await in_thread(self._decoder.decode_picture, request.frame.data, self._estimation.max_pixels)

        async def only() -> AsyncIterator[Image]:
            yield image

        async with aclosing(cast(AsyncGenerator[FramePoses, None], estimate(only(), self._models, options))) as each:
            poses = await anext(each)
        return pose_pb2.EstimateResponse(
            poses=to_poses(poses, with_ids=False), width=image.shape[1], height=image.shape[0]
        )

    async def EstimateStream(  # noqa: N802
        self, requests: AsyncIterator[pose_pb2.EstimateStreamRequest], _context: Any
    ) -> AsyncIterator[pose_pb2.EstimateStreamResponse]:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        indices: list[int] = []
        shape: tuple[int, ...] | None = None

        async def images() -> AsyncGenerator[Image, None]:
            nonlocal shape
            request: pose_pb2.EstimateStreamRequest | None = first
            with self._decoder.pictures() as decode_picture:
                while request is not None:
                    image = await in_thread(decode_picture, request.frame.data, self._estimation.max_pixels)
                    if shape not in (None, image.shape):
                        raise errors.InvalidArgument("SIZE_CHANGED", "All frames of a stream must have one size.")
                    shape = image.shape
                    indices.append(request.frame.frame_index)
                    yield image
                    request = await anext(aiter(requests), None)

        async with aclosing(images()) as frames:
            async for poses in estimate(frames, self._models, self._options(first.max_persons)):
                yield pose_pb2.EstimateStreamResponse(frame_index=indices.pop(0), poses=to_poses(poses, with_ids=True))

    def _options(self, max_persons: int) -> Options:
        if not 0 <= max_persons <= _MOST_PERSONS:
            raise errors.InvalidArgument(
                "OUT_OF_RANGE", f"max_persons must lie between 1 and {_MOST_PERSONS}.", field="max_persons"
            )
        return Options(max_poses=max_persons or _DEFAULT_PERSONS, detect_every=self._estimation.detect_every)
