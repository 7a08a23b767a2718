"""The endings of a task: what becomes of its message, its outcome and its job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from nats.js.errors import NotFoundError

from kinemesh import errors
from kinemesh.bus import tasks
from kinemesh.bus.connection import Bus
from kinemesh.bus.events import job_event, last_state, publish_event, replay
from kinemesh.bus.tasks import Handle, TaskContext, work
from kinemesh.bus.topology import (
    DEAD_LETTERS,
    OUTCOMES,
    TASKS,
    Consumer,
    dead_letter_subject,
    outcome_subject,
    progress_subject,
)
from kinemesh.event.v1 import event_pb2
from kinemesh.task.v1 import task_pb2
from kinemesh.telemetry.metrics import TASK_FAILURES, TASK_REDELIVERIES, TASK_SECONDS
from kinemesh.testing.waiting import until


class Stage:
    """A stage of one test: its queue, and what became of what was in it."""

    def __init__(self, bus: Bus, consumer: Consumer, job_id: str) -> None:
        self.bus = bus
        self.consumer = consumer
        self.job_id = job_id
        self.name = consumer.durable.removeprefix("stage-")

    @property
    def task(self) -> task_pb2.Task:
        return task_pb2.Task(task_id=f"{self.job_id}.{self.name}", job_id=self.job_id, stage=self.name)

    async def order(self) -> None:
        await self.bus.publish(self.consumer.subject, self.task, self.task.task_id)

    async def state(self, name: str) -> None:
        event = job_event(self.job_id, state=event_pb2.StateChanged(state=name))
        await publish_event(self.bus, event, f"{self.job_id}.{name}")

    async def outcome(self) -> task_pb2.TaskOutcome | None:
        data = await self._last(OUTCOMES, outcome_subject(self.job_id))
        return None if data is None else task_pb2.TaskOutcome.FromString(data)

    async def dead(self) -> task_pb2.Task | None:
        data = await self._last(DEAD_LETTERS, dead_letter_subject(self.name))
        return None if data is None else task_pb2.Task.FromString(data)

    async def is_settled(self) -> bool:
        return await self._last(TASKS, self.consumer.subject) is None

    async def _last(self, stream: str, subject: str) -> bytes | None:
        with suppress(NotFoundError):
            return (await self.bus.jetstream.get_last_msg(stream, subject)).data or b""
        return None

    def endings(self, ending: str) -> float:
        count = TASK_SECONDS.labels(self.name, ending)
        return float(sum(bucket.get() for bucket in count._buckets))

    async def has_ended(self, ending: str) -> None:
        async def so() -> bool:
            return self.endings(ending) > 0

        await until(so)

    @asynccontextmanager
    async def worked_on(self, handle: Handle, drain_s: float = 5.0, slots: int = 1) -> AsyncIterator[asyncio.Event]:
        stop = asyncio.Event()
        running = asyncio.create_task(work(self.bus, [(self.name, handle, slots)], stop, drain_s=drain_s))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(running, 20)

    async def outcome_of(self, handle: Handle) -> task_pb2.TaskOutcome:
        """Order the task, have it worked on by ``handle`` until it is settled, and give what the conductor is told."""
        await self.order()
        async with self.worked_on(handle):
            await until(self.is_settled)
        outcome = await self.outcome()
        assert outcome is not None
        return outcome


@pytest.fixture
def stage(bus: Bus, consumer: Consumer, job_id: str) -> Stage:
    return Stage(bus, consumer, job_id)


def failing(error: BaseException, times: int = 1000) -> tuple[Handle, list[str]]:
    calls: list[str] = []

    async def handle(task: task_pb2.Task, _context: TaskContext) -> task_pb2.TaskDone:
        calls.append(task.task_id)
        if len(calls) <= times:
            raise error
        return task_pb2.TaskDone(frames=7)

    return handle, calls


AWAY = errors.Unavailable("STORE_AWAY", "The store is away.")


class Endless:
    """Work that goes on until it is cancelled."""

    def __init__(self, on_cancel: Callable[[], Any] = lambda: None) -> None:
        self.begun = asyncio.Event()
        self.cancelled = 0
        self._on_cancel = on_cancel

    async def __call__(self, _task: task_pb2.Task, _context: TaskContext) -> task_pb2.TaskDone:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            self._on_cancel()
            raise
        raise AssertionError


async def test_done(stage: Stage) -> None:
    handle, calls = failing(ValueError(), times=0)
    outcome = await stage.outcome_of(handle)
    assert (outcome.task_id, outcome.stage, outcome.done.frames) == (stage.task.task_id, stage.name, 7)
    assert len(calls) == 1
    assert await stage.dead() is None


@pytest.mark.parametrize("state", ["CANCELLED", "FAILED", "SUCCEEDED"])
async def test_job_ended_meanwhile(state: str, stage: Stage) -> None:
    handle = Endless()
    await stage.order()
    async with stage.worked_on(handle):
        await handle.begun.wait()
        await stage.state("RUNNING")
        await stage.state(state)
        await until(stage.is_settled)
    assert handle.cancelled == 1
    assert (await stage.outcome(), await stage.dead()) == (None, None)
    assert stage.endings("job ended") == 1


async def test_work_that_breaks_while_it_is_cancelled_has_not_failed(stage: Stage) -> None:
    def breaks() -> None:
        raise OSError("the file is gone")

    handle = Endless(on_cancel=breaks)
    await stage.order()
    async with stage.worked_on(handle):
        await handle.begun.wait()
        await stage.state("CANCELLED")
        await until(stage.is_settled)
    assert (await stage.outcome(), await stage.dead()) == (None, None)


async def test_job_ended_before(stage: Stage) -> None:
    handle, calls = failing(ValueError(), times=0)
    await stage.state("CANCELLED")
    await stage.order()
    async with stage.worked_on(handle):
        await until(stage.is_settled)
    assert (calls, await stage.outcome()) == ([], None)


async def test_a_job_that_ends_at_any_moment_leaves_no_work(stage: Stage) -> None:
    """Whether its end comes before, while or after the task is begun."""
    handle = Endless()
    async with stage.worked_on(handle):
        await asyncio.gather(stage.order(), stage.state("CANCELLED"))
        await until(stage.is_settled)
    assert await stage.outcome() is None


async def test_an_end_that_was_told_before_it_was_stored(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listened yet when it was told, and who asks at first learns nothing."""
    answers = iter([None])

    async def late(bus: Bus, job_id: str) -> str | None:
        return next(answers, await last_state(bus, job_id))

    monkeypatch.setattr(tasks, "last_state", late)
    await stage.state("CANCELLED")
    await stage.order()
    handle = Endless()
    async with stage.worked_on(handle):
        await until(stage.is_settled)
    assert (handle.cancelled, await stage.outcome()) == (1, None)


