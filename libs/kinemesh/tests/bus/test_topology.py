"""Streams and consumers are data, and applying them again changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.js.api import RetentionPolicy, StreamConfig

from kinemesh import errors
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.topology import CONSUMERS, DEAD_LETTERS, EVENTS, OUTCOMES, TASKS, streams
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.settings import NatsSettings


async def described(bus: Bus) -> dict[str, Any]:
    """All that the broker was told."""
    found: dict[str, Any] = {}
    for info in await bus.jetstream.streams_info():
        name = str(info.config.name)
        found[name] = info.config
        for consumer in await bus.jetstream.consumers_info(name):
            found[f"{name}/{consumer.name}"] = (consumer.config, consumer.created)
    return found


async def test_many_processes_that_start_at_once_agree(tmp_path: Any) -> None:
    port, monitor = free_ports(2)
    settings = NatsSettings(url=f"nats://127.0.0.1:{port}")
    begun = asyncio.Barrier(8)

    async def start(number: int) -> dict[str, Any]:
        async with connect(settings, f"twin{number}") as bus:
            await begun.wait()
            assert await bus.ready()
            return await described(bus)

    async with Supervisor() as supervisor:
        # The services are there before the broker is.
        twins = [asyncio.create_task(start(number)) for number in range(8)]
        await supervisor.start([nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor)])
        first, *others = await asyncio.gather(*twins)
        assert all(other == first for other in others)
        async with connect(settings, "later") as bus:
            assert await described(bus) == first
            # A broker that lost a stream is not healthy.
            await bus.jetstream.delete_stream(DEAD_LETTERS)
            assert not await bus.ready()
    names = {f"{consumer.stream}/{consumer.durable}" for consumer in CONSUMERS}
    assert set(first) == names | {str(config.name) for config in streams(1)}


def test_work_waits_until_it_is_done_and_history_ages() -> None:
    by_name = {config.name: config for config in streams(3)}
    for name in (TASKS, OUTCOMES):
        assert by_name[name].retention is RetentionPolicy.WORK_QUEUE
        assert not by_name[name].max_age
    for name in (EVENTS, DEAD_LETTERS):
        assert by_name[name].max_age
    assert all(config.num_replicas == 3 and config.max_bytes and config.allow_direct for config in by_name.values())


async def test_a_stream_that_cannot_become_ours_is_told(tmp_path: Any) -> None:
    port, monitor = free_ports(2)
    settings = NatsSettings(url=f"nats://127.0.0.1:{port}")
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor)])
        async with connect(settings, "first") as bus:
            await bus.jetstream.delete_stream(TASKS)
            await bus.jetstream.add_stream(StreamConfig(name=TASKS, subjects=["kinemesh.task.*"]))
        with pytest.raises(errors.FailedPrecondition) as refused:
            async with connect(settings, "second"):
                pass
    assert refused.value.reason == "BROKER_TOPOLOGY"
