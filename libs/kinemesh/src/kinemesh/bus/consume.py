"""Taking messages from a durable consumer: bounded, acknowledged by hand, kept alive while worked on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from kinemesh.bus.connection import Bus
from kinemesh.bus.topology import Consumer, dead_letter_subject
from kinemesh.errors import Unavailable

Handler = Callable[[Msg], Awaitable[None]]
"""Works on one message and settles it: ack, nak or term. One that cannot parse it lets the DecodeError pass."""

_log = structlog.get_logger()
_FETCH_S = 2.0
_RETRY_S = 0.3


async def consume(bus: Bus, consumer: Consumer, handle: Handler, stop: asyncio.Event, *, slots: int = 1) -> None:
    """Let ``slots`` loops take one message at a time until ``stop`` is set; outlives restarts of the broker.

    A message that cannot be parsed is put among the dead letters, under the consumer's name.

    :raises Unavailable: BROKER_UNAVAILABLE, when the connection has been closed for good.
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(slots):
            group.create_task(_slot(bus, consumer, handle, stop))


async def _slot(bus: Bus, consumer: Consumer, handle: Handler, stop: asyncio.Event) -> None:
    # A subscription for each slot: two that wait at one take each other's answers, and then more is delivered
    # than is worked on.
    subscription = await bus.jetstream.pull_subscribe_bind(consumer.durable, consumer.stream)
    try:
        while not stop.is_set():
            try:
                message = await _next(subscription, stop)
            except (NatsError, OSError) as error:
                if bus.client.is_closed:
                    raise Unavailable("BROKER_UNAVAILABLE", "The connection to the broker is closed.") from error
                _log.warning("fetch failed", consumer=consumer.durable, error=type(error).__name__)
                await _pause(stop, _RETRY_S)
                continue
            if message is not None:
                await _handle_alive(bus, message, consumer, handle)
    finally:
        with contextlib.suppress(NatsError, OSError):
            await subscription.unsubscribe()


async def _next(subscription: JetStreamContext.PullSubscription, stop: asyncio.Event) -> Msg | None:
    """The next message; None when there was none for a while, or when ``stop`` was set while waiting."""
    fetching = asyncio.ensure_future(subscription.fetch(1, timeout=_FETCH_S))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((fetching, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            return fetching.result()[0]
    except TimeoutError:
        return None
    finally:
        stopping.cancel()
        fetching.cancel()
        await asyncio.wait((fetching,))
    # Whatever came too late goes back at once, instead of waiting for nobody.
    late = [] if fetching.cancelled() or fetching.exception() else fetching.result()
    if not late and subscription.pending_msgs:
        late = await subscription.fetch(1, timeout=_RETRY_S)
    for message in late:
        await message.nak()
    return None


async def _handle_alive(bus: Bus, message: Msg, consumer: Consumer, handle: Handler) -> None:
    heartbeat = asyncio.create_task(_beat(message, consumer.ack_wait_s / 3))
    try:
        try:
            await handle(message)
        except DecodeError:
            await _bury_unreadable(bus, message, consumer)
    except Exception as error:  # noqa: BLE001
        # A handler settles what it can foresee; anything else is a defect that must not end the loop.
        _log.error("handler failed", consumer=consumer.durable, exc_info=error)
        with contextlib.suppress(NatsError, OSError):
            await message.nak(delay=backoff(consumer, message))
    finally:
        heartbeat.cancel()
        await asyncio.gather(heartbeat, return_exceptions=True)


async def _bury_unreadable(bus: Bus, message: Msg, consumer: Consumer) -> None:
    """It would be unreadable at the next delivery too, and tell nobody whose it was."""
    sequence = message.metadata.sequence.stream
    _log.error("message is unreadable", consumer=consumer.durable, sequence=sequence)
    subject = dead_letter_subject(consumer.durable)
    await bus.publish_bytes(subject, message.data, f"{consumer.stream}.{sequence}.dead", message.headers or {})
    await message.term()


async def _beat(message: Msg, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        with contextlib.suppress(NatsError, OSError):
            await message.in_progress()


def backoff(consumer: Consumer, message: Msg) -> float:
    """Seconds to wait before the message's next delivery."""
    return consumer.backoff_s[min(message.metadata.num_delivered, len(consumer.backoff_s)) - 1]


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
