"""One reading for all watchers of a task, whoever comes late, stalls or leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from kinemesh.bus.events import job_event, replay
from kinemesh.event.v1 import event_pb2
from kinemesh.testing.watchers import watchers
from kinemesh_gateway import histories
from kinemesh_gateway.domain.websocket import text_frame
from kinemesh_gateway.histories import Chunk, Histories, History, Place
from kinemesh_gateway.rest import watch
from kinemesh_gateway.rest.shared_frames import SharedFramesProtocol
from kinemesh_gateway.tracking import update_message

from .test_processing_tasks import HISTORY, frames, listen, state, step, steps, tell

_PER_EVENT = 30


async def a_job(gateway: Any, events: int) -> str:
    """The id of a job that ended, with so many events of steps."""
    job_id = f"history-{next(gateway.catalogue.ids)}"
    await tell(gateway, job_id, state("RUNNING"))
    for start in range(0, events * _PER_EVENT, _PER_EVENT):
        await tell(gateway, job_id, steps(range(start, start + _PER_EVENT)))
    await tell(gateway, job_id, state("SUCCEEDED"))
    return job_id


def indices(frames: bytes) -> list[int]:
    """The steps that WebSocket frames tell of, as another implementation reads them."""
    reader = ClientProtocol(parse_uri("ws://localhost"), state=State.OPEN)
    reader.receive_data(frames)
    events = reader.events_received()
    assert all(isinstance(event, Frame) and event.fin and event.opcode is Opcode.TEXT for event in events)
    return [
        json.loads(bytes(event.data))["payload"]["global_frame_index"] for event in events if isinstance(event, Frame)
    ]


async def walk(history: History, place: Place, chunks: int = 10_000) -> tuple[Place, list[int]]:
    """The place after so many chunks, or after the last, and the steps on the way."""
    seen: list[int] = []
    for _ in range(chunks):
        chunk = await history.after(place)
        if chunk is None:
            break
        seen += indices(chunk.updates(0))
        place = chunk.after
        if chunk.ends:
            break
    return place, seen


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sequences of the events that were read, in order."""
    sequences: list[int] = []

    async def noted(bus: Any, job_id: str, after: int = 0) -> AsyncGenerator[tuple[int, event_pb2.JobEvent], None]:
        reading = replay(bus, job_id, after)
        try:
            async for sequence, event in reading:
                sequences.append(sequence)
                yield sequence, event
        finally:
            await reading.aclose()

    monkeypatch.setattr("kinemesh_gateway.histories.replay", noted)
    return sequences


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that were written as JSON, in order."""
    indices: list[int] = []

    def noted(one: Any) -> bytes:
        indices.append(one.global_frame_index)
        return update_message(one)

    monkeypatch.setattr("kinemesh_gateway.histories.update_message", noted)
    return indices


async def test_many_clients_share_one_reading_and_one_writing(
    gateway: Any, read: list[int], written: list[int]
) -> None:
    task_id = await gateway.task()
    await tell(gateway, task_id, *HISTORY[:6])
    clients = await watchers(gateway.url, f"/ws/tracking/{task_id}", 60)
    await tell(gateway, task_id, *HISTORY[6:])
    async with asyncio.timeout(40):
        await asyncio.gather(*(client.closed.wait() for client in clients))
    assert {(client.steps, client.in_order, client.code) for client in clients} == {(7, True, 1000)}
    assert len(read) == len(set(read)) == len(HISTORY)
    assert written == list(range(7))


async def test_those_who_come_late_share_too(gateway: Any, read: list[int], written: list[int]) -> None:
    shared = Histories(gateway.bus, 64 * 2**20)
    job_id = await a_job(gateway, 4)
    async with shared.watch(job_id) as history:
        await walk(history, Place())
        once = len(read)
        everyone = await asyncio.gather(*(walk(history, Place()) for _ in range(20)))
    assert all(seen == list(range(120)) for _, seen in everyone)
    assert len(read) == once
    assert written == list(range(120))


async def test_what_is_kept_is_bounded_and_the_rest_is_read_alone(gateway: Any, read: list[int]) -> None:
    job_id = await a_job(gateway, 12)
    event = job_event(job_id, **steps(range(_PER_EVENT)))
    one = Chunk.of(job_id, Place(), 1, event).weight
    shared = Histories(gateway.bus, 4 * one)
    async with shared.watch(job_id) as history:
        behind, seen = await walk(history, Place(), 2)
        _, first = await walk(history, Place())
        assert first == list(range(360))
        assert shared._bytes <= 4 * one
        assert len(read) == 14
        _, rest = await walk(history, behind)
        assert seen + rest == list(range(360))
        # It met nothing that was kept, until where the other ended.
        assert 20 <= len(read) <= 26
        assert shared._bytes <= 4 * one
    assert (shared._bytes, len(shared._kept), len(shared._open)) == (0, 0, 0)


async def test_readers_do_not_pile_up(gateway: Any) -> None:
    job_id = await a_job(gateway, 30)
    shared = Histories(gateway.bus, 1)
    async with shared.watch(job_id) as history:
        places = [Place()]
        for _ in range(25):
            places.append((await walk(history, places[-1], 1))[0])
        everyone = await asyncio.gather(*(walk(history, place) for place in places))
        assert all(seen[-1] == 899 for _, seen in everyone)
        assert len(history._readers) <= histories._MOST_READERS
        assert not history._readings


async def test_one_who_leaves_takes_nothing_from_those_who_wait(gateway: Any) -> None:
    shared = Histories(gateway.bus, 2**20)
    job_id = f"history-{next(gateway.catalogue.ids)}"
    await tell(gateway, job_id, state("RUNNING"))
    async with shared.watch(job_id) as history, asyncio.timeout(40):
        place, _ = await walk(history, Place(), 1)
        waiting = [asyncio.create_task(history.after(place)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await tell(gateway, job_id, steps([0]))
        chunks = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(chunks[0], asyncio.CancelledError)
        assert isinstance(chunks[1], Chunk)
        assert chunks[1] is chunks[2]


async def test_reading_ends_with_the_last_who_watches(gateway: Any) -> None:
    shared = Histories(gateway.bus, 2**20)
    job_id = f"history-{next(gateway.catalogue.ids)}"
    await tell(gateway, job_id, state("RUNNING"))
    before = len(gateway.bus.client._subs)
    async with shared.watch(job_id) as history:
        place, _ = await walk(history, Place(), 1)
        waiting = asyncio.create_task(history.after(place))
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not history._readings
    assert len(gateway.bus.client._subs) == before


async def test_a_place_is_found_without_reading_all_before(gateway: Any, read: list[int], written: list[int]) -> None:
    shared = Histories(gateway.bus, 1)
    job_id = await a_job(gateway, 25)
    async with shared.watch(job_id) as history:
        place = Place()
        for _ in range(24):
            chunk = await history.after(place)
            assert chunk is not None
            place = chunk.after
        assert written == []  # nobody wanted to see them
        read.clear()
        near = history.place(650)
        assert near.sequence > 0
        assert near.frame < 650
        _, seen = await walk(history, near)
        assert seen[-1] == 749
        assert len(read) < 20
        assert history.place(0) == history.place(1) == Place()


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_of_every_length(length: int) -> None:
    reader = ClientProtocol(parse_uri("ws://localhost"), state=State.OPEN, max_size=None)
    reader.receive_data(2 * text_frame(b"x" * length))
    assert [event.data for event in reader.events_received() if isinstance(event, Frame)] == [b"x" * length] * 2


async def test_steps_that_come_again_are_left_out() -> None:
    event = job_event("j", steps=event_pb2.StepsReady(steps=[step(4), step(5), step(5), step(7)]))
    chunk = Chunk.of("j", Place(3, 4), 9, event)
    assert indices(chunk.updates(0)) == [5, 7]
    assert indices(chunk.updates(6)) == [7]
    assert (chunk.after.sequence, chunk.after.frame) == (9, 7)


async def test_a_stalled_client_delays_nobody_and_is_let_go(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: asyncio.Queue[int] = asyncio.Queue()
    ending = watch._ending

    def noted(sending: asyncio.Task[None]) -> tuple[int, str]:
        code, reason = ending(sending)
        ended.put_nowait(code)
        return code, reason

    lost: asyncio.Queue[None] = asyncio.Queue()
    losing = SharedFramesProtocol.connection_lost

    def lose(protocol: SharedFramesProtocol, error: Exception | None) -> None:
        losing(protocol, error)
        lost.put_nowait(None)

    monkeypatch.setattr(watch, "_ending", noted)
    monkeypatch.setattr(SharedFramesProtocol, "connection_lost", lose)
    task_id = await gateway.task()
    events = 90  # some 18 MB as JSON: more than all the buffers on the way hold
    for start in range(0, events * _PER_EVENT, _PER_EVENT):
        await tell(gateway, task_id, steps(range(start, start + _PER_EVENT), people=20))
    await tell(gateway, task_id, state("SUCCEEDED"))
    clients = await watchers(gateway.url, f"/ws/tracking/{task_id}", 9, stalled=1)
    async with asyncio.timeout(120):
        await asyncio.gather(*(client.closed.wait() for client in clients[1:]))
        codes = sorted([await ended.get() for _ in clients])
    assert codes == [1000] * 8 + [watch.TOO_SLOW]
    assert {(client.steps, client.in_order, client.code) for client in clients[1:]} == {(2700, True, 1000)}
    assert clients[0].steps == 0
    async with asyncio.timeout(30):
        await asyncio.gather(*(lost.get() for _ in clients))
    clients[0].leave()
    # Whoever was let go comes back where it was.
    messages, code, _ = await listen(gateway, task_id, "?since_frame=2690")
    assert (frames(messages), code) == (list(range(2690, 2700)), 1000)
