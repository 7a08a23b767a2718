"""Who calls is settled at the door, holds within, and is vouched for to the next service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from kinemesh.access.gate import Gate, acting_as, current, vouching
from kinemesh.access.identity import MODELS, READ, SCOPES, WRITE, Identity, Limits, local_identity
from kinemesh.access.tokens import Tokens
from kinemesh.errors import KinemeshError, PermissionDenied, Unauthenticated
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2, job_pb2_grpc
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.channel import call, open_channel, stream
from kinemesh.serving.interceptor import CallInterceptor, caller
from kinemesh.serving.status import from_rpc_error
from kinemesh.testing.requests import nothing_until

TOKENS = Tokens("0123456789abcdef" * 2)
ADA = Identity("ada", frozenset((READ,)), "k1", Limits(requests_per_minute=7))
GET = job_pb2.GetJobRequest(job_id="j")


class Jobs:
    """Answers with what it knows of the caller; asks itself again in the caller's name, as services do."""

    channel: Any

    async def GetJob(self, request: job_pb2.GetJobRequest, context: Any) -> job_pb2.GetJobResponse:  # noqa: N802
        if request.job_id == "as somebody else":
            await call(job_pb2_grpc.JobServiceStub(self.channel).GetJob, GET, owner="eve")
        if request.job_id == "behind":
            stub: Any = job_pb2_grpc.JobServiceStub(self.channel)
            return await asyncio.create_task(call(stub.GetJob, GET, owner=caller(context)))
        identity = current()
        said = f"{identity.key_id} {' '.join(sorted(identity.scopes))} {identity.limits.requests_per_minute}"
        return job_pb2.GetJobResponse(job=job_pb2.Job(owner=caller(context), stage=said))

    async def WatchJob(  # noqa: N802
        self, request: job_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[job_pb2.WatchJobResponse]:
        yield job_pb2.WatchJobResponse(event=event_pb2.JobEvent(job_id=f"{caller(context)} {request.job_id}"))

    async def DeleteJob(self, _request: Any, _context: Any) -> job_pb2.DeleteJobResponse:  # noqa: N802
        raise AssertionError("nobody who may not should come here")


class Pose:
    Estimate = None

    async def EstimateStream(  # noqa: N802
        self, requests: AsyncIterator[pose_pb2.EstimateStreamRequest], context: Any
    ) -> AsyncIterator[pose_pb2.EstimateStreamResponse]:
        async for _ in requests:
            yield pose_pb2.EstimateStreamResponse(frame_index=len(caller(context)))


@asynccontextmanager
async def served(gate: Gate) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server(interceptors=[CallInterceptor(gate)])
    jobs = Jobs()
    job_pb2_grpc.add_JobServiceServicer_to_server(_whole(jobs, job_pb2.DESCRIPTOR), server)
    pose_pb2_grpc.add_PoseServiceServicer_to_server(Pose(), server)  # type: ignore[arg-type]
    other = grpc.unary_unary_rpc_method_handler(jobs.GetJob, bytes, bytes)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("kinemesh.new.v1.New", {"Do": other})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            jobs.channel = channel
            yield channel
    finally:
        await server.stop(0)


def _whole(servicer: Any, file: Any) -> Any:
    for method in file.services_by_name["JobService"].methods:
        if not hasattr(servicer, method.name):
            setattr(servicer, method.name, None)
    return servicer


async def refusal(method: Any, request: Any, *metadata: tuple[str, str]) -> KinemeshError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await method(request, metadata=metadata, timeout=10)
    return from_rpc_error(refused.value)


def bearing(identity: Identity, tokens: Tokens = TOKENS, valid_s: int = 60) -> tuple[str, str]:
    return "authorization", f"Bearer {tokens.issue(identity, valid_s)}"


async def test_a_token_says_who_calls_and_the_header_does_not() -> None:
    async with served(Gate(TOKENS)) as channel:
        stub: Any = job_pb2_grpc.JobServiceStub(channel)
        answer = await stub.GetJob(GET, metadata=(bearing(ADA), ("x-kinemesh-owner", "eve")), timeout=10)
        assert (answer.job.owner, answer.job.stage) == ("ada", "k1 read 7")
        request = job_pb2.WatchJobRequest(job_id="j")
        said = [one.event.job_id async for one in stub.WatchJob(request, metadata=(bearing(ADA),), timeout=10)]
        assert said == ["ada j"]


async def test_streams_of_requests_too() -> None:
    async with served(Gate(TOKENS)) as channel:
        stub: Any = pose_pb2_grpc.PoseServiceStub(channel)
        writer = Identity("ada", frozenset((WRITE,)))
        sent = [pose_pb2.EstimateStreamRequest()] * 2
        answers = stub.EstimateStream(iter(sent), metadata=(bearing(writer),), timeout=10)
        assert [one.frame_index async for one in answers] == [3, 3]
        for metadata, reason in (((), "TOKEN_MISSING"), ((bearing(ADA),), "SCOPE_MISSING")):
            over = asyncio.Event()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for _ in stub.EstimateStream(nothing_until(over), metadata=metadata, timeout=10):
                    pass
            over.set()
            assert from_rpc_error(refused.value).reason == reason


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "TOKEN_MISSING"),
        ((("x-kinemesh-owner", "ada"),), "TOKEN_MISSING"),
        ((("authorization", "Basic YWRhOmFkYQ=="),), "TOKEN_MISSING"),
        ((("authorization", "Bearer "),), "TOKEN_MISSING"),
        ((("authorization", "Bearer garbage"),), "TOKEN_INVALID"),
        ((bearing(ADA, Tokens("x" * 32)),), "TOKEN_INVALID"),
        ((bearing(ADA, valid_s=-60),), "TOKEN_EXPIRED"),
    ],
)
async def test_who_does_not_show_who_they_are(metadata: tuple[tuple[str, str], ...], reason: str) -> None:
    async with served(Gate(TOKENS)) as channel:
        error = await refusal(job_pb2_grpc.JobServiceStub(channel).GetJob, GET, *metadata)
        assert (type(error), error.reason) == (Unauthenticated, reason)


