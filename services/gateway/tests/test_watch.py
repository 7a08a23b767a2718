"""A job's messages over WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh_gateway.rest import watch

from .test_processing_tasks import state, tell


def frames(*indices: int, camera: str = "main") -> event_pb2.FramesReady:
    person = event_pb2.PersonResult(
        person_id=1, box=common_pb2.Box(x1=1, y1=2, x2=3, y2=4), score=0.9, landmarks=[0.5] * 99
    )
    return event_pb2.FramesReady(
        camera=camera,
        frames=[event_pb2.FrameResult(frame_index=i, time_sec=i / 25, persons=[person]) for i in indices],
    )


HISTORY: tuple[dict[str, Any], ...] = (
    state("QUEUED"),
    state("RUNNING"),
    {"log": event_pb2.Logged(level="INFO", text="begun")},
    {"progress": event_pb2.Progressed(stage="pose", stage_progress=0.5, progress=0.25)},
    {"frames": frames(0, 1, 2)},
    {"frames": frames(1, 2, 3)},
    {"frames": frames(2, 3)},
    {"frames": frames(0, camera="c2")},
)


async def listen(
    gateway: Any, job_id: str, query: str = "", most: int = 10_000
) -> tuple[list[dict[str, Any]], int, str]:
    """Messages until the end or ``most`` of them, the close code, and its reason."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/jobs/{job_id}{query}") as socket:
        try:
            while len(messages) < most:
                messages.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            pass
        return messages, socket.close_code or 0, socket.close_reason or ""


async def test_a_late_client_gets_everything_in_order(gateway: Any) -> None:
    job_id = await gateway.job()
    await tell(gateway, job_id, *HISTORY, state("SUCCEEDED"))
    messages, code, _ = await listen(gateway, job_id)
    assert code == 1000
    assert [message["type"] for message in messages] == [
        "state", "state", "log", "progress", "frames", "frames", "frames", "state",
    ]  # fmt: skip
    assert set(messages[0]) == {"type", "sequence", "job_id", "time", "payload"}
    assert {message["job_id"] for message in messages} == {job_id}
    sequences = [message["sequence"] for message in messages]
    assert sequences == sorted(set(sequences))
    shown = [
        (message["payload"]["camera"], frame["frame_index"])
        for message in messages
        if message["type"] == "frames"
        for frame in message["payload"]["frames"]
    ]
    assert shown == [("main", 0), ("main", 1), ("main", 2), ("main", 3), ("c2", 0)]
    assert messages[2]["payload"] == {"level": "INFO", "text": "begun"}
    assert messages[3]["payload"] == {"stage": "pose", "stage_progress": 0.5, "progress": 0.25}
    person = messages[4]["payload"]["frames"][0]["persons"][0]
    assert person["box"] == {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}
    assert len(person["landmarks"]) == 99
    assert messages[4]["payload"]["frames"][0]["tracks"] == []
    assert messages[-1]["payload"] == {"state": "SUCCEEDED", "failure": None}


async def test_boxes_that_are_followed_come_with_their_frames(gateway: Any) -> None:
    job_id = await gateway.job()
    track = tracking_pb2.TrackedObject(
        track_id=7, box=common_pb2.Box(x1=1.234, y1=2, x2=3, y2=4), score=0.91, class_id=2, label="car"
    )
    ready = event_pb2.FramesReady(
        camera="main",
        frames=[event_pb2.FrameResult(frame_index=0, tracks=[track]), event_pb2.FrameResult(frame_index=1)],
    )
    await tell(gateway, job_id, {"frames": ready}, state("SUCCEEDED"))
    messages, _, _ = await listen(gateway, job_id)
    seen = {
        "track_id": 7,
        "box": {"x1": 1.23, "y1": 2.0, "x2": 3.0, "y2": 4.0},
        "score": 0.91,
        "class_id": 2,
        "label": "car",
        "interpolated": False,
    }
    assert messages[0]["payload"]["frames"] == [
        {"frame_index": 0, "time_sec": 0.0, "persons": [], "tracks": [seen]},
        {"frame_index": 1, "time_sec": 0.0, "persons": [], "tracks": []},
    ]


async def test_a_client_that_comes_back_goes_on_where_it_was(gateway: Any) -> None:
    job_id = await gateway.job()
    await tell(gateway, job_id, *HISTORY, state("SUCCEEDED"))
    whole, _, _ = await listen(gateway, job_id)
    for seen in range(len(whole) + 1):
        since = whole[seen - 1]["sequence"] if seen else 0
        rest, code, _ = await listen(gateway, job_id, f"?since={since}")
        assert (rest, code) == (whole[seen:], 1000)


