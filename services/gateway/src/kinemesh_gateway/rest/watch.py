"""``WS /ws/jobs/{job_id}``, and what WebSockets have in common."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, WebSocket
from starlette.websockets import WebSocketDisconnect

from kinemesh.errors import InvalidArgument, KinemeshError
from kinemesh.serving.status import as_error
from kinemesh.storage.keys import component
from kinemesh_gateway.metrics import WEBSOCKET_BEHIND_SECONDS, WEBSOCKET_CLIENTS, WEBSOCKET_CLOSED
from kinemesh_gateway.rest.context import caller_of
from kinemesh_gateway.worker import job_messages

router = APIRouter()

TOO_SLOW = 4408
_LEFT = 1001
_KIND = "jobs"

_log = structlog.get_logger()


@router.websocket("/ws/jobs/{job_id}")
async def watch_job(
    websocket: WebSocket,
    job_id: str,
    since: Annotated[str, Query(description="only messages after the one of this `sequence`")] = "0",
) -> None:
    """Send a job's messages, from the first or after ``?since=SEQUENCE``, and close with 1000 after the last.

    An error closes with 4000 + its HTTP status, and its reason; a client that reads too slowly with 4408.
    """
    await serve(websocket, _send(websocket, job_id, since), _KIND)


async def serve(websocket: WebSocket, messages: Coroutine[Any, Any, None], kind: str) -> None:
    """Accept a WebSocket, let ``messages`` send until they end or the client leaves, and say how it ended.

    :param kind: what is watched, for metrics.
    """
    try:
        await websocket.accept()
    except BaseException:
        messages.close()
        raise
    sending = asyncio.create_task(messages)
    leaving = asyncio.create_task(_gone(websocket))
    code = _LEFT
    WEBSOCKET_CLIENTS.labels(kind).inc()
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            return
        code, reason = _ending(sending)
        # A client that does not read may not even take the closing.
        with suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            async with asyncio.timeout(1):
                await websocket.close(code, reason)
    finally:
        WEBSOCKET_CLIENTS.labels(kind).dec()
        WEBSOCKET_CLOSED.labels(kind, str(code)).inc()
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send(websocket: WebSocket, job_id: str, since: str) -> None:
    call = caller_of(websocket)
    settings = call.mesh.settings
    watcher = Watcher(_KIND)
    messages = job_messages(
        call.mesh.upstreams.jobs,
        call.mesh.bus,
        component(job_id, "job_id"),
        call.owner,
        number_of(since, "since"),
        timeout_s=settings.upstreams.timeout_s,
    )
    async with aclosing(messages):  # type: ignore[type-var]
        async for message in messages:
            text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
            try:
                async with asyncio.timeout(settings.http.websocket_send_s):
                    await websocket.send_text(text)
            except TimeoutError:
                raise TooSlow from None
            watcher.told(datetime.fromisoformat(message["time"]).timestamp())


class Watcher:
    """Measures how late a client learns what happens while it is connected; what happened before is history.

    :param kind: what is watched, for metrics.
    """

    def __init__(self, kind: str) -> None:
        self._connected_s = time.time()
        self._behind = WEBSOCKET_BEHIND_SECONDS.labels(kind)

    def told(self, told_s: float) -> None:
        """The client has been sent what was told at ``told_s``, in seconds since 1970."""
        if told_s >= self._connected_s:
            self._behind.observe(max(0.0, time.time() - told_s))


class TooSlow(Exception):
    """A client did not read for too long."""


async def _gone(websocket: WebSocket) -> None:
    """Return when the client has left; what it sends is not looked at."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def number_of(text: str, name: str) -> int:
    """A whole number in the query, checked here: the framework would refuse a WebSocket without a reason.

    :raises InvalidArgument: ``FIELD_INVALID``.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InvalidArgument("FIELD_INVALID", f"{name} must be a whole number that a message had.", field=name)
    return int(text)


def _ending(sending: asyncio.Task[None]) -> tuple[int, str]:
    error = sending.exception()
    if error is None:
        return 1000, ""
    if isinstance(error, TooSlow):
        return TOO_SLOW, "TOO_SLOW"
    if isinstance(error, WebSocketDisconnect):
        return 1001, ""
    visible = as_error(error)
    if not isinstance(error, KinemeshError):
        _log.error("websocket failed", exc_info=error)
    return 4000 + visible.http_status, visible.reason
