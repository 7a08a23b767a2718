"""What happens around every call: trace, request id, logs, metrics, and errors with a reason."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf.message import DecodeError
from opentelemetry.trace import SpanKind

from kinemesh import errors
from kinemesh.access import audit
from kinemesh.access.gate import OPEN, Gate, acting_as, current
from kinemesh.access.identity import Identity
from kinemesh.serving.status import abort, as_error
from kinemesh.serving.texts import check_texts
from kinemesh.telemetry.metrics import FAILURES, RPC_SECONDS
from kinemesh.telemetry.tracing import span

REQUEST_ID = "x-request-id"

_log = structlog.get_logger()


def caller(_context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The owner who calls, as the gate has found out."""
    return current().owner


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps unary and streaming handlers alike.

    :param gate: settles who calls and whether they may.
    """

    def __init__(self, gate: Gate = OPEN) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(details)
        method: str = details.method
        if handler is None:
            # Two streams, because that fits a call of any kind: it ends without waiting for a request.
            return grpc.stream_stream_rpc_method_handler(_unknown_method(method))
        read = _reader(handler)
        if handler.response_streaming:
            wrapped: Any = _around_stream(self._gate, method, handler.unary_stream or handler.stream_stream, read)
        else:
            wrapped = _around_unary(self._gate, method, handler.unary_unary or handler.stream_unary, read)
        make = _MAKE[handler.request_streaming, handler.response_streaming]
        wrapping: grpc.RpcMethodHandler[Any, Any] = make(wrapped, None, handler.response_serializer)
        return wrapping


_MAKE: dict[tuple[bool, bool], Any] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _reader(handler: Any) -> Callable[[Any], Any]:
    """Parses what comes in here and not in gRPC, which would answer bytes that are no message without a reason."""

    def parse(data: bytes) -> Any:
        try:
            request = handler.request_deserializer(data)
        except DecodeError:
            raise errors.InvalidArgument("MALFORMED_REQUEST", "The request is not a message of its type.") from None
        check_texts(request)
        return request

    async def parse_each(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            yield parse(data)

    return parse_each if handler.request_streaming else parse


def _around_unary(gate: Gate, method: str, inner: Any, read: Callable[[Any], Any]) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        with _observed(method, context) as current_call:
            try:
                with _admitted(gate, current_call, context):
                    asked = current_call.saw(read(request))
                    return current_call.saw(await inner(asked, context))
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - every failure leaves as a status with a reason
                await abort(context, current_call.ended(error))

    return call


def _around_stream(gate: Gate, method: str, inner: Any, read: Callable[[Any], Any]) -> Any:
    # It writes instead of yielding: a generator that gRPC abandons would be closed some time later, in another
    # task, and until then the servicer's would hold on to what it has.
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        with _observed(method, context) as current_call:
            try:
                with _admitted(gate, current_call, context):
                    asked = current_call.saw(read(request))
                    async with aclosing(inner(asked, context)) as responses:
                        async for response in responses:
                            await context.write(response)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - every failure leaves as a status with a reason
                await abort(context, current_call.ended(error))

    return call


def _unknown_method(method: str) -> Any:
    async def call(_requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await abort(context, errors.Unimplemented("METHOD_NOT_FOUND", "There is no such method.", method=method))

    return call


@dataclass(slots=True)
class _Call:
    """What is known of a call by its end."""

    method: str
    identity: Identity | None = None
    messages: list[Any] = field(default_factory=list)
    code: str = "OK"
    reason: str = "OK"

    def saw(self, message: Any) -> Any:
        """Remember a message until the end, for the ids that it names."""
        self.messages.append(message)
        return message

    def ended(self, error: Exception) -> errors.KinemeshError:
        """Note how it failed; answers with what the caller may see of it."""
        visible = as_error(error)
        self.code, self.reason = visible.code, visible.reason
        FAILURES.labels(visible.reason).inc()
        if isinstance(visible, errors.Internal):
            _log.error("call failed", method=self.method, exc_info=error)
        else:
            _log.info("call refused", method=self.method, reason=visible.reason, message=visible.message)
        return visible


@contextmanager
def _admitted(gate: Gate, current_call: _Call, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[None]:
    """Refuse whoever may not call; what a public method does is done in nobody's name."""
    identity = current_call.identity = gate.identify(current_call.method, _texts(context))
    if identity is None:
        yield
        return
    gate.permit(current_call.method, identity)
    with acting_as(identity, gate.tokens):
        yield


def _address(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Where a call comes from: ``127.0.0.1`` of ``ipv4:127.0.0.1:4711``."""
    peer: str = unquote(context.peer() or "")
    return peer.partition(":")[2].rpartition(":")[0].strip("[]")


def _texts(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or () if isinstance(value, str)}


@contextmanager
def _observed(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[_Call]:
    metadata = _texts(context)
    request_id = metadata.get(REQUEST_ID) or uuid.uuid4().hex
    started = time.perf_counter()
    current_call = _Call(method)
    with (
        structlog.contextvars.bound_contextvars(request_id=request_id),
        span(method.lstrip("/"), SpanKind.SERVER, parent=metadata),
    ):
        try:
            yield current_call
        except asyncio.CancelledError:
            current_call.code = current_call.reason = "CANCELLED"
            raise
        finally:
            RPC_SECONDS.labels(method, current_call.code).observe(time.perf_counter() - started)
            if audit.is_worth_noting(method, current_call.reason):
                ids = audit.ids_of(*current_call.messages)
                audit.note(method, current_call.reason, current_call.identity, _address(context), ids)
