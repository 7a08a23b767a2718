"""A service as a process: it starts when it can, serves while it can, and drains when it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from kinemesh import errors
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.pose.v1 import pose_pb2, pose_pb2_grpc
from kinemesh.serving.channel import call, open_channel
from kinemesh.testing.waiting import until

POSE = "kinemesh.pose.v1.PoseService"


async def exists(path: Path) -> None:
    await until(lambda: asyncio.to_thread(path.exists))


async def test_health_follows_what_the_service_needs(start: Any) -> None:
    running = await start()
    await running.becomes("SERVING")
    (running.folder / "down").touch()
    await running.becomes("NOT_SERVING")
    assert await running.health(POSE) == "NOT_SERVING"
    (running.folder / "down").unlink()
    await running.becomes("SERVING")
    assert await running.health(POSE) == "SERVING"
    assert [line["event"] for line in running.lines if "dependency" in line] == [
        "dependency is down",
        "dependency is back",
    ]


async def test_health_is_not_up_before_everything_was_checked(start: Any, tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    running = await start()
    assert await running.health() == "NOT_SERVING"
    (running.folder / "checked").touch()
    await running.becomes("SERVING")


async def test_reflection_lists_and_describes_the_services(start: Any) -> None:
    running = await start()
    async with open_channel(await running.address()) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=POSE),
        ]
        listed, described = [answer async for answer in stub.ServerReflectionInfo(iter(requests), timeout=10)]
    names = {service.name for service in listed.list_services_response.service}
    assert names == {POSE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert b"PoseService" in b"".join(described.file_descriptor_response.file_descriptor_proto)


async def test_sigterm_lets_a_call_finish_and_refuses_new_ones(start: Any) -> None:
    running = await start(DRAIN_S="30")
    async with open_channel(await running.address()) as channel, open_channel(await running.address()) as another:
        request = pose_pb2.EstimateRequest(max_persons=3)
        in_flight = asyncio.create_task(call(pose_pb2_grpc.PoseServiceStub(channel).Estimate, request, timeout_s=30))
        await exists(running.folder / "called")
        running.process.send_signal(signal.SIGTERM)
        await running.says("draining")

        async def refused() -> bool:
            with pytest.raises((errors.Unavailable, errors.DeadlineExceeded)):
                await call(pose_pb2_grpc.PoseServiceStub(another).Estimate, pose_pb2.EstimateRequest(), timeout_s=2)
            return True

        await until(refused)
        assert not in_flight.done()
        (running.folder / "answer").touch()
        assert (await in_flight).width == 3
    assert await running.ends() == 0
    assert (running.folder / "closed").exists()
    assert (running.folder / "stderr").read_bytes() == b""


async def test_a_call_that_takes_longer_than_the_grace_is_cut_off(start: Any) -> None:
    running = await start(DRAIN_S="0.3")
    async with open_channel(await running.address()) as channel:
        request = pose_pb2.EstimateRequest(max_persons=3)
        in_flight = asyncio.create_task(call(pose_pb2_grpc.PoseServiceStub(channel).Estimate, request, timeout_s=5))
        await exists(running.folder / "called")
        running.process.send_signal(signal.SIGTERM)
        with pytest.raises((errors.Cancelled, errors.Unavailable)):
            await in_flight
    assert await running.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_service_ends_with_status_0(number: signal.Signals, start: Any) -> None:
    running = await start()
    await running.says("serving")
    running.process.send_signal(number)
    assert await running.ends() == 0
    assert [line["event"] for line in running.lines if line["level"] in ("warning", "error")] == []
    assert (running.folder / "stderr").read_bytes() == b""


@pytest.mark.parametrize(
    ("order", "said"), [("fail", "a part of the service failed"), ("return", "a part of the service ended")]
)
async def test_a_loop_that_ends_ends_the_process(order: str, said: str, start: Any) -> None:
    running = await start()
    await running.says("serving")
    (running.folder / order).touch()
    assert await running.ends() == 1
    assert len(running.said(said)) == 1
    if order == "fail":
        assert "ValueError: the loop is broken" in running.said(said)[0]["exception"]
    assert (running.folder / "closed").exists()


async def test_a_loop_that_fails_while_draining_is_told(start: Any) -> None:
    running = await start()
    await running.says("serving")
    (running.folder / "fail late").touch()
    running.process.send_signal(signal.SIGTERM)
    assert await running.ends() == 1
    assert "draining is broken" in running.said("a part of the service failed")[0]["exception"]


async def test_a_loop_that_does_not_drain_is_cancelled(start: Any) -> None:
    running = await start(DRAIN_S="0", STUBBORN="true")
    await running.says("serving")
    running.process.send_signal(signal.SIGTERM)
    assert await running.ends() == 1
    assert running.said("a part of the service did not drain in time")


async def test_an_app_that_cannot_be_built_says_why(start: Any, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    running = await start()
    assert await running.ends() == 1
    assert "the disk is broken" in running.said("could not start")[0]["exception"]
    assert (running.folder / "stderr").read_bytes() == b""


async def test_work_is_rehearsed_before_any_is_taken(start: Any, tmp_path: Path) -> None:
    running = await start()
    await running.says("serving")
    assert (running.folder / "rehearsed").exists()
    (tmp_path / "clumsy").touch()
    running = await start()
    assert await running.ends() == 1
    assert "there is no such codec" in running.said("could not start")[0]["exception"]
    assert not running.said("serving")


async def test_a_service_waits_for_its_broker(start: Any, tmp_path: Path) -> None:
    port, monitor = free_ports(2)
    running = await start(BROKER="true", NATS__URL=f"nats://127.0.0.1:{port}")
    await running.says("broker does not answer")
    assert not running.said("serving")
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(tmp_path / "nats", tmp_path / "nats.log", port, monitor)])
        await running.becomes("SERVING")
        await supervisor.processes["nats"].kill()
        await running.becomes("NOT_SERVING")
    # Stopping works while the broker is away.
    running.process.send_signal(signal.SIGTERM)
    assert (await running.ends(), (running.folder / "stderr").read_text()) == (0, "")


async def test_a_broker_that_never_comes_ends_the_start(start: Any) -> None:
    (port,) = free_ports(1)
    running = await start(BROKER="true", NATS__URL=f"nats://127.0.0.1:{port}", START_S="1.5")
    assert await running.ends() == 1
    assert running.said("could not start: what the service needs was not there in time")
    assert not running.said("serving")
    # However often it was tried: one line for it.
    assert [line["url"] for line in running.said("broker does not answer")] == [f"nats://127.0.0.1:{port}"]


async def test_sigterm_ends_a_start_that_waits(start: Any) -> None:
    (port,) = free_ports(1)
    running = await start(BROKER="true", NATS__URL=f"nats://127.0.0.1:{port}", START_S="600")
    await running.says("broker does not answer")
    running.process.send_signal(signal.SIGTERM)
    assert await running.ends() == 0
    assert running.said("stopped before it had started")
