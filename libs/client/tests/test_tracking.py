"""Watching people across cameras, against a WebSocket that breaks off and comes back."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from kinemesh.errors import NotFound
from kinemesh_client import KinemeshClient
from kinemesh_client.cli.watch import line_of
from kinemesh_client.testing import PROGRAM, environment, one_object
from kinemesh_client.tracking import TaskStatus, TrackingUpdate

PERSON = "0c9d7f5e-0000-4000-8000-000000000001"


def status(name: str, progress: float = 0.5) -> dict[str, Any]:
    payload = {"task_id": "t", "status": name, "progress": progress, "current_step": "Working", "details": "Why."}
    return {"type": "status_update", "payload": payload}


def step(number: int, global_id: str | None = PERSON) -> dict[str, Any]:
    track = {
        "track_id": 5,
        "global_id": global_id,
        "bbox_xyxy": [110.2, 220.5, 160.0, 330.8],
        "confidence": 0.92,
        "class_id": 1,
        "map_coords": [12.3, 45.6],
    }
    hidden = {**track, "track_id": 9, "map_coords": None}
    payload = {
        "frame_index": number,
        "global_frame_index": number,
        "scene_id": "factory",
        "timestamp_processed_utc": "2023-10-27T10:30:05.456Z",
        "cameras": {
            "c12": {"image_source": "000001.jpg", "tracks": [hidden]},
            "c09": {"image_source": "000001.jpg", "tracks": [track]},
        },
    }
    return {"type": "tracking_update", "payload": payload}


@asynccontextmanager
async def gateway(handler: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        (socket,) = server.sockets
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"


class BreaksOff:
    """Sends some messages and breaks off; sends the last of them again with the rest when it is asked again."""

    def __init__(self, ending: str = "COMPLETED") -> None:
        self.asked: list[str] = []
        self.ending = ending

    async def __call__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.asked.append(socket.request.path)
        if len(self.asked) == 1:
            for message in (status("PROCESSING"), status("PROCESSING", 0.501), step(0), step(1), step(2)):
                await socket.send(json.dumps(message))
            await socket.close(1001)
            return
        for message in (status("PROCESSING"), step(2), step(3), status(self.ending, 1.0)):
            await socket.send(json.dumps(message))


async def watched(url: str, since: int = 0) -> list[TaskStatus | TrackingUpdate]:
    async with KinemeshClient(url) as client:
        return [message async for message in client.tracking.watch("t", since)]


async def test_every_step_comes_once_and_in_order_over_a_disconnect() -> None:
    handler = BreaksOff()
    async with gateway(handler) as url:
        messages = await watched(url)
    assert handler.asked == ["/ws/tracking/t?since_frame=0", "/ws/tracking/t?since_frame=3"]
    assert [m.global_frame_index for m in messages if isinstance(m, TrackingUpdate)] == [0, 1, 2, 3]
    assert [m.status for m in messages if isinstance(m, TaskStatus)] == ["PROCESSING", *["PROCESSING"] * 2, "COMPLETED"]
    update = messages[2]
    assert isinstance(update, TrackingUpdate)
    (track,) = update.cameras["c09"]
    assert (track.global_id, track.position, track.box.corners) == (PERSON, (12.3, 45.6), (110.2, 220.5, 160.0, 330.8))
    assert update.cameras["c12"][0].position is None


async def test_watching_from_a_step_leaves_out_those_before() -> None:
    async with gateway(BreaksOff()) as url:
        messages = await watched(url, 2)
    assert [m.global_frame_index for m in messages if isinstance(m, TrackingUpdate)] == [2, 3]


async def test_an_unknown_task_is_not_found() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.close(4404, "TASK_NOT_FOUND")

    async with gateway(handler) as url:
        with pytest.raises(NotFound, match="There is no task t") as raised:
            await watched(url)
    assert (raised.value.reason, raised.value.metadata) == ("TASK_NOT_FOUND", {"task_id": "t"})


async def test_without_websockets_the_task_is_asked_for() -> None:
    names = iter(("QUEUED", "PROCESSING", "PROCESSING", "COMPLETED"))

    def answer(connection: ServerConnection, request: Request) -> Response:
        if not request.path.startswith("/api/"):
            return connection.respond(403, "no websockets here")
        return connection.respond(200, json.dumps(status(next(names))["payload"]))

    async with gateway(ServerConnection.wait_closed, process_request=answer) as url:
        messages = await watched(url)
    assert [m.status for m in messages if isinstance(m, TaskStatus)] == ["QUEUED", "PROCESSING", "COMPLETED"]


async def watch_command(url: str, *more: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "watch", "t", f"--url={url}", *more,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    out, error = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), error.decode()


async def test_the_command_prints_a_line_per_message() -> None:
    async with gateway(BreaksOff()) as url:
        code, out, error = await watch_command(url)
    assert code == 0, error
    assert [line.split()[0] for line in out.splitlines()] == ["PROCESSING", *["frame"] * 4, "COMPLETED"]
    assert "frame      0  c09: 0c9d7f5e (12.3, 45.6)  |  c12: 0c9d7f5e" in out


async def test_for_programs_it_prints_the_messages_as_they_come() -> None:
    async with gateway(BreaksOff()) as url:
        code, out, error = await watch_command(url, "--json", "--since-frame=1")
    assert code == 0, error
    nearer = status("PROCESSING", 0.501)
    expected = [status("PROCESSING"), nearer, step(1), step(2), status("PROCESSING"), step(3), status("COMPLETED", 1.0)]
    assert [one_object(line) for line in out.splitlines()] == expected


@pytest.mark.parametrize(("ending", "code"), [("FAILED", 3), ("CANCELLED", 130)])
async def test_how_the_task_ends_is_what_it_exits_with(ending: str, code: int) -> None:
    async with gateway(BreaksOff(ending)) as url:
        exited, _, error = await watch_command(url)
    assert exited == code
    assert f"{ending} Why." in error


async def test_the_map_shows_the_last_step_without_a_terminal() -> None:
    def no_site(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(404, "") if request.path.startswith("/api/") else None

    async with gateway(BreaksOff(), process_request=no_site) as url:
        code, out, error = await watch_command(url, "--map")
    assert code == 0, error
    assert "COMPLETED" in out
    assert "frame 3" in out
    assert "A  0c9d7f5e" in out
    assert "Traceback" not in error


def test_people_without_a_global_id_are_named_by_their_track() -> None:
    assert "c09: #5 (12.3, 45.6)" in line_of(TrackingUpdate.of(step(0, None)["payload"]))