async def test_may_pass(stage: Stage) -> None:
    handle, calls = failing(errors.DeadlineExceeded("STORE_SLOW", "The store is slow."), times=2)
    outcome = await stage.outcome_of(handle)
    assert outcome.done.frames == 7
    assert len(calls) == 3
    assert (stage.endings("retried"), stage.endings("done")) == (2, 1)
    assert TASK_REDELIVERIES.labels(stage.name)._value.get() == 2
    assert TASK_FAILURES.labels(stage.name, "STORE_SLOW")._value.get() == 2


async def test_what_is_away_is_waited_for_without_another_delivery(stage: Stage) -> None:
    times = 2 * stage.consumer.max_deliver
    handle, calls = failing(AWAY, times=times)
    outcome = await stage.outcome_of(handle)
    assert outcome.done.frames == 7
    assert len(calls) == times + 1
    assert (stage.endings("retried"), stage.endings("done")) == (0, 1)
    assert TASK_FAILURES.labels(stage.name, "STORE_AWAY")._value.get() == times


async def test_what_stays_away_fails_the_task(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "stage_consumer", lambda _: replace(stage.consumer, patience_s=0.2))
    handle, calls = failing(AWAY)
    outcome = await stage.outcome_of(handle)
    assert outcome.failed.reason == "STORE_AWAY"
    assert len(calls) > stage.consumer.max_deliver
    assert stage.endings("retried") == stage.consumer.max_deliver - 1
    assert TASK_FAILURES.labels(stage.name, "STORE_AWAY")._value.get() == len(calls)


async def test_may_pass_but_never_does(stage: Stage) -> None:
    handle, calls = failing(OSError("disk of /srv/secret"))
    outcome = await stage.outcome_of(handle)
    assert (outcome.failed.reason, outcome.failed.code) == ("INTERNAL", "INTERNAL")
    assert "secret" not in outcome.failed.message
    assert len(calls) == stage.consumer.max_deliver
    assert await stage.dead() == stage.task


