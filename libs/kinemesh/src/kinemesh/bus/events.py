"""The events of a job: publishing them, and replaying them from any place at the reader's own pace."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

from google.protobuf.timestamp_pb2 import Timestamp
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from kinemesh.bus.connection import Bus
from kinemesh.bus.topology import EVENTS, event_subject
from kinemesh.event.v1 import event_pb2

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})

_BATCH = 64
_FETCH_S = 2.0
_IDLE_S = 30.0


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
    try:
        message = await bus.jetstream.get_last_msg(EVENTS, event_subject(job_id, "state"))
    except NotFoundError:
        return None
    return event_pb2.JobEvent.FromString(message.data or b"").state.state


async def replay(bus: Bus, job_id: str, after: int = 0) -> AsyncIterator[tuple[int, event_pb2.JobEvent]]:
    """Yield ``(sequence, event)`` after a sequence, past events first, then live ones, up to the job's end.

    Events are pulled, so that a slow reader delays nobody else. The reader's consumer lives in the broker's
    memory and is made anew after a restart of the broker, from where the reader was.
    """
    while True:
        config = ConsumerConfig(
            filter_subject=event_subject(job_id, "*"),
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            inactive_threshold=_IDLE_S,
            mem_storage=True,
        )
        try:
            info = await bus.jetstream.add_consumer(EVENTS, config)
            subscription = await bus.jetstream.pull_subscribe_bind(info.name, EVENTS)
        except (NatsError, TimeoutError):
            continue
        try:
            while True:
                try:
                    messages = await subscription.fetch(_BATCH, timeout=_FETCH_S)
                except TimeoutError:
                    if await last_state(bus, job_id) is None:
                        return
                    continue
                for message in messages:
                    after = message.metadata.sequence.stream
                    event = event_pb2.JobEvent.FromString(message.data)
                    yield after, event
                    if event.WhichOneof("kind") == "state" and event.state.state in TERMINAL:
                        return
        except NatsError:
            continue
        finally:
            with contextlib.suppress(NatsError, TimeoutError):
                await subscription.unsubscribe()
