"""Calling another service: a deadline on every call, ids and traces sent along, errors rebuilt."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Final, TypeVar

import grpc
import structlog
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind

from kinemesh.access.gate import vouching
from kinemesh.access.tls import Tls
from kinemesh.errors import KinemeshError
from kinemesh.serving.interceptor import REQUEST_ID
from kinemesh.serving.status import from_rpc_error
from kinemesh.telemetry.tracing import span, trace_headers

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

DEFAULT_TIMEOUT_S = 15.0
_LISTS: Final = ("ipv4", "ipv6")
_PAUSES_S: Final = (0.1, 0.3, 1.0)
# Reasons of failures that no server described.
_LOST: Final = "UNAVAILABLE"
_NOT_IN_TIME: Final = "DEADLINE_EXCEEDED"


def open_channel(address: str, tls: Tls | None = None, *, max_message_mb: int = 32) -> grpc.aio.Channel:
    """A channel that balances over all addresses behind a name, or over several, and keeps connections alive.

    :param address: ``host:port``, or ``ipv4:host:port,host:port,…``; with TLS, the certificates of all of these hold
        the first one's address.
    :param tls: None calls in the clear.
    """
    size = max_message_mb * 1024 * 1024
    options = [
        ("grpc.max_receive_message_length", size),
        ("grpc.max_send_message_length", size),
        ("grpc.lb_policy_name", "round_robin"),
        ("grpc.enable_retries", 1),
        # Or a new channel would wait out what another of this process met at the same address before.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    scheme, _, several = address.partition(":")
    if scheme in _LISTS:
        # Or the whole list would be the name that certificates have to hold.
        options.append(("grpc.default_authority", several.partition(",")[0].rpartition(":")[0]))
    if tls is not None:
        return grpc.aio.secure_channel(address, tls.channel(), options=options)
    return grpc.aio.insecure_channel(address, options=options)


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    owner: str = "",
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Response:
    """Call a unary method. While the service restarts, the call waits for it, up to the deadline.

    A call whose connection breaks, as when a replica is killed, is made again, of another replica if there is one. That
    is safe: calls either change nothing, or carry a ``request_id`` by which a service knows what it has done before.
    Those that change something and have none get one here.

    :param owner: in whose name; where there is a secret, that of the caller for whom the present work is done.
    :raises kinemesh.errors.KinemeshError: the error that the server described.
    """
    deadline = time.monotonic() + timeout_s
    request = _repeatable(request)
    lost: KinemeshError | None = None
    with span("call " + type(request).DESCRIPTOR.full_name, SpanKind.CLIENT):
        for pause in (*_PAUSES_S, None):
            try:
                left = deadline - time.monotonic()
                return await method(request, timeout=left, metadata=_metadata(owner), wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                if lost is not None and failure.reason == _NOT_IN_TIME:
                    raise lost from None
                if pause is None or failure.reason != _LOST or deadline - time.monotonic() <= pause:
                    raise failure from None
                lost = failure
            await asyncio.sleep(pause)
    raise AssertionError("the last try ends the loop")


async def stream(
    method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
    request: Request,
    *,
    owner: str = "",
    timeout_s: float,
) -> AsyncIterator[Response]:
    """Call a method that answers with a stream.

    :raises kinemesh.errors.KinemeshError: the error that the server described.
    """
    responses = method(request, timeout=timeout_s, metadata=_metadata(owner), wait_for_ready=True)
    try:
        async for response in responses:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        responses.cancel()


def _repeatable(request: Request) -> Request:
    """The request, with an id of its own if it can have one and has none."""
    if "request_id" not in type(request).DESCRIPTOR.fields_by_name:
        return request
    named = type(request)(request_id=uuid.uuid4().hex)
    named.MergeFrom(request)
    return named


def _metadata(owner: str) -> tuple[tuple[str, str], ...]:
    headers = trace_headers()
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        headers[REQUEST_ID] = str(request_id)
    if owner:
        headers |= vouching(owner)
    return tuple(headers.items())
