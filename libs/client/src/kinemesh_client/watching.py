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
from typing import Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import CloseCode

from kinemesh.errors import Internal, InvalidArgument, NotFound, Unavailable
from kinemesh_client.resources import Job, JobEvent

_OPEN_S: Final = 5.0
_SILENCE_S: Final = 30.0  # without a ping's answer a connection is taken for dead
_PATIENCE_S: Final = 30.0  # how long a mesh may be away, as during a restart
_PAUSE_S: Final = 0.5
_POLL_S: Final = 0.5
_LARGEST_MESSAGE: Final = 32 * 1024 * 1024

GetJob = Callable[[str], Awaitable[Job]]


async def watch(url: str, job_id: str, since: int, get_job: GetJob) -> AsyncIterator[JobEvent]:
    """Events after ``since`` up to the job's last state.

    :param url: of the gateway.
    :raises NotFound: the job is unknown.
    :raises Unavailable: ``MESH_UNREACHABLE``, when the mesh stays away.
    """
    lost: float | None = None
    while True:
        try:
            async with _open(f"{url.replace('http', 'ws', 1)}/ws/jobs/{job_id}?since={since}") as socket:
                async for text in socket:
                    event = JobEvent.of(json.loads(text))
                    since, lost = max(since, event.sequence), None
                    yield event
                if socket.close_code == CloseCode.NORMAL_CLOSURE:
                    return
        except ConnectionClosed as closed:
            _raise_if_final(closed, job_id)
        except InvalidHandshake:
            async for event in _poll(job_id, since, get_job):
                yield event
            return
        except (OSError, TimeoutError):
            pass
        lost = lost or time.monotonic()
        if time.monotonic() - lost > _PATIENCE_S:
            raise Unavailable("MESH_UNREACHABLE", f"Nothing answers at {url} any more.", url=url)
        await asyncio.sleep(_PAUSE_S)


def _open(address: str) -> connect:
    return connect(
        address,
        open_timeout=_OPEN_S,
        close_timeout=1.0,
        ping_interval=_SILENCE_S / 2,
        ping_timeout=_SILENCE_S,
        max_size=_LARGEST_MESSAGE,
        max_queue=16,
        proxy=None,
    )


def _raise_if_final(closed: ConnectionClosed, job_id: str) -> None:
    """Codes from 4000 on are 4000 + an HTTP status; a slow reader and a server in need may come again."""
    code = closed.rcvd.code if closed.rcvd is not None else 1006
    reason = closed.rcvd.reason if closed.rcvd is not None else ""
    if code == 4404:
        raise NotFound(reason or "JOB_NOT_FOUND", f"There is no job {job_id}.", job_id=job_id)
    if 4400 <= code < 4500 and code not in (4408, 4429):
        raise InvalidArgument(reason or "WATCH_REFUSED", "The mesh refused to tell of this job.", job_id=job_id)
    if code == 4500:
        raise Internal(reason or "INTERNAL", "The mesh failed to tell of this job.", job_id=job_id)


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
