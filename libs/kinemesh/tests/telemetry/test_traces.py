"""One trace goes from a call through the queue into a worker and on to the model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from pydantic import SecretStr, ValidationError
from tritonclient.grpc import service_pb2, service_pb2_grpc

from kinemesh.bus.connection import connect
from kinemesh.bus.topology import OUTCOMES, outcome_subject
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.channel import call, open_channel
from kinemesh.settings import NatsSettings, TracingSettings
from kinemesh.telemetry.tracing import configure_tracing, span, trace_headers
from kinemesh.testing.otlp import collector
from kinemesh.testing.waiting import until


class Model(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers as a model server does, and keeps the headers."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def ModelInfer(self, _request: Any, context: Any) -> Any:  # noqa: N802
        self.headers.append(dict(context.invocation_metadata()))
        return service_pb2.ModelInferResponse()


@asynccontextmanager
async def program(role: str, folder: Path, **variables: str) -> AsyncIterator[Path]:
    """A service as a process; it has ended, cleanly, after the block. Gives its log."""
    log = folder / role
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KINEMESH_")}
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("traced.py")), role),
            env={**clean, **{f"KINEMESH_{name}": value for name, value in variables.items()}},
            stdout=out,
        )
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def lines(log: Path) -> dict[str, dict[str, Any]]:
    whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {line["event"]: line for line in map(json.loads, whole)}


async def serve(stack: AsyncExitStack, add: Any, servicer: Any) -> int:
    server = grpc.aio.server()
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stack.push_async_callback(server.stop, 0)
    return port


async def test_one_trace_crosses_calls_tasks_and_models(tmp_path: Path) -> None:
    model = Model()
    port, monitor = free_ports(2)
    url = f"nats://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        collecting = await stack.enter_async_context(collector())
        model_at = await serve(stack, service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server, model)
        supervisor = await stack.enter_async_context(Supervisor())
        await supervisor.start([nats.nats_spec(tmp_path / "nats", tmp_path / "nats.log", port, monitor)])
        variables = {
            "NATS__URL": url,
            "TRACING__OTLP_ENDPOINT": collecting.address,
            "TRITON__ENDPOINT": f"127.0.0.1:{model_at}",
            "TRITON__SHARED_MEMORY": "off",
        }
        front = await stack.enter_async_context(program("front", tmp_path, **variables))
        worker = await stack.enter_async_context(program("worker", tmp_path, **variables))
        for log in (front, worker):
            await until(lambda log=log: _says(log, "serving"))  # type: ignore[misc]
        bus = await stack.enter_async_context(connect(NatsSettings(url=url), "test"))
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{lines(front)['serving']['grpc_port']}"))

        configure_tracing("test", TracingSettings())
        with structlog.contextvars.bound_contextvars(request_id="r-1"), span("user") as user:
            trace_id = user.get_span_context().trace_id
            await call(pose_pb2_grpc.PoseServiceStub(channel).Estimate, pose_pb2.EstimateRequest())
        await until(lambda: _says(worker, "task ended"))
        # The outcome carries the trace on, to whoever conducts.
        outcome = await bus.jetstream.get_last_msg(OUTCOMES, outcome_subject("j1"))
    # Whatever a process had not sent yet it has sent before it ended.
    spans = {(service, one.name): one for service, one in collecting.spans}
    called = spans["kinemesh-front", "kinemesh.pose.v1.PoseService/Estimate"]
    task = spans["kinemesh-worker", "task associate"]
    handler = spans["kinemesh-worker", "associate windows"]
    assert {one.trace_id for one in (called, task, handler)} == {trace_id.to_bytes(16, "big")}
    assert (task.parent_span_id, handler.parent_span_id) == (called.span_id, task.span_id)
    expected = f"{trace_id:032x}"
    assert [headers["traceparent"].split("-")[1:3] for headers in model.headers] == [[expected, handler.span_id.hex()]]
    assert (outcome.headers or {})["traceparent"].split("-")[1] == expected
    ordered, ended = lines(front)["ordered"], lines(worker)["task ended"]
    assert (ordered["service"], ordered["request_id"], ordered["trace_id"]) == ("front", "r-1", expected)
    assert (ended["service"], ended["job_id"], ended["task_id"]) == ("worker", "j1", "j1.associate")
    assert ended["trace_id"] == expected


async def _says(log: Path, event: str) -> bool:
    return event in lines(log)


def test_without_a_span_there_is_nothing_to_send_along() -> None:
    assert trace_headers() == {}


def test_a_span_without_a_parent_begins_a_trace() -> None:
    configure_tracing("test", TracingSettings())
    with span("outer") as outer, span("task", parent={}) as task:
        assert task.get_span_context().trace_id != outer.get_span_context().trace_id


async def test_a_collector_that_is_away_does_not_keep_a_service_from_ending(tmp_path: Path) -> None:
    port, monitor, nobody = free_ports(3)
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(tmp_path / "nats", tmp_path / "nats.log", port, monitor)])
        variables = {"NATS__URL": f"nats://127.0.0.1:{port}", "TRACING__OTLP_ENDPOINT": f"http://127.0.0.1:{nobody}"}
        async with program("front", tmp_path, **variables) as front:
            await until(lambda: _says(front, "serving"))
            async with open_channel(f"127.0.0.1:{lines(front)['serving']['grpc_port']}") as channel:
                await call(pose_pb2_grpc.PoseServiceStub(channel).Estimate, pose_pb2.EstimateRequest())


async def test_what_begins_here_is_sampled_and_what_was_begun_goes_on(tmp_path: Path) -> None:
    port, monitor = free_ports(2)
    sampled = "ab" * 16
    async with AsyncExitStack() as stack:
        collecting = await stack.enter_async_context(collector())
        supervisor = await stack.enter_async_context(Supervisor())
        await supervisor.start([nats.nats_spec(tmp_path / "nats", tmp_path / "nats.log", port, monitor)])
        variables = {
            "NATS__URL": f"nats://127.0.0.1:{port}",
            "TRACING__OTLP_ENDPOINT": collecting.address,
            "TRACING__SAMPLE": "0",
            "TRACING__HEADERS": "Api-Key=k=1, tenant=t",
        }
        front = await stack.enter_async_context(program("front", tmp_path, **variables))
        await until(lambda: _says(front, "serving"))
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{lines(front)['serving']['grpc_port']}"))
        estimate = pose_pb2_grpc.PoseServiceStub(channel).Estimate
        for flags in ("00", "01"):
            metadata = (("traceparent", f"00-{sampled}-{'cd' * 8}-{flags}"),)
            await estimate(pose_pb2.EstimateRequest(), metadata=metadata, timeout=30)
        await estimate(pose_pb2.EstimateRequest(), timeout=30)
    called = [one for _, one in collecting.spans if one.name == "kinemesh.pose.v1.PoseService/Estimate"]
    assert [one.trace_id.hex() for one in called] == [sampled]
    assert (collecting.metadata["api-key"], collecting.metadata["tenant"]) == ("k=1", "t")


@pytest.mark.parametrize("wrong", [{"sample": 1.5}, {"headers": "no-value"}])
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TracingSettings(**wrong)
    assert "k1" not in repr(TracingSettings(headers=SecretStr("key=k1")))
