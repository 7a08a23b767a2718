"""Every call, of any kind, ends with an answer or with a reason."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from opentelemetry import trace

from kinemesh import errors
from kinemesh.access.identity import LOCAL_OWNER
from kinemesh.embedded.ports import free_ports
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.channel import call, open_channel, stream
from kinemesh.serving.health import HealthServicer
from kinemesh.serving.interceptor import caller
from kinemesh.settings import TracingSettings
from kinemesh.telemetry.metrics import RPC_SECONDS
from kinemesh.telemetry.tracing import configure_tracing, span
from kinemesh.testing.requests import nothing_until

KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class Toy:
    """What each request asks for: an error, a flood, to wait, or to tell what the handler knows."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()

    async def answer(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        try:
            match request.value:
                case "refuse":
                    raise errors.NotFound("JOB_NOT_FOUND", "There is no such job – really.", job_id="j1")
                case "defect":
                    raise ValueError("password=hunter2")
                case "stranger":
                    await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
                case "wait":
                    self.entered.set()
                    await asyncio.Event().wait()
                case "flood":
                    while True:
                        self.entered.set()
                        yield StringValue(value="x" * 1_000_000)
                case "who":
                    request_id = structlog.contextvars.get_contextvars()["request_id"]
                    trace_id = trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)
                    yield StringValue(value=f"{caller(context)} {request_id} {trace_id}")
                case value:
                    yield StringValue(value=value)
        finally:
            self.left.set()

    async def unary_unary(self, request: StringValue, context: Any) -> StringValue:
        async with aclosing(self.answer(request, context)) as answers:  # type: ignore[type-var]
            return await anext(answers)

    async def unary_stream(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        async with aclosing(self.answer(request, context)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def stream_unary(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        return await self.unary_unary([request async for request in requests][-1], context)

    async def stream_stream(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            async with aclosing(self.answer(request, context)) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    yield answer


def handlers(toy: Toy) -> grpc.GenericRpcHandler[Any, Any]:
    methods = {
        kind: getattr(grpc, f"{kind}_rpc_method_handler")(
            getattr(toy, kind), StringValue.FromString, StringValue.SerializeToString
        )
        for kind in KINDS
    }
    return grpc.method_handlers_generic_handler("test.Toy", methods)


async def ask(
    channel: grpc.aio.Channel,
    kind: str,
    *values: str,
    path: str = "",
    timeout_s: float = 10,
    requests: AsyncIterator[Any] | None = None,
) -> list[str]:
    """Call a method of any kind; a stream with other ``requests`` than those of the values, if there are any."""
    method = getattr(channel, kind)(
        path or f"/test.Toy/{kind}",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )
    sent = [StringValue(value=value) for value in values]
    answer = method((requests or iter(sent)) if kind.startswith("stream") else sent[0], timeout=timeout_s)
    if kind.endswith("_unary"):
        return [(await answer).value]
    return [one.value async for one in answer]


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    assert status.code == error.code().value[0]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_passes(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    values = ["a", "b", "c"] if kind.startswith("stream") else ["c"]
    assert await ask(channel, kind, *values) == (values if kind == "stream_stream" else ["c"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_carries_its_reason(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, kind, "refuse")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == "There is no such job – really."
    info = info_of(refused.value)
    assert (info.reason, info.domain, info.metadata["job_id"]) == ("JOB_NOT_FOUND", "kinemesh", "j1")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_defect_leaks_nothing(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await ask(channel, kind, "defect")
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert info_of(failed.value).reason == "INTERNAL"
    assert "hunter2" not in f"{failed.value.details()}{failed.value.trailing_metadata()}"


async def test_a_reason_follows_answers_that_were_sent(toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    method = channel.stream_stream("/test.Toy/stream_stream", StringValue.SerializeToString, StringValue.FromString)
    running = method(iter([StringValue(value="first"), StringValue(value="refuse")]), timeout=10)
    assert (await running.read()).value == "first"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.read()
    assert info_of(refused.value).reason == "JOB_NOT_FOUND"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_status_that_a_handler_set_itself_passes(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, kind, "stranger")
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, "gone")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unknown_method_says_so(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    over = asyncio.Event()
    requests = nothing_until(over) if kind.startswith("stream") else None
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, kind, "a", path="/test.Toy/Nothing", requests=requests)
    over.set()
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    info = info_of(refused.value)
    assert (info.reason, info.metadata["method"]) == ("METHOD_NOT_FOUND", "/test.Toy/Nothing")


async def test_unimplemented_methods_of_a_servicer_say_so(channel_to: Any) -> None:
    def add(server: Any) -> None:
        base: Any = pose_pb2_grpc.PoseServiceServicer
        pose_pb2_grpc.add_PoseServiceServicer_to_server(base(), server)

    stub = pose_pb2_grpc.PoseServiceStub(await channel_to(add=add))
    with pytest.raises(errors.Unimplemented) as refused:
        await call(stub.Estimate, pose_pb2.EstimateRequest())
    assert refused.value.reason == "NOT_AVAILABLE_YET"
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for _ in stub.EstimateStream(iter([pose_pb2.EstimateStreamRequest()]), timeout=10):
            pass
    assert info_of(streamed.value).reason == "NOT_AVAILABLE_YET"


@pytest.mark.parametrize("kind", KINDS)
async def test_bytes_that_are_no_request_are_refused(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    method = getattr(channel, kind)(f"/test.Toy/{kind}")
    answer = method(iter([b"\xff\xff"]) if kind.startswith("stream") else b"\xff\xff", timeout=10)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (answer if kind.endswith("_unary") else answer.read())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info_of(refused.value).reason == "MALFORMED_REQUEST"


@pytest.mark.parametrize("kind", KINDS)
async def test_texts_with_a_nul_are_refused(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    method = getattr(channel, kind)(f"/test.Toy/{kind}", StringValue.SerializeToString, StringValue.FromString)
    request = StringValue(value="half\0way")
    answer = method(iter([request]) if kind.startswith("stream") else request, timeout=10)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (answer if kind.endswith("_unary") else answer.read())
    info = info_of(refused.value)
    assert (info.reason, info.metadata["field"]) == ("INVALID_TEXT", "value")
    assert not toy.entered.is_set()


async def test_ids_and_owner_go_along(toy: Toy, channel_to: Any) -> None:
    configure_tracing("test", TracingSettings())
    channel = await channel_to(handlers(toy))
    method = channel.unary_unary("/test.Toy/unary_unary", StringValue.SerializeToString, StringValue.FromString)
    streaming = channel.unary_stream("/test.Toy/unary_stream", StringValue.SerializeToString, StringValue.FromString)
    question = StringValue(value="who")
    with structlog.contextvars.bound_contextvars(request_id="r-17"), span("caller") as current:
        trace_id = trace.format_trace_id(current.get_span_context().trace_id)
        assert (await call(method, question, owner="ada")).value == f"ada r-17 {trace_id}"
        assert (await call(method, question)).value == f"{LOCAL_OWNER} r-17 {trace_id}"
        said = [one.value async for one in stream(streaming, question, owner="eve", timeout_s=10)]
        assert said == [f"eve r-17 {trace_id}"]
    # Without a request id there is one afterwards, so that log lines of a call can be found.
    owner, request_id, _ = (await call(method, question)).value.split()
    assert (owner, len(request_id)) == (LOCAL_OWNER, 32)


async def test_call_and_stream_rebuild_errors(toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    method = channel.unary_unary("/test.Toy/unary_unary", StringValue.SerializeToString, StringValue.FromString)
    streaming = channel.unary_stream("/test.Toy/unary_stream", StringValue.SerializeToString, StringValue.FromString)
    with pytest.raises(errors.NotFound, match="no such job") as refused:
        await call(method, StringValue(value="refuse"))
    assert (refused.value.reason, refused.value.metadata) == ("JOB_NOT_FOUND", {"job_id": "j1"})
    with pytest.raises(errors.NotFound, match="no such job"):
        await anext(stream(streaming, StringValue(value="refuse"), timeout_s=10))
    async with open_channel("127.0.0.1:1") as nobody_there:
        method = nobody_there.unary_unary("/x/y", StringValue.SerializeToString, StringValue.FromString)
        with pytest.raises(errors.DeadlineExceeded, match="did not answer in time"):
            await call(method, StringValue(value="refuse"), timeout_s=0.5)


async def test_a_call_waits_for_a_service_that_restarts(toy: Toy) -> None:
    (port,) = free_ports(1)
    async with open_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary("/test.Toy/unary_unary", StringValue.SerializeToString, StringValue.FromString)
        early = asyncio.create_task(call(method, StringValue(value="hello"), timeout_s=30))
        await until_trying(channel)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handlers(toy),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        assert isinstance(await early, StringValue)
        await server.stop(None)


async def test_a_channel_does_not_share_the_failures_of_another(toy: Toy) -> None:
    (port,) = free_ports(1)
    async with open_channel(f"127.0.0.1:{port}") as too_early:
        await until_trying(too_early)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handlers(toy),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        try:
            async with open_channel(f"127.0.0.1:{port}") as channel:
                assert await ask(channel, "unary_unary", "hello") == ["hello"]
        finally:
            await server.stop(None)


async def until_trying(channel: grpc.aio.Channel) -> None:
    """Return once the channel has found nobody."""
    async with asyncio.timeout(30):
        while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(state)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_ends_the_handler_too(kind: str, toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await ask(channel, kind, "wait", timeout_s=0.3)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(toy.left.wait(), 10)
    assert RPC_SECONDS.labels(f"/test.Toy/{kind}", "CANCELLED")._sum.get() > 0


async def test_a_missed_deadline_has_a_reason(toy: Toy, channel_to: Any) -> None:
    channel = await channel_to(handlers(toy))
    method = channel.unary_unary("/test.Toy/unary_unary", StringValue.SerializeToString, StringValue.FromString)
    with pytest.raises(errors.DeadlineExceeded):
        await call(method, StringValue(value="wait"), timeout_s=0.2)
    streaming = channel.unary_stream("/test.Toy/unary_stream", StringValue.SerializeToString, StringValue.FromString)
    with pytest.raises(errors.DeadlineExceeded):
        await anext(stream(streaming, StringValue(value="wait"), timeout_s=0.2))


async def test_a_caller_that_leaves_ends_a_stream_that_it_did_not_read(
    toy: Toy, channel_to: Any, caplog: pytest.LogCaptureFixture
) -> None:
    channel = await channel_to(handlers(toy))
    streaming = channel.unary_stream("/test.Toy/unary_stream", StringValue.SerializeToString, StringValue.FromString)
    answers = stream(streaming, StringValue(value="flood"), timeout_s=30)
    assert len((await anext(answers)).value) == 1_000_000
    await toy.entered.wait()
    gc.disable()  # what holds resources must be closed by the call's end, not by the garbage collector
    try:
        await answers.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(toy.left.wait(), 10)
    finally:
        gc.enable()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.fixture
def health() -> HealthServicer:
    return HealthServicer(["a.A", "b.B"])


@pytest.fixture
def health_stub(health: HealthServicer, channel_to: Any) -> Callable[[], Any]:
    async def make() -> Any:
        channel = await channel_to(add=lambda server: health_pb2_grpc.add_HealthServicer_to_server(health, server))
        return health_pb2_grpc.HealthStub(channel)

    return make


def request(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_nothing_is_healthy_before_it_was_checked(health: HealthServicer, health_stub: Any) -> None:
    stub = await health_stub()
    for service in ("", "a.A", "b.B"):
        assert (await stub.Check(request(service), timeout=10)).status == NOT_SERVING
    health.set(serving=True)
    for service in ("", "a.A", "b.B"):
        assert (await stub.Check(request(service), timeout=10)).status == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await stub.Check(request("c.C"), timeout=10)
    assert (unknown.value.code(), info_of(unknown.value).reason) == (grpc.StatusCode.NOT_FOUND, "SERVICE_UNKNOWN")


async def test_all_who_watch_hear_of_every_change(health: HealthServicer, health_stub: Any) -> None:
    stub = await health_stub()
    leaver, first, second = (stub.Watch(request(service), timeout=30) for service in ("", "", "a.A"))
    for watching in (leaver, first, second):
        assert (await watching.read()).status == NOT_SERVING
    leaver.cancel()
    for serving, status in ((True, SERVING), (False, NOT_SERVING), (True, SERVING)):
        health.set(serving=serving)
        for watching in (first, second):
            assert (await watching.read()).status == status
    health.close()
    health.set(serving=True)
    for watching in (first, second):
        assert (await watching.read()).status == NOT_SERVING
        assert not await watching.read()  # the end


async def test_watching_an_unknown_service_says_so(health: HealthServicer, health_stub: Any) -> None:
    stub = await health_stub()
    answer = await stub.Watch(request("c.C"), timeout=30).read()
    assert answer.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
