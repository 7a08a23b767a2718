"""A job's events over its WebSocket, whatever happens to the connection.

After a disconnect the stream is resumed behind the last event seen. Where no WebSocket can be had (a proxy that does
not know them), the job is asked for instead: then there are only its states and its progress.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import CloseCode

from kinemesh.errors import Internal, InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unavailable
from kinemesh_client.credentials import Headers
from kinemesh_client.resources import Job, JobEvent

_OPEN_S: Final = 5.0
_SILENCE_S: Final = 30.0  # without a ping's answer a connection is taken for dead
_PATIENCE_S: Final = 30.0  # how long a mesh may be away, as during a restart
_PAUSE_S: Final = 0.5
_POLL_S: Final = 0.5
_LARGEST_MESSAGE: Final = 32 * 1024 * 1024

GetJob = Callable[[str], Awaitable[Job]]


async def _no_headers() -> dict[str, str]:
    return {}


async def watch(
    url: str, job_id: str, since: int, get_job: GetJob, headers: Headers = _no_headers
) -> AsyncIterator[JobEvent]:
    """Events after ``since`` up to the job's last state.

    :param url: of the gateway.
    :raises NotFound: the job is unknown.
    :raises Unavailable: ``MESH_UNREACHABLE``, when the mesh stays away.
    """

    def path() -> str:
        return f"/ws/jobs/{job_id}?since={since}"

    try:
        async for message in resumed(url, path, f"job {job_id}", headers):
            event = JobEvent.of(message)
            since = max(since, event.sequence)
            yield event
    except InvalidHandshake:
        async for event in _poll(job_id, since, get_job):
            yield event


async def resumed(url: str, path: Callable[[], str], what: str, headers: Headers) -> AsyncIterator[Any]:
    """The JSON messages of a WebSocket up to its regular end, opened again after every disconnect.

    :param url: of the gateway.
    :param path: with its query; asked anew for each connection, so that it can name where to resume.
    :param what: is told of, with its id, for errors: ``job 4711``.
    :param headers: to open it with, such as the one that shows who calls.
    :raises InvalidHandshake: no WebSocket can be had here.
    :raises NotFound: the mesh does not know it.
    :raises Unavailable: ``MESH_UNREACHABLE``, when the mesh stays away.
    """
    lost: float | None = None
    while True:
        try:
            async with _open(url.replace("http", "ws", 1) + path(), await headers()) as socket:
                async for text in socket:
                    lost = None
                    yield json.loads(text)
                if socket.close_code == CloseCode.NORMAL_CLOSURE:
                    return
        except ConnectionClosed as closed:
            _raise_if_final(closed, what)
        except (OSError, TimeoutError):
            pass
        lost = lost or time.monotonic()
        if time.monotonic() - lost > _PATIENCE_S:
            raise Unavailable("MESH_UNREACHABLE", f"Nothing answers at {url} any more.", url=url)
        await asyncio.sleep(_PAUSE_S)


def _open(address: str, headers: dict[str, str]) -> connect:
    return connect(
        address,
        additional_headers=headers,
        open_timeout=_OPEN_S,
        close_timeout=1.0,
        ping_interval=_SILENCE_S / 2,
        ping_timeout=_SILENCE_S,
        max_size=_LARGEST_MESSAGE,
        max_queue=16,
        proxy=None,
    )


def _raise_if_final(closed: ConnectionClosed, what: str) -> None:
    """Codes from 4000 on are 4000 + an HTTP status; a slow reader and a server in need may come again."""
    code = closed.rcvd.code if closed.rcvd is not None else 1006
    reason = closed.rcvd.reason if closed.rcvd is not None else ""
    kind, _, identifier = what.partition(" ")
    named = {f"{kind}_id": identifier}
    if code == 4404:
        raise NotFound(reason or f"{kind.upper()}_NOT_FOUND", f"There is no {what}.", **named)
    if code == 4401:
        raise Unauthenticated(reason or "TOKEN_INVALID", "The mesh wants to know who asks: set KINEMESH_API_KEY.")
    if code == 4403:
        raise PermissionDenied(reason or "SCOPE_MISSING", f"The key may not ask for this {kind}.", **named)
    if 4400 <= code < 4500 and code not in (4408, 4429):
        raise InvalidArgument(reason or "WATCH_REFUSED", f"The mesh refused to tell of this {kind}.", **named)
    if code == 4500:
        raise Internal(reason or "INTERNAL", f"The mesh failed to tell of this {kind}.", **named)


async def _poll(job_id: str, since: int, get_job: GetJob) -> AsyncIterator[JobEvent]:
    seen: tuple[object, ...] = ()
    while True:
        job = await get_job(job_id)
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        current = next((row for row in job.stages if row.stage == job.stage), None)
        if (fresh := (job.state, job.stage, job.progress)) != seen:
            seen = fresh
            payload = {"stage": job.stage, "stage_progress": current.progress if current else 0.0}
            yield JobEvent("progress", since, now, {**payload, "progress": job.progress})
        if job.is_over:
            yield JobEvent("state", since, now, {"state": job.state, "failure": job.raw.get("failure")})
            return
        await asyncio.sleep(_POLL_S)
