"""A message is worked on until it is settled, by whoever is alive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from kinemesh import errors
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.consume import backoff, consume
from kinemesh.bus.topology import DEAD_LETTERS, EVENTS, TASKS, Consumer, dead_letter_subject, event_subject
from kinemesh.settings import NatsSettings
from kinemesh.testing.waiting import until


async def put(bus: Bus, consumer: Consumer, *payloads: bytes) -> None:
    for number, payload in enumerate(payloads):
        await bus.publish_bytes(consumer.subject, payload, f"{consumer.durable}.{number}", {})


async def is_empty(bus: Bus, consumer: Consumer) -> bool:
    try:
        await bus.jetstream.get_last_msg(consumer.stream, consumer.subject)
    except NotFoundError:
        return True
    return False


async def run_until(
    bus: Bus, consumer: Consumer, handle: Callable[[Msg], Any], done: Callable[[], Any], slots: int = 1
) -> None:
    """Consume until ``done`` holds, then stop."""
    stop = asyncio.Event()
    running = asyncio.create_task(consume(bus, consumer, handle, stop, slots=slots))
    try:
        await until(done)
    finally:
        stop.set()
        await running


async def test_a_message_with_the_same_id_is_kept_once(bus: Bus, job_id: str) -> None:
    subject = event_subject(job_id, "log")
    for payload in (b"first", b"again", b"again"):
        await bus.publish_bytes(subject, payload, f"{job_id}.1", {})
    await bus.publish_bytes(subject, b"second", f"{job_id}.2", {})
    info = await bus.jetstream.stream_info(EVENTS, subjects_filter=subject)
    assert info.state.subjects == {subject: 2}
    assert (await bus.jetstream.get_last_msg(EVENTS, subject)).data == b"second"


async def test_a_message_that_no_stream_takes_has_a_reason(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinemesh.bus.connection._PAUSES_S", (0.0, 0.0))
    with pytest.raises(errors.Unavailable) as refused:
        await bus.publish_bytes("nobody.listens", b"", "1", {})
    assert refused.value.reason == "BROKER_UNAVAILABLE"


async def test_messages_are_handled_once_and_by_so_many_at_a_time(bus: Bus, consumer: Consumer) -> None:
    together = asyncio.Barrier(3)
    seen: list[bytes] = []

    async def handle(message: Msg) -> None:
        await together.wait()  # passes only if three are worked on at once
        seen.append(message.data)
        await message.ack()

    async def all_seen() -> bool:
        return len(seen) >= 9

    payloads = [str(number).encode() for number in range(9)]
    await put(bus, consumer, *payloads)
    await run_until(bus, consumer, handle, all_seen, slots=3)
    assert sorted(seen) == payloads
    await until(lambda: is_empty(bus, consumer))


async def test_long_work_is_not_given_to_another(bus: Bus, consumer: Consumer) -> None:
    silent = replace(consumer, durable=f"{consumer.durable}-silent", subject=f"{consumer.subject}-silent")
    await bus.jetstream.add_consumer(silent.stream, silent.config())
    await put(bus, consumer, b"long")
    await put(bus, silent, b"long")
    deliveries: list[int] = []
    let_go = asyncio.Event()

    async def handle(message: Msg) -> None:
        deliveries.append(message.metadata.num_delivered)
        await let_go.wait()
        await message.ack()

    stop = asyncio.Event()
    running = asyncio.create_task(consume(bus, consumer, handle, stop, slots=2))
    # The broker's clock: work that nobody reports on is delivered a third time meanwhile.
    unreported = await bus.jetstream.pull_subscribe_bind(silent.durable, silent.stream)
    for delivery in (1, 2, 3):
        [message] = await unreported.fetch(1, timeout=10)
        assert message.metadata.num_delivered == delivery
    let_go.set()
    await until(lambda: is_empty(bus, consumer))
    stop.set()
    await running
    assert deliveries == [1]
    await message.ack()
    await bus.jetstream.delete_consumer(silent.stream, silent.durable)


async def test_the_work_of_a_killed_process_goes_to_another(
    bus: Bus, broker: str, consumer: Consumer, tmp_path: Path
) -> None:
    await put(bus, consumer, b"work")
    taken = tmp_path / "taken"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("worker.py")),
        *(broker, consumer.stream, consumer.durable, consumer.subject, str(taken)),
    )
    try:
        await until(lambda: asyncio.to_thread(taken.exists))
    finally:
        process.kill()
        await process.wait()
    deliveries: list[int] = []

    async def handle(message: Msg) -> None:
        deliveries.append(message.metadata.num_delivered)
        await message.ack()

    await run_until(bus, consumer, handle, lambda: is_empty(bus, consumer))
    assert deliveries == [2]


async def test_a_defect_is_tried_again_and_then_left_to_the_undertaker(bus: Bus, consumer: Consumer) -> None:
    await put(bus, consumer, b"work")
    deliveries: list[int] = []
    waits: list[float] = []

    async def handle(message: Msg) -> None:
        deliveries.append(message.metadata.num_delivered)
        waits.append(backoff(consumer, message))
        raise ValueError("a defect")

    async def exhausted() -> bool:
        advisory = f"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{TASKS}.{consumer.durable}"
        try:
            await bus.jetstream.get_last_msg("KINEMESH_EXHAUSTED", advisory)
        except NotFoundError:
            return False
        return True

    await run_until(bus, consumer, handle, exhausted)
    assert (deliveries, waits) == ([1, 2, 3], [0.05, 0.1, 0.1])


async def test_an_unreadable_message_is_buried_at_once_and_the_next_is_handled(bus: Bus, consumer: Consumer) -> None:
    await put(bus, consumer, b"\xff\xff", b"good")
    seen: list[bytes] = []

    async def handle(message: Msg) -> None:
        seen.append(message.data)
        if message.data != b"good":
            raise DecodeError("no message")
        await message.ack()

    await run_until(bus, consumer, handle, lambda: is_empty(bus, consumer))
    assert seen == [b"\xff\xff", b"good"]
    dead = await bus.jetstream.get_last_msg(DEAD_LETTERS, dead_letter_subject(consumer.durable))
    assert dead.data == b"\xff\xff"


async def test_stopping_takes_nothing_more(bus: Bus, consumer: Consumer) -> None:
    await put(bus, consumer, b"first", b"second")
    stop = asyncio.Event()
    seen: list[bytes] = []

    async def handle(message: Msg) -> None:
        seen.append(message.data)
        stop.set()
        await message.ack()

    await asyncio.wait_for(consume(bus, consumer, handle, stop), 10)
    assert seen == [b"first"]
    await asyncio.wait_for(consume(bus, consumer, handle, stop), 10)
    assert seen == [b"first"]


async def test_a_message_that_meets_the_stop_is_neither_lost_nor_done_twice(bus: Bus, consumer: Consumer) -> None:
    # Being given back counts as a delivery.
    consumer = replace(consumer, max_deliver=-1)
    await bus.jetstream.add_consumer(consumer.stream, consumer.config())
    done: list[bytes] = []

    async def handle(message: Msg) -> None:
        done.append(message.data)
        await message.ack()

    rounds = [str(number).encode() for number in range(10)]
    for number, payload in enumerate(rounds):
        stop = asyncio.Event()
        waiting = asyncio.create_task(consume(bus, consumer, handle, stop, slots=2))
        await bus.client.flush()
        publishing = asyncio.create_task(
            bus.publish_bytes(consumer.subject, payload, f"{consumer.durable}.{payload!r}", {})
        )
        for _ in range(2 * number):  # so that they meet at different moments
            await asyncio.sleep(0)
        stop.set()
        await asyncio.wait_for(asyncio.gather(waiting, publishing), 10)
    await run_until(bus, consumer, handle, lambda: is_empty(bus, consumer))
    assert sorted(done) == rounds


async def test_a_connection_that_is_closed_for_good_ends_the_loop(broker: str, consumer: Consumer) -> None:
    async with connect(NatsSettings(url=broker), "closing") as bus:
        running = asyncio.create_task(consume(bus, consumer, _never, asyncio.Event()))
        await bus.client.flush()
        await bus.client.close()
        with pytest.raises(ExceptionGroup) as ended:
            await asyncio.wait_for(running, 10)
    assert ended.group_contains(errors.Unavailable)


async def _never(_: Msg) -> None:
    raise AssertionError("there is no message")
