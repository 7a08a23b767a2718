"""Working on the tasks of a stage: at least once, stoppable, and with a reason for every failure.

A task ends in one of five ways:

==================  ====================================================================
done                its outcome is published, then the message is acknowledged
job ended meanwhile the work is cancelled and the message acknowledged; nobody waits for it
may pass            the message is delivered again after a while; before that the worker
                    waits some time for a server that is away, which is not the task's fault
cannot pass         a failed outcome is published and the task put among the dead letters
process stops       the message is given back at once, for another worker
==================  ====================================================================

A killed process settles nothing; its messages are delivered again once ``ack_wait_s`` has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from opentelemetry.trace import SpanKind

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.consume import backoff, consume
from kinemesh.bus.events import TERMINAL, job_event, last_state, publish_event
from kinemesh.bus.topology import (
    Consumer,
    dead_letter_subject,
    event_subject,
    outcome_subject,
    progress_subject,
    stage_consumer,
)
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.memory import give_back_freed_memory
from kinemesh.serving.status import as_error, to_failure
from kinemesh.task.v1 import task_pb2
from kinemesh.telemetry.metrics import (
    FAILURES,
    TASK_FAILURES,
    TASK_FRAMES,
    TASK_REDELIVERIES,
    TASK_SECONDS,
    TASKS_IN_HAND,
)
from kinemesh.telemetry.tracing import span

_JOB_ENDED = "job ended"
_GIVEN_BACK = "given back"
_REPORT_INTERVAL_S = 1.0
_FRAMES_PER_EVENT = 30
_IDLE_S = 1.0
_ASKED_AGAIN_S = 2.0

_log = structlog.get_logger()


@dataclass(slots=True)
class TaskContext:
    """What a handler may say while it works."""

    bus: Bus
    task: task_pb2.Task
    _reported_at: float = field(default=0.0)

    async def report(self, fraction: float) -> None:
        """Say how far the task is, 0 to 1; said too often it is not sent."""
        now = time.monotonic()
        if now - self._reported_at < _REPORT_INTERVAL_S:
            return
        self._reported_at = now
        task = self.task
        message = task_pb2.TaskProgress(
            task_id=task.task_id, job_id=task.job_id, stage=task.stage, fraction=min(max(fraction, 0.0), 1.0)
        )
        await self.bus.notify(progress_subject(task.job_id), message)

    async def publish_frames(self, camera: str, frames: Sequence[event_pb2.FrameResult]) -> None:
        """Append results to the job's events; said again after a crash they are dropped by their ids."""
        for start in range(0, len(frames), _FRAMES_PER_EVENT):
            batch = frames[start : start + _FRAMES_PER_EVENT]
            event = job_event(self.task.job_id, frames=event_pb2.FramesReady(camera=camera, frames=batch))
            await publish_event(self.bus, event, f"{self.task.task_id}.frames.{batch[0].frame_index}")

    async def publish_steps(self, steps: Sequence[tracking_pb2.TrackingUpdate]) -> None:
        """The same with steps over all cameras."""
        for start in range(0, len(steps), _FRAMES_PER_EVENT):
            batch = steps[start : start + _FRAMES_PER_EVENT]
            event = job_event(self.task.job_id, steps=event_pb2.StepsReady(steps=batch))
            await publish_event(self.bus, event, f"{self.task.task_id}.steps.{batch[0].global_frame_index}")


Handle = Callable[[task_pb2.Task, TaskContext], Awaitable[task_pb2.TaskDone]]
"""Does a task. May be cancelled at any await, and leaves nothing running then."""


@dataclass(slots=True, eq=False)
class _Work:
    """A task in hand, and for which ending it was cancelled, if it was."""

    running: asyncio.Task[task_pb2.TaskDone | None]
    ending: str = ""

    def cancel(self, ending: str) -> None:
        self.ending = self.ending or ending
        self.running.cancel()


_InHand = defaultdict[str, set[_Work]]


async def work(
    bus: Bus, handlers: Iterable[tuple[str, Handle, int]], stop: asyncio.Event, *, drain_s: float = 5.0
) -> None:
    """Work on stages until ``stop`` is set; ``handlers`` are ``(stage, handle, slots)``.

    After ``stop``, work in hand has ``drain_s`` seconds to end before it is given back.
    """
    in_hand: _InHand = defaultdict(set)

    async def on_state(message: Msg) -> None:
        event = event_pb2.JobEvent.FromString(message.data)
        if event.state.state in TERMINAL:
            for one in in_hand.get(event.job_id, ()):
                one.cancel(_JOB_ENDED)

    watching = await bus.client.subscribe(event_subject("*", "state"), cb=on_state)
    ended = asyncio.Event()
    beside = [
        asyncio.create_task(_drain(in_hand, stop, drain_s)),
        asyncio.create_task(_give_back_when_idle(in_hand, ended)),
    ]
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(stop.wait())
            for stage, handle, slots in handlers:
                consumer = stage_consumer(stage)
                group.create_task(
                    consume(bus, consumer, _settler(bus, consumer, handle, in_hand, ended), stop, slots=slots)
                )
    finally:
        for task in beside:
            task.cancel()
        with contextlib.suppress(NatsError, OSError):
            await watching.unsubscribe()


async def _drain(in_hand: _InHand, stop: asyncio.Event, drain_s: float) -> None:
    await stop.wait()
    await asyncio.sleep(drain_s)
    for one in [one for works in in_hand.values() for one in works]:
        one.cancel(_GIVEN_BACK)


