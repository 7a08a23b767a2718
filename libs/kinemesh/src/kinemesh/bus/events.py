"""The events of a job: publishing them, and replaying them from any place at the reader's own pace."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import structlog
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from kinemesh.bus.connection import Bus
from kinemesh.bus.topology import EVENTS, event_subject
from kinemesh.errors import Unavailable
from kinemesh.event.v1 import event_pb2

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})

# News wake a reader at once; the poll is for what got lost while the broker was away. A job's first event comes a
# moment after the job itself, so that one that is not there yet is given as much.
_POLL_S = 2.0
_RETRY_S = 0.3
_NO_STREAM = 10059

_log = structlog.get_logger()


def job_event(job_id: str, **kind: object) -> event_pb2.JobEvent:
    """An event of now; ``kind`` names one field of the oneof."""
    now = Timestamp()
    now.FromNanoseconds(time.time_ns())
    return event_pb2.JobEvent(job_id=job_id, time=now, **kind)  # type: ignore[arg-type]


async def publish_event(bus: Bus, event: event_pb2.JobEvent, message_id: str) -> None:
    """Append an event to its job's history."""
    kind = event.WhichOneof("kind")
    await bus.publish(event_subject(event.job_id, str(kind)), event, message_id)


async def last_state(bus: Bus, job_id: str) -> str | None:
    """Name of the job's latest state, None when the job is unknown or deleted."""
    last = await _last_state(bus, job_id)
    return last and last[1]


async def replay(bus: Bus, job_id: str, after: int = 0) -> AsyncGenerator[tuple[int, event_pb2.JobEvent], None]:
    """Yield ``(sequence, event)`` after a sequence, past events first, then live ones, up to the job's end.

    Ends at once if the job had ended before ``after``, and after a moment if it has no events, or no longer.
    The reader asks for one event after the other: a slow one delays nobody else, and as only the reader knows
    where it is, a restart of the broker changes nothing.

    :raises Unavailable: BROKER_UNAVAILABLE, when the connection has been closed for good.
    """
    subject = event_subject(job_id, "*")
    news = asyncio.Event()

    async def on_event(_: Msg) -> None:
        news.set()

    listening = await bus.client.subscribe(subject, cb=on_event)
    waited = False
    try:
        while True:
            news.clear()
            try:
                message = await bus.jetstream.get_msg(EVENTS, seq=after + 1, subject=subject, direct=True, next=True)
            except NotFoundError:
                try:
                    last = await _last_state(bus, job_id)
                except (NatsError, TimeoutError):
                    await asyncio.sleep(_RETRY_S)
                    continue
                if (last is None and waited) or (last and last[0] <= after and last[1] in TERMINAL):
                    return
                waited = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _POLL_S)
                continue
            except (NatsError, TimeoutError, OSError) as error:
                if bus.client.is_closed:
                    raise Unavailable("BROKER_UNAVAILABLE", "The connection to the broker is closed.") from error
                await asyncio.sleep(_RETRY_S)
                continue
            waited = False
            after = int(message.seq or 0)
            try:
                event = event_pb2.JobEvent.FromString(message.data or b"")
            except DecodeError:
                _log.error("event is unreadable", job_id=job_id, sequence=after)
                continue
            yield after, event
            if event.WhichOneof("kind") == "state" and event.state.state in TERMINAL:
                return
    finally:
        with contextlib.suppress(NatsError, OSError):
            await listening.unsubscribe()


async def _last_state(bus: Bus, job_id: str) -> tuple[int, str] | None:
    try:
        message = await bus.jetstream.get_last_msg(EVENTS, event_subject(job_id, "state"))
    except NotFoundError as error:
        if error.err_code == _NO_STREAM:
            raise  # a broker that starts does not know its streams yet, which tells nothing about the job
        return None
    return int(message.seq or 0), event_pb2.JobEvent.FromString(message.data or b"").state.state