async def test_cannot_pass(stage: Stage) -> None:
    handle, calls = failing(errors.InvalidArgument("NO_FRAMES", "There are no frames.", camera="left"))
    outcome = await stage.outcome_of(handle)
    assert (outcome.failed.reason, outcome.failed.message) == ("NO_FRAMES", "There are no frames.")
    assert dict(outcome.failed.metadata) == {"camera": "left"}
    assert len(calls) == 1
    assert await stage.dead() == stage.task


async def test_process_stops_after_its_grace(stage: Stage) -> None:
    handle = Endless()
    await stage.order()
    async with stage.worked_on(handle, drain_s=0.1):
        await handle.begun.wait()
    assert handle.cancelled == 1
    assert stage.endings("given back") == 1
    assert await stage.outcome() is None
    another, calls = failing(ValueError(), times=0)
    async with stage.worked_on(another):
        await until(stage.is_settled)
    assert len(calls) == 1


async def test_process_stops_and_work_ends_in_its_grace(stage: Stage) -> None:
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def handle(_task: task_pb2.Task, _context: TaskContext) -> task_pb2.TaskDone:
        begun.set()
        await let_go.wait()
        return task_pb2.TaskDone(frames=1)

    await stage.order()
    async with stage.worked_on(handle, drain_s=20) as stop:
        await begun.wait()
        stop.set()
        let_go.set()
    await until(stage.is_settled)
    assert await stage.outcome() is not None
    assert stage.endings("given back") == 0


async def test_a_worker_that_is_torn_down_loses_no_task(stage: Stage) -> None:
    """As when another loop of the process fails: nothing is said about the task, so that it is delivered again."""
    handle = Endless()
    await stage.order()
    running = asyncio.create_task(work(stage.bus, [(stage.name, handle, 1)], asyncio.Event()))
    await handle.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert handle.cancelled == 1
    another, calls = failing(ValueError(), times=0)
    async with stage.worked_on(another):
        await until(stage.is_settled)
    assert len(calls) == 1


async def test_a_cancellation_that_nobody_asked_for_is_a_failure(stage: Stage) -> None:
    handle, calls = failing(asyncio.CancelledError(), times=1)
    await stage.order()
    async with stage.worked_on(handle):
        await until(stage.is_settled)
    assert len(calls) == 2
    assert (stage.endings("retried"), stage.endings("done")) == (1, 1)


@pytest.mark.parametrize("payload", [b"\xff\xff", b"", b"\x0a\x01x"])
async def test_bytes_that_are_no_task_go_to_the_dead_letters(payload: bytes, stage: Stage) -> None:
    handle, calls = failing(ValueError(), times=0)
    await stage.bus.publish_bytes(stage.consumer.subject, payload, f"{stage.job_id}.poison", {})
    await stage.order()
    async with stage.worked_on(handle):
        await until(stage.is_settled)
    assert calls == [stage.task.task_id]
    dead = await stage.bus.jetstream.get_last_msg(DEAD_LETTERS, dead_letter_subject(stage.consumer.durable))
    assert (dead.data or b"") == payload


async def test_frames_that_are_published_twice_are_seen_once(bus: Bus, stage: Stage) -> None:
    frames = [event_pb2.FrameResult(frame_index=index, time_sec=index / 30) for index in range(100)]
    for _ in range(2):
        await TaskContext(bus, stage.task).publish_frames("left", frames)
    await stage.state("SUCCEEDED")
    events = [event async for _, event in replay(bus, stage.job_id)]
    seen = [frame.frame_index for event in events for frame in event.frames.frames]
    assert seen == list(range(100))
    assert {event.frames.camera for event in events[:-1]} == {"left"}


async def test_progress_is_reported_but_not_too_often(bus: Bus, stage: Stage) -> None:
    reports: list[task_pb2.TaskProgress] = []

    async def on_progress(message: Any) -> None:
        reports.append(task_pb2.TaskProgress.FromString(message.data))

    listening = await bus.client.subscribe(progress_subject(stage.job_id), cb=on_progress)
    context = TaskContext(bus, stage.task)
    for fraction in (1.5, 0.6, 0.7):
        await context.report(fraction)

    async def came() -> bool:
        return bool(reports)

    await until(came)
    await bus.client.flush()
    await listening.unsubscribe()
    assert [(report.task_id, report.fraction) for report in reports] == [(stage.task.task_id, 1.0)]