async def test_a_scope_opens_its_methods_and_no_others() -> None:
    async with served(Gate(TOKENS)) as channel:
        delete = job_pb2_grpc.JobServiceStub(channel).DeleteJob
        for scopes in ((READ,), (MODELS,), ()):
            identity = Identity("ada", frozenset(scopes))
            error = await refusal(delete, job_pb2.DeleteJobRequest(job_id="j"), bearing(identity))
            assert (type(error), error.reason, error.metadata) == (PermissionDenied, "SCOPE_MISSING", {"scope": WRITE})


async def test_a_method_that_is_not_in_the_table_is_closed() -> None:
    async with served(Gate(TOKENS)) as channel:
        everything = Identity("ada", frozenset(SCOPES))
        method = channel.unary_unary("/kinemesh.new.v1.New/Do", request_serializer=bytes, response_deserializer=bytes)
        assert (await refusal(method, b"", bearing(everything))).reason == "METHOD_CLOSED"
        assert (await refusal(method, b"")).reason == "TOKEN_MISSING"


async def test_calls_go_on_in_the_callers_name_with_the_callers_scopes() -> None:
    async with served(Gate(TOKENS)) as channel:
        stub: Any = job_pb2_grpc.JobServiceStub(channel)
        with acting_as(ADA, TOKENS):
            answer = await call(stub.GetJob, job_pb2.GetJobRequest(job_id="behind"), owner="ada")
            assert (answer.job.owner, answer.job.stage) == ("ada", "k1 read 7")
            request = job_pb2.WatchJobRequest(job_id="j")
            said = [one.event.job_id async for one in stream(stub.WatchJob, request, owner="ada", timeout_s=10)]
            assert said == ["ada j"]
            with pytest.raises(PermissionDenied):
                await call(stub.DeleteJob, job_pb2.DeleteJobRequest(job_id="j"), owner="ada")


async def test_nothing_is_done_in_a_name_that_nobody_has_shown() -> None:
    async with served(Gate(TOKENS)) as channel:
        stub: Any = job_pb2_grpc.JobServiceStub(channel)
        with acting_as(ADA, TOKENS), pytest.raises(Unauthenticated, match="needs a token"):
            await call(stub.GetJob, job_pb2.GetJobRequest(job_id="as somebody else"), owner="ada")
        with pytest.raises(Unauthenticated, match="needs a token"):
            await call(stub.GetJob, GET, owner="ada")


async def test_without_a_secret_the_header_is_believed() -> None:
    async with served(Gate()) as channel:
        stub: Any = job_pb2_grpc.JobServiceStub(channel)
        assert (await call(stub.GetJob, job_pb2.GetJobRequest(job_id="behind"), owner="eve")).job.owner == "eve"
        assert (await call(stub.GetJob, GET)).job.owner == "local"


def test_a_call_is_vouched_for_by_its_callers_context_alone() -> None:
    assert vouching("ada") == {"x-kinemesh-owner": "ada"}
    with acting_as(local_identity("ada")):
        assert vouching("ada") == {"x-kinemesh-owner": "ada"}
    with acting_as(ADA, TOKENS):
        assert set(vouching("ada")) == {"x-kinemesh-owner", "authorization"}
        assert vouching("eve") == {"x-kinemesh-owner": "eve"}
    with pytest.raises(LookupError):
        current()
