"""One connection to the broker: publishing with deadlines and message ids, and the topology applied."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NotFoundError

from kinemesh import errors
from kinemesh.bus.topology import CONSUMERS, streams
from kinemesh.settings import NatsSettings
from kinemesh.telemetry.metrics import BROKER_RECONNECTS, BROKER_UNCONFIRMED
from kinemesh.telemetry.tracing import trace_headers

_log = structlog.get_logger()
# A broker that is restarted refuses at once until its streams are back.
_PAUSES_S = (0.0, 0.3, 1.0, 2.0)
_RETRY_S = 0.3
_CANNOT_BE_CHANGED = 10052


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
        for attempt, pause in enumerate(_PAUSES_S):
            await asyncio.sleep(pause)
            try:
                await self.jetstream.publish(
                    subject, payload, timeout=self.timeout_s, headers={"Nats-Msg-Id": message_id, **headers}
                )
            except (NatsError, TimeoutError, OSError) as error:
                BROKER_UNCONFIRMED.inc()
                _log.warning("publish was not confirmed", subject=subject, attempt=attempt, error=type(error).__name__)
            else:
                return
        raise errors.Unavailable("BROKER_UNAVAILABLE", "The broker did not take the message in time.")

    async def notify(self, subject: str, message: Message) -> None:
        """Send a message that nobody keeps; it is lost while the broker is away."""
        try:
            await self.client.publish(subject, message.SerializeToString())
        except (NatsError, OSError) as error:
            _log.info("notification was lost", subject=subject, error=type(error).__name__)

    async def ready(self) -> bool:
        """Whether the broker and all streams of the mesh answer."""
        known = {stream.config.name for stream in await self.jetstream.streams_info()}
        return known >= {config.name for config in streams(replicas=1)}


@asynccontextmanager
async def connect(settings: NatsSettings, name: str) -> AsyncIterator[Bus]:
    """Connect, wait for JetStream, apply the topology; reconnects by itself for as long as it is open.

    Waits for a broker that is not there yet; whoever calls sets the limit.

    :raises FailedPrecondition: BROKER_TOPOLOGY, when the broker has streams of these names that cannot be changed;
        BROKER_FILE, when a file of credentials or certificates cannot be used.
    """
    client, opener = Client(), asyncio.current_task()
    said: set[str] = set()  # one line per kind of failure, until the broker is back

    async def on_error(error: Exception) -> None:
        if client.is_closed and asyncio.current_task() is not opener:
            # Python 3.11's wait_for loses a cancellation that meets a refusal: the client would try for ever.
            raise asyncio.CancelledError
        kind = type(error).__name__
        if kind not in said:
            said.add(kind)
            _log.warning("broker does not answer", url=settings.url, error=kind)

    async def on_reconnect() -> None:
        said.clear()
        BROKER_RECONNECTS.inc()
        _log.info("broker is back", url=settings.url)

    identity = identity_of(settings)
    try:
        await client.connect(
            settings.url,
            name=f"kinemesh-{name}",
            **identity,
            connect_timeout=settings.timeout_s,  # type: ignore[arg-type]
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RETRY_S,  # type: ignore[arg-type]
            ping_interval=5,
            max_outstanding_pings=2,
            error_cb=on_error,
            reconnected_cb=on_reconnect,
        )
        bus = Bus(client, client.jetstream(timeout=settings.timeout_s), settings.timeout_s)
        await _apply_topology(bus, settings.replicas)
        yield bus
    finally:
        with suppress(NatsError, OSError):  # there may be nobody left to say goodbye to
            await client.close()


def identity_of(settings: NatsSettings) -> dict[str, Any]:
    """How a client shows the broker who it is, and checks who that is: arguments of ``Client.connect``.

    :raises FailedPrecondition: BROKER_FILE, when a file of credentials or certificates cannot be used.
    """
    return {
        "user": settings.user or None,
        "password": settings.password.get_secret_value() or None,
        "user_credentials": settings.credentials_file or None,
        "tls": _tls(settings),
    }


def _tls(settings: NatsSettings) -> ssl.SSLContext | None:
    """How a broker that asks for TLS is believed; by the system's authorities if the settings name none."""
    try:
        for name in ("credentials_file", "ca_file", "cert_file", "key_file"):
            if path := getattr(settings, name):
                Path(path).read_bytes()
        if not (settings.ca_file or settings.cert_file):
            return None
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError:  # what ssl raises is one too
        said = "A file of credentials or certificates for the broker cannot be used."
        raise errors.FailedPrecondition("BROKER_FILE", said, field="KINEMESH_NATS") from None
    return context


async def _apply_topology(bus: Bus, replicas: int) -> None:
    while True:
        try:
            for config in streams(replicas):
                await _apply_stream(bus, config)
            await asyncio.gather(
                *(bus.jetstream.add_consumer(consumer.stream, consumer.config()) for consumer in CONSUMERS)
            )
        except (NatsError, TimeoutError) as error:
            if isinstance(error, APIError) and (error.code == 400 or error.err_code == _CANNOT_BE_CHANGED):
                said = f"The broker does not take our streams: {error.description}."
                raise errors.FailedPrecondition("BROKER_TOPOLOGY", said) from error
            _log.warning("JetStream is not ready", error=type(error).__name__)
            await asyncio.sleep(_RETRY_S)
        else:
            return


async def _apply_stream(bus: Bus, config: StreamConfig) -> None:
    try:
        await bus.jetstream.stream_info(str(config.name))
    except NotFoundError:
        # A twin that is just as old adds the same; that is no error.
        await bus.jetstream.add_stream(config)
    else:
        await bus.jetstream.update_stream(config)
