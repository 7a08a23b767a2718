"""A job's events are replayed without a gap or a repetition, whatever happens to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from kinemesh import errors
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.events import job_event, last_state, publish_event, replay
from kinemesh.bus.topology import EVENTS, event_subject
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.event.v1 import event_pb2
from kinemesh.settings import NatsSettings


async def log(bus: Bus, job_id: str, *numbers: int) -> None:
    for number in numbers:
        event = job_event(job_id, log=event_pb2.Logged(level="INFO", text=str(number)))
        await publish_event(bus, event, f"{job_id}.log.{number}")


async def end(bus: Bus, job_id: str, state: str = "SUCCEEDED") -> None:
    await publish_event(bus, job_event(job_id, state=event_pb2.StateChanged(state=state)), f"{job_id}.{state}")


def texts(events: list[tuple[int, event_pb2.JobEvent]]) -> list[str]:
    return [event.log.text or event.state.state for _, event in events]


async def read(bus: Bus, job_id: str, after: int = 0) -> list[tuple[int, event_pb2.JobEvent]]:
    async with asyncio.timeout(20):
        return [pair async for pair in replay(bus, job_id, after)]


async def test_from_the_start_and_from_any_place(bus: Bus, job_id: str) -> None:
    await log(bus, job_id, *range(5))
    await log(bus, "another" + job_id, 77)
    await end(bus, job_id)
    await log(bus, job_id, 99)  # what comes after the end is not the job's
    whole = await read(bus, job_id)
    assert texts(whole) == ["0", "1", "2", "3", "4", "SUCCEEDED"]
    assert all(event.job_id == job_id and event.HasField("time") for _, event in whole)
    for position, (sequence, _) in enumerate(whole[:-1]):
        assert await read(bus, job_id, sequence) == whole[position + 1 :]


async def test_nothing_follows_the_end(bus: Bus, job_id: str) -> None:
    await log(bus, job_id, 0)
    await end(bus, job_id, "FAILED")
    sequence = (await read(bus, job_id))[-1][0]
    assert await read(bus, job_id, sequence) == []
    assert await read(bus, job_id, sequence + 1000) == []


async def test_live_events_follow_past_ones(bus: Bus, job_id: str) -> None:
    await log(bus, job_id, 0, 1)
    async with asyncio.timeout(20), aclosing(_generator(bus, job_id)) as events:
        assert [(await anext(events))[1].log.text for _ in range(2)] == ["0", "1"]
        for number in range(2, 40):
            coming = asyncio.ensure_future(anext(events))
            await log(bus, job_id, number)
            assert (await coming)[1].log.text == str(number)
        await end(bus, job_id, "CANCELLED")
        assert (await anext(events))[1].state.state == "CANCELLED"
        assert await anext(events, None) is None


async def test_a_slow_reader_misses_nothing_and_delays_nobody(bus: Bus, job_id: str) -> None:
    await log(bus, job_id, 0)
    async with asyncio.timeout(20), aclosing(_generator(bus, job_id)) as slow:
        await anext(slow)
        await log(bus, job_id, *range(1, 300))  # while the slow one does not read
        await end(bus, job_id)
        assert len(await read(bus, job_id)) == 301
        assert texts([pair async for pair in slow]) == [*map(str, range(1, 300)), "SUCCEEDED"]


async def test_a_job_that_is_unknown_or_deleted_ends(bus: Bus, job_id: str) -> None:
    assert await read(bus, job_id) == []
    await log(bus, job_id, 0, 1)
    async with asyncio.timeout(20), aclosing(_generator(bus, job_id)) as events:
        await anext(events)
        await bus.jetstream.purge_stream(EVENTS, subject=event_subject(job_id, "*"))
        assert await anext(events, None) is None


async def test_an_unreadable_event_is_left_out(bus: Bus, job_id: str) -> None:
    await bus.publish_bytes(event_subject(job_id, "log"), b"\xff\xff", f"{job_id}.poison", {})
    await end(bus, job_id)
    assert texts(await read(bus, job_id)) == ["SUCCEEDED"]


async def test_the_last_state_is_known(bus: Bus, job_id: str) -> None:
    assert await last_state(bus, job_id) is None
    await end(bus, job_id, "RUNNING")
    await log(bus, job_id, 0)
    assert await last_state(bus, job_id) == "RUNNING"


async def test_a_reader_whose_connection_is_closed_is_told(broker: str, job_id: str) -> None:
    async with connect(NatsSettings(url=broker), "closing") as bus:
        await log(bus, job_id, 0)
        async with asyncio.timeout(20), aclosing(_generator(bus, job_id)) as events:
            await anext(events)
            await bus.client.close()
            with pytest.raises(errors.Unavailable):
                await anext(events)


async def test_killing_the_broker_makes_no_gap_and_no_repetition(tmp_path: Any, job_id: str) -> None:
    port, monitor = free_ports(2)
    settings = NatsSettings(url=f"nats://127.0.0.1:{port}", timeout_s=1)
    spec = nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor, restarts=5)
    async with Supervisor() as supervisor:
        await supervisor.start([spec])
        async with connect(settings, "reader") as reader, connect(settings, "writer") as writer:
            await end(writer, job_id, "RUNNING")  # a job without a state would count as deleted
            reading = [asyncio.create_task(_collect(reader, job_id)) for _ in range(3)]
            for number in range(60):
                if number in (20, 40):
                    # Whatever was confirmed is there afterwards, and whatever was not is published again.
                    await asyncio.gather(supervisor.processes["nats"].kill(), log(writer, job_id, number))
                await log(writer, job_id, number)
            await end(writer, job_id)
            for seen in await asyncio.wait_for(asyncio.gather(*reading), 40):
                assert seen == ["RUNNING", *map(str, range(60)), "SUCCEEDED"]


async def _collect(bus: Bus, job_id: str) -> list[str]:
    return [event.log.text or event.state.state async for _, event in replay(bus, job_id)]


def _generator(bus: Bus, job_id: str) -> Any:
    events: AsyncIterator[tuple[int, event_pb2.JobEvent]] = replay(bus, job_id)
    return events
