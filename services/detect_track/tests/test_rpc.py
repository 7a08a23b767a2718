"""Pictures and live streams through a real gRPC server and a real model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.bus.connection import connect
from kinemesh.common.v1.common_pb2 import EncodedFrame
from kinemesh.detect_track.v1 import detect_track_pb2, detect_track_pb2_grpc
from kinemesh.detect_track.v1.detect_track_pb2 import DetectOptions, DetectRequest, TrackOptions, TrackRequest
from kinemesh.inference import TritonClient
from kinemesh.media.picture import encode_picture
from kinemesh.serving.channel import call, open_channel
from kinemesh.serving.interceptor import CallInterceptor
from kinemesh.serving.status import from_rpc_error
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh.testing.fixtures import NatsServer, TritonServer
from kinemesh_detect_track.jobs import Jobs
from kinemesh_detect_track.models import Models
from kinemesh_detect_track.querying import Queries
from kinemesh_detect_track.rpc import DetectTrackRpc
from kinemesh_detect_track.settings import DetectionSettings, QuerySettings
from kinemesh_detect_track.watching import Watching

SETTINGS = DetectionSettings(max_pixels=500_000, stream_frames=3)


def picture(number: int = 0, width: int = 320, height: int = 240, extension: str = ".jpg") -> bytes:
    image = np.full((height, width, 3), 90 + number % 60, np.uint8)
    return encode_picture(image, extension, 90)


def frame(number: int, rate: float = 30.0, **changes: Any) -> EncodedFrame:
    given = {"data": picture(number), "frame_index": 100 + number, "time_sec": 5 + number / rate}
    return EncodedFrame(**{**given, **changes})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def servicer(
    triton_server: TritonServer,
    nats_server: NatsServer,
    s3_store: ObjectStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[DetectTrackRpc]:
    async with (
        TritonClient(triton_server.settings) as triton,
        connect(NatsSettings(url=nats_server.url), "test") as bus,
        open_channel("127.0.0.1:1") as nobody,
    ):
        jobs = Jobs(nobody, timeout_s=1)
        queries = Queries(s3_store, jobs, QuerySettings(), tmp_path_factory.mktemp("tables"))
        yield DetectTrackRpc(Models(triton, known_s=1), IN_PROCESS, SETTINGS, Watching(bus, jobs), queries)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def address(servicer: DetectTrackRpc) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    detect_track_pb2_grpc.add_DetectTrackServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stub(address: str) -> AsyncIterator[Any]:
    async with open_channel(address) as channel:
        yield detect_track_pb2_grpc.DetectTrackServiceStub(channel)


async def detect(stub: Any, data: bytes | None = None, **options: Any) -> detect_track_pb2.DetectResponse:
    request = DetectRequest(frame=EncodedFrame(data=picture() if data is None else data))
    request.options.CopyFrom(DetectOptions(**options))
    answer: detect_track_pb2.DetectResponse = await call(stub.Detect, request)
    return answer


async def track(stub: Any, frames: Sequence[EncodedFrame], **options: Any) -> list[detect_track_pb2.TrackResponse]:
    async def requests() -> AsyncIterator[TrackRequest]:
        for number, one in enumerate(frames):
            yield TrackRequest(frame=one, options=TrackOptions(**options) if number == 0 else None)

    try:
        return [answer async for answer in stub.Track(requests(), timeout=60)]
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def test_the_default_detector_finds_the_two_people(stub: Any) -> None:
    answer = await detect(stub)
    assert (answer.width, answer.height, answer.model) == (320, 240, "person_detector")
    assert [found.label for found in answer.detections] == ["person", "person"]
    first, second = answer.detections
    assert first.score > second.score > 0.5
    for found in answer.detections:
        assert 0 <= found.box.x1 < found.box.x2 <= 320
        assert 0 <= found.box.y1 < found.box.y2 <= 240


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"model": "person_detector"}, 2),
        ({"threshold": 0.85}, 1),
        ({"threshold": 1.0}, 0),
        ({"threshold": 0.0}, 2),
        ({"labels": ["person"]}, 2),
        ({"max_detections": 1}, 1),
    ],
)
async def test_options_choose_what_is_answered(stub: Any, options: dict[str, Any], count: int) -> None:
    assert len((await detect(stub, **options)).detections) == count


@pytest.mark.parametrize(
    ("options", "reason", "field"),
    [
        ({"threshold": -0.1}, "OUT_OF_RANGE", "options.threshold"),
        ({"threshold": 1.1}, "OUT_OF_RANGE", "options.threshold"),
        ({"threshold": float("nan")}, "OUT_OF_RANGE", "options.threshold"),
        ({"max_detections": -1}, "OUT_OF_RANGE", "options.max_detections"),
        ({"max_detections": 1001}, "OUT_OF_RANGE", "options.max_detections"),
        ({"labels": ["person", "unicorn"]}, "UNKNOWN_LABEL", "options.labels"),
        ({"model": "pose_detector"}, "WRONG_MODEL_TASK", None),
    ],
)
async def test_options_that_make_no_sense_are_refused(
    stub: Any, options: dict[str, Any], reason: str, field: str | None
) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await detect(stub, **options)
    assert refused.value.reason == reason
    assert refused.value.metadata.get("field") == field


async def test_a_model_that_is_not_there_is_not_found(stub: Any) -> None:
    with pytest.raises(errors.NotFound) as refused:
        await detect(stub, model="../../etc")
    assert refused.value.reason == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "EMPTY_PICTURE"),
        (b"not a picture at all", "NOT_A_PICTURE"),
        (b"\x89PNG\r\n\x1a\n", "NOT_A_PICTURE"),
        (picture()[:200], "CORRUPT_PICTURE"),
        (picture(width=1000, height=501), "TOO_MANY_PIXELS"),
    ],
)
async def test_bad_pictures_are_refused(stub: Any, data: bytes, reason: str) -> None:
    for ask in (detect(stub, data), track(stub, [frame(0), frame(1, data=data)])):
        with pytest.raises(errors.InvalidArgument) as refused:
            await ask
        assert refused.value.reason == reason


async def test_ids_come_back_in_the_order_of_the_frames(stub: Any) -> None:
    for _ in range(2):  # ids are the stream's own
        answers = await track(stub, [frame(number) for number in range(90)])
        assert [answer.frame_index for answer in answers] == list(range(100, 190))
        assert [answer.time_sec for answer in answers] == [5 + number / 30 for number in range(90)]
        assert {(answer.width, answer.height) for answer in answers} == {(320, 240)}
        assert [[one.track_id for one in answer.tracks] for answer in answers] == [[1, 2]] * 90
        assert {one.label for answer in answers for one in answer.tracks} == {"person"}


async def test_streams_at_once_do_not_mix(stub: Any) -> None:
    streams = await asyncio.gather(*(track(stub, [frame(number) for number in range(20)]) for _ in range(4)))
    for answers in streams:
        assert [[one.track_id for one in answer.tracks] for answer in answers] == [[1, 2]] * 20


async def test_an_empty_stream_ends(stub: Any) -> None:
    assert await track(stub, []) == []


async def test_options_of_a_stream(stub: Any) -> None:
    frames = [frame(number) for number in range(3)]
    [*_, last] = await track(stub, frames, detect=DetectOptions(threshold=0.85), max_lost_sec=30, camera_motion=True)
    assert [one.track_id for one in last.tracks] == [1]
    [*_, last] = await track(stub, frames, detect=DetectOptions(max_detections=1, model="person_detector"))
    assert [one.track_id for one in last.tracks] == [1]


async def test_looks_join_in_where_an_embedder_is_named(stub: Any) -> None:
    frames = [frame(number) for number in range(12)]
    answers = await track(stub, frames, embedder="person_colors", detect=DetectOptions(threshold=0.5))
    assert [[one.track_id for one in answer.tracks] for answer in answers] == [[1, 2]] * 12
    assert answers == await track(stub, frames, detect=DetectOptions(threshold=0.5))  # nobody comes near anybody


@pytest.mark.parametrize(
    ("options", "kind", "reason", "field"),
    [
        ({"max_lost_sec": -1.0}, errors.InvalidArgument, "OUT_OF_RANGE", "options.max_lost_sec"),
        ({"max_lost_sec": 31.0}, errors.InvalidArgument, "OUT_OF_RANGE", "options.max_lost_sec"),
        ({"max_lost_sec": float("inf")}, errors.InvalidArgument, "OUT_OF_RANGE", "options.max_lost_sec"),
        ({"detect": DetectOptions(threshold=2)}, errors.InvalidArgument, "OUT_OF_RANGE", "options.detect.threshold"),
        (
            {"detect": DetectOptions(labels=["x" * 10_000])},
            errors.InvalidArgument,
            "UNKNOWN_LABEL",
            "options.detect.labels",
        ),
        ({"detect": DetectOptions(model="none")}, errors.NotFound, "MODEL_NOT_FOUND", None),
        ({"embedder": "osnet"}, errors.NotFound, "MODEL_NOT_FOUND", None),
        ({"embedder": "person_detector"}, errors.InvalidArgument, "WRONG_MODEL_TASK", None),
    ],
)
async def test_streams_that_ask_for_nonsense_are_refused(
    stub: Any, options: dict[str, Any], kind: type[errors.KinemeshError], reason: str, field: str | None
) -> None:
    with pytest.raises(kind) as refused:
        await track(stub, [frame(0)], **options)
    assert refused.value.reason == reason
    assert refused.value.metadata.get("field") == field


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (frame(1, data=picture(width=240, height=320)), "SIZE_CHANGED"),
        (frame(1, frame_index=100), "FRAMES_OUT_OF_ORDER"),
        (frame(1, time_sec=5.0), "FRAMES_OUT_OF_ORDER"),
        (frame(1, time_sec=float("nan")), "FRAMES_OUT_OF_ORDER"),
        (frame(1, time_sec=float("inf")), "FRAMES_OUT_OF_ORDER"),
    ],
)
async def test_streams_that_go_wrong_end_with_a_reason(stub: Any, second: EncodedFrame, reason: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await track(stub, [frame(0), second, frame(2)])
    assert refused.value.reason == reason


async def test_no_more_frames_are_taken_than_fit(servicer: DetectTrackRpc) -> None:
    """Whatever the transport buffers: a frame is taken when the answer before it has been."""
    taken = 0

    async def requests() -> AsyncIterator[TrackRequest]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield TrackRequest(frame=frame(number))

    answers: Any = servicer.Track(requests(), None)
    most = [taken async for _ in answers]
    assert most[0] <= SETTINGS.stream_frames
    assert max(now - given for given, now in enumerate(most, 1)) < SETTINGS.stream_frames
    assert most[-1] == 50


async def test_a_caller_who_does_not_read_is_held_back(address: str) -> None:
    """Until nothing more can be written; then everything is read, and nothing has been lost."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    data, most, written = encode_picture(noise, ".png", 90), 20_000, 0
    # Windows stay as small as HTTP/2 has them, so that few answers fill them.
    options = (("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        held: Any = detect_track_pb2_grpc.DetectTrackServiceStub(channel)
        stream = held.Track(timeout=300)
        while written < most:
            writing = asyncio.ensure_future(stream.write(TrackRequest(frame=frame(written, data=data))))
            done, _ = await asyncio.wait([writing], timeout=2)
            if not done:
                break
            written += 1
        assert written < most

        async def finish() -> None:
            await writing
            await stream.done_writing()

        finishing = asyncio.ensure_future(finish())
        answers = [answer.frame_index async for answer in stream]
        await finishing
    assert answers == [100 + number for number in range(written + 1)]


async def test_an_answer_does_not_wait_for_the_next_frame(stub: Any) -> None:
    stream: Any = stub.Track(timeout=60)
    for number in range(5):
        await stream.write(TrackRequest(frame=frame(number)))
        assert (await stream.read()).frame_index == 100 + number
    await stream.done_writing()
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_caller_who_leaves_leaves_nothing_behind(stub: Any, servicer: DetectTrackRpc) -> None:
    stream: Any = stub.Track(timeout=60)
    await stream.write(TrackRequest(frame=frame(0)))
    await stream.read()
    stream.cancel()
    assert [[one.track_id for one in answer.tracks] for answer in await track(stub, [frame(0)])] == [[1, 2]]


async def test_what_is_asked_of_jobs_reaches_who_knows(stub: Any) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(stub.QueryTracks, detect_track_pb2.QueryTracksRequest())
    assert refused.value.reason == "SITE_OR_JOBS_NEEDED"
    with pytest.raises(grpc.aio.AioRpcError) as watched:
        await anext(aiter(stub.WatchTracking(detect_track_pb2.WatchTrackingRequest(since_frame=-1), timeout=10)))
    assert from_rpc_error(watched.value).reason == "OUT_OF_RANGE"
