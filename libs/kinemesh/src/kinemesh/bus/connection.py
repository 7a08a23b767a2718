"""One connection to the broker: publishing with deadlines and message ids, and the topology applied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats
import structlog
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import BadRequestError, NotFoundError

from kinemesh import errors
from kinemesh.bus.topology import CONSUMERS, streams
from kinemesh.settings import NatsSettings
from kinemesh.telemetry.tracing import trace_headers

_log = structlog.get_logger()
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Bus:
    """A live connection; use :func:`connect`."""

    client: Client
    jetstream: JetStreamContext
    timeout_s: float

    async def publish(self, subject: str, message: Message, message_id: str) -> None:
        """Put a message on its stream, within the current trace.

        :raises Unavailable: BROKER_UNAVAILABLE, when the broker did not confirm in time.
        """
        await self.publish_bytes(subject, message.SerializeToString(deterministic=True), message_id, trace_headers())

    async def publish_bytes(self, subject: str, payload: bytes, message_id: str, headers: Mapping[str, str]) -> None:
        """Put bytes on a stream; the broker drops a second message with the same id within the hour.

        :raises Unavailable: BROKER_UNAVAILABLE, when the broker did not confirm in time.
        """
        for attempt in range(_ATTEMPTS):
            try:
                await self.jetstream.publish(
                    subject, payload, timeout=self.timeout_s, headers={"Nats-Msg-Id": message_id, **headers}
                )
            except (NatsError, TimeoutError, OSError) as error:
                _log.warning("publish was not confirmed", subject=subject, attempt=attempt, error=type(error).__name__)
            else:
                return
        raise errors.Unavailable("BROKER_UNAVAILABLE", "The broker did not take the message in time.")

    async def notify(self, subject: str, message: Message) -> None:
        """Send a message that nobody keeps."""
        await self.client.publish(subject, message.SerializeToString())

    async def ready(self) -> bool:
        """Whether the broker and its streams answer."""
        await self.jetstream.account_info()
        return True


@asynccontextmanager
async def connect(settings: NatsSettings, name: str) -> AsyncIterator[Bus]:
    """Connect, wait for JetStream, apply the topology; reconnects by itself for as long as it is open."""

    async def on_error(error: Exception) -> None:
        _log.warning("broker", error=type(error).__name__)

    client = await nats.connect(
        settings.url,
        name=f"kinemesh-{name}",
        connect_timeout=settings.timeout_s,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.3,
        ping_interval=5,
        max_outstanding_pings=2,
        error_cb=on_error,
    )
    try:
        bus = Bus(client, client.jetstream(timeout=settings.timeout_s), settings.timeout_s)
        await _apply_topology(bus, settings.replicas)
        yield bus
    finally:
        await client.close()


async def _apply_topology(bus: Bus, replicas: int) -> None:
    for config in streams(replicas):
        try:
            await bus.jetstream.stream_info(str(config.name))
        except NotFoundError:
            await _tolerating_a_twin(bus.jetstream.add_stream(config))
        else:
            await bus.jetstream.update_stream(config)
    await asyncio.gather(*(bus.jetstream.add_consumer(consumer.stream, consumer.config()) for consumer in CONSUMERS))


async def _tolerating_a_twin(adding: object) -> None:
    try:
        await adding  # type: ignore[misc]
    except BadRequestError as error:
        _log.info("another process made the stream", error=str(error))
