"""The client apart from the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from kinemesh.embedded.ports import free_ports
from kinemesh.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unavailable
from kinemesh.storage import ObjectStore, Part
from kinemesh_client import Box, Job, JobEvent, KinemeshClient, PersonResult, TrackedObject
from kinemesh_client.answers import failure
from kinemesh_client.stages import StageTimes
from kinemesh_client.transfer import send
from kinemesh_client.watching import watch


def message(sequence: int, kind: str = "progress", **payload: Any) -> str:
    time = f"2026-01-01T00:00:{sequence:02d}.500Z"
    return json.dumps({"type": kind, "sequence": sequence, "job_id": "j", "time": time, "payload": payload})


@asynccontextmanager
async def websocket_server(handler: Callable[[ServerConnection], Any], **options: Any) -> AsyncIterator[str]:
    (port,) = free_ports(1)
    async with serve(handler, "127.0.0.1", port, **options):
        yield f"http://127.0.0.1:{port}"


async def no_job(_: str) -> Job:
    raise AssertionError("the job need not be asked for")


async def test_watching_resumes_behind_the_last_event_after_a_disconnect() -> None:
    asked: list[str] = []

    async def handler(socket: ServerConnection) -> None:
        assert socket.request is not None
        asked.append(socket.request.path)
        if len(asked) == 1:
            await socket.send(message(3))
            await socket.send(message(5))
            socket.transport.abort()
        elif len(asked) == 2:
            await socket.close(1001)  # the gateway restarts
        else:
            await socket.send(message(9, "state", state="SUCCEEDED"))

    async with websocket_server(handler) as url:
        events = [event async for event in watch(url, "j", 0, no_job)]
    assert [event.sequence for event in events] == [3, 5, 9]
    assert asked == ["/ws/jobs/j?since=0", "/ws/jobs/j?since=5", "/ws/jobs/j?since=5"]


async def test_watching_an_unknown_job_fails() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.close(4404, "JOB_NOT_FOUND")

    async with websocket_server(handler) as url:
        with pytest.raises(NotFound, match="There is no job j"):
            await anext(watch(url, "j", 0, no_job))


async def test_without_websockets_the_job_is_asked_for() -> None:
    states = iter(("QUEUED", "RUNNING", "RUNNING", "SUCCEEDED"))

    def refuse(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(403, "no websockets here")

    async def get_job(job_id: str) -> Job:
        state = next(states)
        return Job(job_id, "pose", state, "pose", 0.5, (), (), None, "", {"failure": None})

    async with websocket_server(ServerConnection.wait_closed, process_request=refuse) as url:
        events = [event async for event in watch(url, "j", 0, get_job)]
    assert [event.kind for event in events] == ["progress", "progress", "progress", "state"]
    assert events[-1].payload["state"] == "SUCCEEDED"


async def test_a_large_file_goes_up_in_parts(s3_store: ObjectStore, tmp_path: Path) -> None:
    path, size, part_size = tmp_path / "large", 11 * 2**20 + 17, 5 * 2**20
    data = bytes(range(256)) * (size // 256 + 1)
    path.write_bytes(data[:size])
    key = "client/large"
    upload_id = await s3_store.multipart.create(key, "video/mp4")
    urls = [s3_store.multipart.presign_part(key, upload_id, number, timedelta(minutes=5)) for number in (1, 2, 3)]
    parts = [{"part_number": number, "url": url} for number, url in enumerate(urls, 1)]
    counted: list[int] = []
    done = await send(path, {"url": None, "parts": parts, "part_size": part_size, "headers": {}}, size, counted.append)
    await s3_store.multipart.complete(key, upload_id, [Part(number, etag) for number, etag in done.items()])
    assert await s3_store.get_bytes(key) == data[:size]
    assert sum(counted) == size


async def test_a_refused_upload_takes_its_progress_back(s3_store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    url = s3_store.presign_put("client/other").replace("other", "forged")
    counted: list[int] = []
    with pytest.raises(PermissionDenied):
        await send(path, {"url": url, "parts": None, "part_size": None, "headers": {}}, 1000, counted.append)
    assert sum(counted) == 0


async def test_nothing_there_is_unavailable() -> None:
    (port,) = free_ports(1)
    async with KinemeshClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Unavailable, match="kinemesh up") as raised:
            await client.list_jobs()
    assert raised.value.reason == "MESH_UNREACHABLE"


@pytest.mark.parametrize("job_id", ["", "a/b", "..", "a?b", "a#b"])
async def test_an_id_is_checked_before_it_becomes_a_path(job_id: str) -> None:
    async with KinemeshClient("http://127.0.0.1:9") as client:
        with pytest.raises(InvalidArgument):
            await client.get_job(job_id)


def answered(status: int, **content: Any) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "http://mesh.test/"), **content)


def test_errors_keep_reason_sentence_and_metadata() -> None:
    facts = {"status": "FAILED_PRECONDITION", "reason": "JOB_FINISHED", "metadata": {"state": "SUCCEEDED"}}
    error = failure(answered(409, json={"detail": "The job is over.", "error": {**facts, "request_id": "r"}}))
    assert type(error) is FailedPrecondition
    assert (error.reason, error.message, error.metadata) == ("JOB_FINISHED", "The job is over.", {"state": "SUCCEEDED"})


@pytest.mark.parametrize(
    ("status", "kind"), [(403, PermissionDenied), (422, InvalidArgument), (418, InvalidArgument), (502, Unavailable)]
)
def test_answers_of_others_become_errors_too(status: int, kind: type[Exception]) -> None:
    error = failure(answered(status, text="<Error><Code>AccessDenied</Code></Error>"))
    assert isinstance(error, kind)
    assert error.reason == "UNEXPECTED_ANSWER"


def event(second: int, kind: str, **payload: Any) -> JobEvent:
    return JobEvent(kind, second, f"2026-01-01T00:00:{second:02d}Z", payload)


def test_frames_hold_persons_and_tracks() -> None:
    box = {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}
    track = {"track_id": 7, "box": box, "score": 0.5, "class_id": 1, "label": "tyre", "interpolated": True}
    person = {"person_id": 2, "box": box, "score": 0.9, "landmarks": [0.1, 0.2, 1.0]}
    rows = [
        {"frame_index": 4, "time_sec": 0.16, "persons": [], "tracks": [track]},
        {"frame_index": 5, "time_sec": 0.2, "persons": [person]},
    ]
    tracked, posed = event(1, "frames", camera="main", frames=rows).frames
    assert (tracked.frame_index, tracked.time_sec, tracked.persons) == (4, 0.16, ())
    assert tracked.tracks == (TrackedObject(7, Box(1.0, 2.0, 3.0, 4.0), 0.5, 1, "tyre", True),)
    assert posed.persons == (PersonResult(2, Box(1.0, 2.0, 3.0, 4.0), 0.9, (0.1, 0.2, 1.0)),)
    assert event(1, "progress", stage="track").frames == ()


def test_stages_have_fractions_and_seconds() -> None:
    times = StageTimes(("split", "pose", "render"))
    times.note(event(0, "state", state="RUNNING"))
    times.note(event(2, "progress", stage="pose", stage_progress=0.5, progress=0.3))
    times.note(event(3, "progress", stage="pose", stage_progress=0.4, progress=0.3))
    assert times.fractions == {"split": 1.0, "pose": 0.5, "render": 0.0}
    assert not times.started("render")
    times.note(event(7, "progress", stage="render", stage_progress=0.1, progress=0.9))
    times.note(event(8, "state", state="SUCCEEDED", failure=None))
    assert times.over
    assert times.seconds() == {"split": 2.0, "pose": 5.0, "render": 1.0}
    assert set(times.fractions.values()) == {1.0}
