"""Taking messages from a durable consumer: bounded, acknowledged by hand, kept alive while worked on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from kinemesh.bus.connection import Bus
from kinemesh.bus.topology import Consumer

Handler = Callable[[Msg], Awaitable[None]]
"""Works on one message and settles it: ack, nak or term."""

_log = structlog.get_logger()
_FETCH_S = 2.0
_RETRY_S = 0.3


async def consume(bus: Bus, consumer: Consumer, handle: Handler, stop: asyncio.Event, *, slots: int = 1) -> None:
    """Let ``slots`` loops take one message at a time until ``stop`` is set; outlives restarts of the broker."""
    subscription = await bus.jetstream.pull_subscribe_bind(consumer.durable, consumer.stream)
    await asyncio.gather(*(_slot(subscription, consumer, handle, stop) for _ in range(slots)))


async def _slot(
    subscription: JetStreamContext.PullSubscription, consumer: Consumer, handle: Handler, stop: asyncio.Event
) -> None:
    while not stop.is_set():
        try:
            messages = await subscription.fetch(1, timeout=_FETCH_S)
        except TimeoutError:
            continue
        except (NatsError, OSError) as error:
            _log.warning("fetch failed", consumer=consumer.durable, error=type(error).__name__)
            await _pause(stop, _RETRY_S)
            continue
        for message in messages:
            await _handle_alive(message, consumer, handle)


async def _handle_alive(message: Msg, consumer: Consumer, handle: Handler) -> None:
    heartbeat = asyncio.create_task(_beat(message, consumer.ack_wait_s / 3))
    try:
        await handle(message)
    except Exception as error:  # noqa: BLE001
        # A handler settles what it can foresee; anything else is a defect that must not end the loop.
        _log.exception("handler failed", consumer=consumer.durable, exc_info=error)
        with contextlib.suppress(NatsError, OSError):
            await message.nak(delay=backoff(consumer, message))
    finally:
        heartbeat.cancel()
        await asyncio.gather(heartbeat, return_exceptions=True)


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
