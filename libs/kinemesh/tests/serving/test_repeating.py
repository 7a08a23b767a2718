"""A call whose connection breaks is made again, and a service can tell that it is the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from kinemesh import errors
from kinemesh.job.v1 import job_pb2, job_pb2_grpc
from kinemesh.serving.channel import call, open_channel
from kinemesh.serving.interceptor import CallInterceptor


class Jobs:
    """Breaks the connection of the first calls, after it has heard them."""

    def __init__(self, breaks: int) -> None:
        self.heard: list[Any] = []
        self.breaks = breaks
        self.connections: list[asyncio.StreamWriter] = []

    async def create(self, request: job_pb2.CreateJobRequest, context: Any) -> job_pb2.CreateJobResponse:
        await self._hear(request)
        return job_pb2.CreateJobResponse(job=job_pb2.Job(job_id="done"))

    async def get(self, request: job_pb2.GetJobRequest, context: Any) -> job_pb2.GetJobResponse:
        await self._hear(request)
        raise errors.Unavailable("BUSY", "Come again.")

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        methods: dict[str, Any] = {
            "CreateJob": (self.create, job_pb2.CreateJobRequest, job_pb2.CreateJobResponse),
            "GetJob": (self.get, job_pb2.GetJobRequest, job_pb2.GetJobResponse),
        }
        described: Any = {
            name: grpc.unary_unary_rpc_method_handler(method, asked.FromString, answered.SerializeToString)
            for name, (method, asked, answered) in methods.items()
        }
        return grpc.method_handlers_generic_handler("kinemesh.job.v1.JobService", described)

    async def _hear(self, request: Any) -> None:
        self.heard.append(request)
        if len(self.heard) <= self.breaks:
            for connection in self.connections:
                connection.transport.abort()
            await asyncio.Event().wait()


@asynccontextmanager
async def behind_a_wire(jobs: Jobs) -> AsyncIterator[job_pb2_grpc.JobServiceAsyncStub]:
    """A stub that reaches the service over connections that it can break."""
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    server.add_generic_rpc_handlers((jobs.handlers(),))
    inner = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        jobs.connections.append(writer)
        back, forth = await asyncio.open_connection("127.0.0.1", inner)
        await asyncio.gather(copy(reader, forth), copy(back, writer))

    wire = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        async with open_channel(f"127.0.0.1:{wire.sockets[0].getsockname()[1]}") as channel:
            yield job_pb2_grpc.JobServiceStub(channel)
    finally:
        wire.close()
        await server.stop(0)


async def test_a_broken_connection_is_not_a_failed_call() -> None:
    jobs = Jobs(breaks=2)
    request = job_pb2.CreateJobRequest()
    async with behind_a_wire(jobs) as stub:
        assert (await call(stub.CreateJob, request)).job.job_id == "done"
        await call(stub.CreateJob, request)
        await call(stub.CreateJob, job_pb2.CreateJobRequest(request_id="own"))
    first, second, third, other, own = (heard.request_id for heard in jobs.heard)
    assert first == second == third != other
    assert "" not in (first, other)
    assert own == "own"
    assert request.request_id == ""


async def test_it_is_made_again_a_few_times_and_never_after_an_answer() -> None:
    jobs = Jobs(breaks=100)
    async with behind_a_wire(jobs) as stub:
        with pytest.raises(errors.Unavailable) as lost:
            await call(stub.CreateJob, job_pb2.CreateJobRequest(), timeout_s=30)
        assert (lost.value.reason, len(jobs.heard)) == ("UNAVAILABLE", 4)
        jobs.breaks = 0
        with pytest.raises(errors.Unavailable) as refused:
            await call(stub.GetJob, job_pb2.GetJobRequest(job_id="j"))
        assert (refused.value.reason, len(jobs.heard)) == ("BUSY", 5)