async def test_frames_that_were_seen_do_not_come_again_after_coming_back(gateway: Any) -> None:
    job_id = await gateway.job()
    await tell(gateway, job_id, {"frames": frames(0, 1, 2)}, {"frames": frames(1, 2, 3)}, state("FAILED"))
    first, _, _ = await listen(gateway, job_id, most=1)
    rest, _, _ = await listen(gateway, job_id, f"?since={first[0]['sequence']}")
    assert [frame["frame_index"] for frame in rest[0]["payload"]["frames"]] == [3]


async def test_a_client_that_waits_gets_messages_as_they_come(gateway: Any) -> None:
    job_id = await gateway.job()
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/jobs/{job_id}") as socket:
        for kind in (*HISTORY[:4], state("CANCELLED")):
            await tell(gateway, job_id, kind)
            assert json.loads(await socket.recv())["type"] == next(iter(kind))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000


async def test_a_failure_says_why(gateway: Any) -> None:
    job_id = await gateway.job()
    failure = common_pb2.Failure(reason="NO_PERSON", message="Nobody was seen.", code="FAILED_PRECONDITION")
    await tell(gateway, job_id, {"state": event_pb2.StateChanged(state="FAILED", failure=failure)})
    messages, _, _ = await listen(gateway, job_id)
    assert messages[-1]["payload"]["failure"]["reason"] == "NO_PERSON"


async def test_a_job_whose_history_is_gone_still_tells_its_state(gateway: Any) -> None:
    job_id = await gateway.job()
    gateway.catalogue.jobs[job_id].state = job_pb2.JOB_STATE_CANCELLED
    messages, code, reason = await listen(gateway, job_id)
    assert ([message["payload"] for message in messages], code, reason) == (
        [{"state": "CANCELLED", "failure": None}],
        1000,
        "",
    )


async def test_a_job_that_is_deleted_meanwhile(gateway: Any) -> None:
    job_id = await gateway.job()
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/jobs/{job_id}") as socket:
        del gateway.catalogue.jobs[job_id]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4404, "JOB_NOT_FOUND")


async def test_jobs_that_are_unknown_or_not_yours(gateway: Any) -> None:
    assert await listen(gateway, "nothing") == ([], 4404, "JOB_NOT_FOUND")
    job_id = await gateway.job()
    async with connect(f"{gateway.ws}/ws/jobs/{job_id}", additional_headers={"X-Kinemesh-Owner": "other"}) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4404


@pytest.mark.parametrize("query", ["?since=-1", "?since=x", "?since=", "?since=9999999999999999999999"])
async def test_places_that_make_no_sense(gateway: Any, query: str) -> None:
    assert await listen(gateway, await gateway.job(), query) == ([], 4400, "FIELD_INVALID")


async def test_wildcards_are_no_ids(gateway: Any) -> None:
    assert (await listen(gateway, "%3E"))[1:] == (4400, "INVALID_ID")
    assert (await listen(gateway, "*"))[1:] == (4400, "INVALID_ID")


async def test_pages_of_other_origins_may_not_listen(gateway: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{gateway.ws}/ws/jobs/x", origin="http://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403


async def test_a_client_outlives_a_restart_of_the_broker(gateway: Any, nats_server: Any) -> None:
    job_id = await gateway.job()
    async with asyncio.timeout(300), connect(f"{gateway.ws}/ws/jobs/{job_id}") as socket:
        await tell(gateway, job_id, *HISTORY[:3])
        before = [json.loads(await socket.recv())["sequence"] for _ in range(3)]
        await nats_server.process.kill()
        await nats_server.process.restart()
        await tell(gateway, job_id, HISTORY[3], state("SUCCEEDED"))
        after = [json.loads(await socket.recv()) for _ in range(2)]
        assert [message["type"] for message in after] == ["progress", "state"]
        assert after[0]["sequence"] > before[-1]


async def test_a_slow_client_delays_nobody_and_is_let_go(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: asyncio.Queue[int] = asyncio.Queue()
    ending = watch._ending

    def noted(sending: asyncio.Task[None]) -> tuple[int, str]:
        code, reason = ending(sending)
        ended.put_nowait(code)
        return code, reason

    monkeypatch.setattr(watch, "_ending", noted)
    job_id = await gateway.job()
    count = 1200  # some 18 MB as JSON: more than all the buffers on the way hold
    await tell(gateway, job_id, *({"frames": frames(*range(30 * n, 30 * n + 30))} for n in range(count)))
    await tell(gateway, job_id, state("SUCCEEDED"))
    url = f"{gateway.ws}/ws/jobs/{job_id}"
    async with asyncio.timeout(300), connect(url, max_queue=1, ping_interval=None) as slow:
        messages, code, _ = await listen(gateway, job_id)
        assert (code, len(messages)) == (1000, count + 1)
        assert {await ended.get(), await ended.get()} == {1000, watch.TOO_SLOW}
        # What had been sent before is still there to be read.
        received = [message async for message in _rest(slow)]
    assert len(received) < count


async def _rest(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await socket.recv()
