"""DetectTrackService: pictures and live streams in, objects out, and what jobs over several cameras found."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import detect_track_pb2, detect_track_pb2_grpc
from kinemesh.errors import InvalidArgument
from kinemesh.inference.detector import resized
from kinemesh.media.confined import Decoder
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_flight, in_thread
from kinemesh.serving.interceptor import caller
from kinemesh_detect_track.domain.state import fresh_state
from kinemesh_detect_track.domain.tracker import Detections, frames_between, step
from kinemesh_detect_track.looking import LEAST_SHARE, embeddings
from kinemesh_detect_track.messages import (
    classes_of,
    detections,
    most_of,
    parameters_of,
    threshold_of,
    tracked_objects,
)
from kinemesh_detect_track.models import Models
from kinemesh_detect_track.querying import Queries
from kinemesh_detect_track.rows import of_classes
from kinemesh_detect_track.settings import DetectionSettings
from kinemesh_detect_track.watching import Watching


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame of a stream, and what is in it."""

    index: int
    time_sec: float
    width: int
    height: int
    found: Detections


class DetectTrackRpc(detect_track_pb2_grpc.DetectTrackServiceServicer):
    """Detects and tracks, and tells who was where."""

    def __init__(
        self, models: Models, decoder: Decoder, detection: DetectionSettings, watching: Watching, queries: Queries
    ) -> None:
        self._models = models
        self._decoder = decoder
        self._detection = detection
        self._watching = watching
        self._queries = queries

    async def Detect(  # noqa: N802 - the name in the proto
        self, request: detect_track_pb2.DetectRequest, _context: Any
    ) -> detect_track_pb2.DetectResponse:
        options = request.options
        threshold, most = threshold_of(options, "options"), most_of(options, "options")
        model = resized(await self._models.detector(options.model), options.input_size, "options.input_size")
        classes = classes_of(options.labels, model, "options")
        image = await self._decode(request.frame)
        boxes = await self._models.look(model, image)
        kept = np.flatnonzero((boxes.scores >= threshold) & np.isin(boxes.classes, classes))[:most]
        return detect_track_pb2.DetectResponse(
            detections=detections(boxes, kept, model),
            width=image.shape[1],
            height=image.shape[0],
            model=model.name,
        )

    async def Track(  # noqa: N802
        self, requests: AsyncIterator[detect_track_pb2.TrackRequest], _context: Any
    ) -> AsyncIterator[detect_track_pb2.TrackResponse]:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        parameters, detect = parameters_of(first.options), first.options.detect
        most = most_of(detect, "options.detect")
        model = resized(await self._models.detector(detect.model), detect.input_size, "options.detect.input_size")
        classes = classes_of(detect.labels, model, "options.detect")
        embedder = await self._models.embedder(first.options.embedder) if first.options.embedder else None
        least = LEAST_SHARE * threshold_of(detect, "options.detect")

        async def see(frame: common_pb2.EncodedFrame) -> _Seen:
            image = await self._decode(frame)
            boxes = of_classes(await self._models.look(model, image), classes, most)
            looks = None if embedder is None else await embeddings(self._models, embedder, image, boxes, least)
            found = Detections(boxes.corners, boxes.scores, boxes.classes, looks)
            return _Seen(frame.frame_index, frame.time_sec, image.shape[1], image.shape[0], found)

        state, before = fresh_state(), None
        # A frame is taken only when there is room for it, and the next answer is made only when the last was taken:
        # a caller who does not read is soon not read from either.
        frames = _growing(first.frame, requests)
        async with aclosing(frames), aclosing(in_flight(frames, see, self._detection.stream_frames)) as each:
            async for seen in each:
                passed = 1.0
                if before is not None:
                    if (seen.width, seen.height) != (before.width, before.height):
                        raise InvalidArgument("SIZE_CHANGED", "All frames of a stream must have one size.")
                    passed = float(frames_between(np.array([before.time_sec, seen.time_sec]), parameters)[0])
                found = seen.found
                state, ids = step(state, found, parameters, passed)
                order = np.argsort(ids, kind="stable")
                order = order[ids[order] > 0]
                yield detect_track_pb2.TrackResponse(
                    frame_index=seen.index,
                    time_sec=seen.time_sec,
                    tracks=tracked_objects(
                        ids[order], found.boxes[order], found.scores[order], found.classes[order], model
                    ),
                    width=seen.width,
                    height=seen.height,
                )
                before = seen

    async def WatchTracking(  # noqa: N802
        self, request: detect_track_pb2.WatchTrackingRequest, context: Any
    ) -> AsyncIterator[detect_track_pb2.WatchTrackingResponse]:
        messages = self._watching.watch(request.job_id, request.since_frame, caller(context))
        async with aclosing(messages):
            async for message in messages:
                yield message

    async def QueryTracks(  # noqa: N802
        self, request: detect_track_pb2.QueryTracksRequest, context: Any
    ) -> detect_track_pb2.QueryTracksResponse:
        return await self._queries.query(request, caller(context))

    async def _decode(self, frame: common_pb2.EncodedFrame) -> Image:
        return await in_thread(self._decoder.decode_picture, frame.data, self._detection.max_pixels)


async def _growing(
    first: common_pb2.EncodedFrame, requests: AsyncIterator[detect_track_pb2.TrackRequest]
) -> AsyncGenerator[common_pb2.EncodedFrame, None]:
    """The frames of a stream, as long as their indices and times grow."""
    index, time_sec = -1, -math.inf
    frame: common_pb2.EncodedFrame | None = first
    while frame is not None:
        if not (math.isfinite(frame.time_sec) and frame.time_sec > time_sec and frame.frame_index > index):
            raise InvalidArgument(
                "FRAMES_OUT_OF_ORDER",
                "Indices, from 0, and times must grow from frame to frame.",
                field="frame",
                frame_index=frame.frame_index,
                time_sec=frame.time_sec,
            )
        index, time_sec = frame.frame_index, frame.time_sec
        yield frame
        request = await anext(aiter(requests), None)
        frame = None if request is None else request.frame
