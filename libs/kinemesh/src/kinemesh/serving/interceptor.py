"""What happens around every call: trace, request id, logs, metrics, and errors with a reason."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import structlog
from opentelemetry.trace import SpanKind

from kinemesh import errors
from kinemesh.serving.status import abort, as_error
from kinemesh.telemetry.metrics import FAILURES, RPC_SECONDS
from kinemesh.telemetry.tracing import span

REQUEST_ID = "x-request-id"
OWNER = "x-kinemesh-owner"
LOCAL_OWNER = "local"

_log = structlog.get_logger()


def caller(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Who calls: the owner that the gateway vouches for, or the machine's own user."""
    return str(dict(context.invocation_metadata() or ()).get(OWNER, LOCAL_OWNER))


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Wraps unary and streaming handlers alike."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(details)
        method: str = details.method
        if handler is None:
            return grpc.unary_unary_rpc_method_handler(_unknown_method(method))
        if handler.response_streaming:
            inner = handler.unary_stream or handler.stream_stream
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            wrapped: Any = _around_stream(method, inner)
        else:
            inner = handler.unary_unary or handler.stream_unary
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            wrapped = _around_unary(method, inner)
        return make(wrapped, handler.request_deserializer, handler.response_serializer)


def _around_unary(method: str, inner: Any) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        with _observed(method, context) as ended:
            try:
                response = await inner(request, context)
            except Exception as error:  # noqa: BLE001 - every failure leaves as a status with a reason
                await abort(context, ended(error))
            else:
                return response

    return call


def _around_stream(method: str, inner: Any) -> Any:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        with _observed(method, context) as ended:
            try:
                async for response in inner(request, context):
                    yield response
            except Exception as error:  # noqa: BLE001 - every failure leaves as a status with a reason
                await abort(context, ended(error))

    return call


def _unknown_method(method: str) -> Any:
    async def call(_request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await abort(context, errors.Unimplemented("METHOD_NOT_FOUND", f"There is no method {method}.", method=method))

    return call


@contextmanager
def _observed(
    method: str, context: grpc.aio.ServicerContext[Any, Any]
) -> Iterator[Callable[[Exception], errors.KinemeshError]]:
    metadata = {str(key): str(value) for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    request_id = metadata.get(REQUEST_ID) or uuid.uuid4().hex
    started = time.perf_counter()
    code = "OK"

    def ended(error: Exception) -> errors.KinemeshError:
        nonlocal code
        visible = as_error(error)
        code = visible.code
        FAILURES.labels(visible.reason).inc()
        if isinstance(visible, errors.Internal):
            _log.error("call failed", method=method, exc_info=error)
        else:
            _log.info("call refused", method=method, reason=visible.reason, message=visible.message)
        return visible

    with (
        structlog.contextvars.bound_contextvars(request_id=request_id),
        span(method.lstrip("/"), SpanKind.SERVER, parent=metadata),
    ):
        try:
            yield ended
        finally:
            RPC_SECONDS.labels(method, code).observe(time.perf_counter() - started)