async def _give_back_when_idle(in_hand: _InHand, ended: asyncio.Event) -> None:
    """Whenever there has been nothing to do for a moment, let the system have the memory that the work needed."""
    while await ended.wait():
        ended.clear()
        await asyncio.sleep(_IDLE_S)
        if not in_hand and not ended.is_set():
            await asyncio.to_thread(give_back_freed_memory)


def _settler(
    bus: Bus, consumer: Consumer, handle: Handle, in_hand: _InHand, ended: asyncio.Event
) -> Callable[[Msg], Awaitable[None]]:
    async def settle(message: Msg) -> None:
        task = _read(message.data)
        with (
            structlog.contextvars.bound_contextvars(job_id=task.job_id, task_id=task.task_id),
            span(f"task {task.stage}", SpanKind.CONSUMER, parent=message.headers or {}, task_id=task.task_id),
        ):
            if message.metadata.num_delivered > 1:
                TASK_REDELIVERIES.labels(task.stage).inc()
            started = time.perf_counter()
            with TASKS_IN_HAND.labels(task.stage).track_inprogress():
                ending = await _do(bus, consumer, message, task, handle, in_hand)
            ended.set()
            seconds = time.perf_counter() - started
            TASK_SECONDS.labels(task.stage, ending).observe(seconds)
            _log.info("task ended", stage=task.stage, ending=ending, seconds=round(seconds, 3))

    return settle


def _read(data: bytes) -> task_pb2.Task:
    task = task_pb2.Task.FromString(data)
    if not (task.task_id and task.job_id and task.stage):
        raise DecodeError("a task without its ids")  # other messages parse as a task as well
    return task


async def _do(bus: Bus, consumer: Consumer, message: Msg, task: task_pb2.Task, handle: Handle, in_hand: _InHand) -> str:
    one = _Work(asyncio.ensure_future(_unless_ended(bus, consumer, task, handle)))
    # Before the job's state is asked for, so that no change of it is missed.
    in_hand[task.job_id].add(one)
    asking = asyncio.create_task(_ask_again(bus, task.job_id, one))
    try:
        done = await one.running
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - each becomes an ending with a reason
        return await _not_done(bus, consumer, message, task, one, error)
    finally:
        asking.cancel()
        in_hand[task.job_id].discard(one)
        if not in_hand[task.job_id]:
            del in_hand[task.job_id]
    if done is None:
        await message.ack()
        return _JOB_ENDED
    TASK_FRAMES.labels(task.stage).inc(done.frames)
    await _publish_outcome(bus, task, done=done)
    await message.ack()
    return "done"


async def _unless_ended(bus: Bus, consumer: Consumer, task: task_pb2.Task, handle: Handle) -> task_pb2.TaskDone | None:
    if await last_state(bus, task.job_id) in TERMINAL:
        return None
    pauses = itertools.chain(consumer.backoff_s, itertools.repeat(consumer.backoff_s[-1]))
    away_s: float | None = None
    while True:
        try:
            return await handle(task, TaskContext(bus, task))
        except errors.Unavailable as error:
            now_s, pause_s = time.monotonic(), next(pauses)
            away_s = away_s or now_s
            if now_s + pause_s > away_s + consumer.patience_s:
                raise
            note_failure(task.stage, error.reason)
            _log.warning("task waits for what is away", reason=error.reason, seconds=pause_s)
        await asyncio.sleep(pause_s)


async def _ask_again(bus: Bus, job_id: str, one: _Work) -> None:
    """End work whose job has ended unheard: while an end is told but not stored yet, whoever asks learns nothing."""
    while True:
        await asyncio.sleep(_ASKED_AGAIN_S)
        with contextlib.suppress(NatsError, OSError, errors.KinemeshError):
            if await last_state(bus, job_id) in TERMINAL:
                one.cancel(_JOB_ENDED)
                return


async def _not_done(
    bus: Bus, consumer: Consumer, message: Msg, task: task_pb2.Task, one: _Work, error: BaseException
) -> str:
    if one.ending == _JOB_ENDED:
        await message.ack()
        return _JOB_ENDED
    if one.ending == _GIVEN_BACK:
        await message.nak()
        return _GIVEN_BACK
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise error  # not the work but its worker was cancelled: the message is delivered again
    return await _fail(bus, consumer, message, task, error)


async def _fail(bus: Bus, consumer: Consumer, message: Msg, task: task_pb2.Task, error: BaseException) -> str:
    visible = as_error(error)
    note_failure(task.stage, visible.reason)
    last = message.metadata.num_delivered >= consumer.max_deliver
    _log.warning("task failed", reason=visible.reason, delivery=message.metadata.num_delivered, exc_info=error)
    if visible.retryable and not last:
        await message.nak(delay=backoff(consumer, message))
        return "retried"
    await bury(bus, task, visible)
    await message.ack()
    return "failed"


def note_failure(stage: str, reason: str) -> None:
    """Count a try that failed."""
    FAILURES.labels(reason).inc()
    TASK_FAILURES.labels(stage, reason).inc()


async def bury(bus: Bus, task: task_pb2.Task, error: errors.KinemeshError) -> None:
    """Put a task among the dead letters and tell the conductor why."""
    await bus.publish(dead_letter_subject(task.stage), task, f"{task.task_id}.dead")
    await _publish_outcome(bus, task, failed=to_failure(error))


async def _publish_outcome(bus: Bus, task: task_pb2.Task, **ending: object) -> None:
    outcome = task_pb2.TaskOutcome(task_id=task.task_id, job_id=task.job_id, stage=task.stage, **ending)  # type: ignore[arg-type]
    await bus.publish(outcome_subject(task.job_id), outcome, f"{task.task_id}.{next(iter(ending))}")
