"""What metrics say of the whole mesh: asked of broker and database in the background, not when they are read."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh.bus.connection import Bus
from kinemesh.bus.topology import (
    CONDUCTOR,
    DEAD_LETTERS,
    STAGES,
    TASKS,
    Consumer,
    dead_letter_subject,
    stage_consumer,
    streams,
)
from kinemesh.errors import KinemeshError
from kinemesh.telemetry.metrics import TASK_FAILURES
from kinemesh_ingest import metrics
from kinemesh_ingest.catalogue import backlog, jobs, models
from kinemesh_ingest.domain.pipelines import PIPELINES
from kinemesh_ingest.worker import WORKER_LOST

_INTERVAL_S: Final = 5.0
_ASK_S: Final = 5.0
_OLD_S: Final = 30.0

_WAITING: Final = "waiting"
_IN_HAND: Final = "in_hand"

_FROM_BROKER: Final = (
    metrics.QUEUE_TASKS,
    metrics.QUEUE_OLDEST_SECONDS,
    metrics.OUTCOMES,
    metrics.OUTCOMES_OLDEST_SECONDS,
    metrics.DEAD_LETTERS,
    metrics.STREAM_BYTES,
    metrics.STREAM_LIMIT_BYTES,
)
_FROM_DATABASE: Final = (
    metrics.JOBS,
    metrics.JOBS_OLDEST_SECONDS,
    metrics.OUTBOX_MESSAGES,
    metrics.OUTBOX_STUCK_SECONDS,
    metrics.SWEEPS_DUE,
    metrics.SWEEPS_OLDEST_SECONDS,
    metrics.FORGETTINGS_OPEN,
    metrics.UPLOADS_PENDING,
    metrics.MODELS,
)
_UNLABELLED: Final = frozenset(
    {
        metrics.OUTCOMES,
        metrics.OUTCOMES_OLDEST_SECONDS,
        metrics.OUTBOX_MESSAGES,
        metrics.OUTBOX_STUCK_SECONDS,
        metrics.SWEEPS_DUE,
        metrics.SWEEPS_OLDEST_SECONDS,
        metrics.FORGETTINGS_OPEN,
        metrics.UPLOADS_PENDING,
    }
)

_log = structlog.get_logger()


@dataclass(slots=True)
class _Source:
    """One that is asked; what it said is forgotten when it has not answered for a while."""

    name: str
    ask: Callable[[], Awaitable[None]]
    gauges: tuple[Gauge, ...]
    answered_s: float = -math.inf

    async def gather(self) -> None:
        try:
            async with asyncio.timeout(_ASK_S):
                await self.ask()
        except (NatsError, SQLAlchemyError, KinemeshError, OSError, TimeoutError) as error:
            _log.info("metrics could not be gathered", source=self.name, error=type(error).__name__)
            if time.monotonic() - self.answered_s > _OLD_S:
                _forget(self.gauges)
        else:
            self.answered_s = time.monotonic()
            metrics.GATHERED_TIME.labels(self.name).set_to_current_time()


async def gather(engine: AsyncEngine, bus: Bus, stop: asyncio.Event) -> None:
    """Ask both every few seconds until ``stop`` is set."""
    first = _First()
    sources = (
        _Source("broker", lambda: _ask_broker(bus), _FROM_BROKER),
        _Source("database", lambda: _ask_database(engine, first), _FROM_DATABASE),
    )
    for source in sources:
        _forget(source.gauges)
    _begin_counters()
    while not stop.is_set():
        await asyncio.gather(*(source.gather() for source in sources))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _INTERVAL_S)


def _begin_counters() -> None:
    """Of a series that begins with its first event Prometheus misses that one, and alerts go by it."""
    for stage in STAGES:
        TASK_FAILURES.labels(stage, WORKER_LOST)
    for pipeline in PIPELINES:
        for state in jobs.ENDED:
            metrics.JOB_SECONDS.labels(pipeline, state)


def _forget(gauges: tuple[Gauge, ...]) -> None:
    for gauge in gauges:
        if gauge in _UNLABELLED:
            gauge.set(math.nan)
        else:
            gauge.clear()


async def _ask_broker(bus: Bus) -> None:
    consumers = {info.name: info for info in await bus.jetstream.consumers_info(TASKS)}
    for stage in STAGES:
        consumer = stage_consumer(stage)
        info = consumers.get(consumer.durable)
        if info is None:
            continue
        waiting, in_hand = info.num_pending or 0, info.num_ack_pending or 0
        metrics.QUEUE_TASKS.labels(stage, _WAITING).set(waiting)
        metrics.QUEUE_TASKS.labels(stage, _IN_HAND).set(in_hand)
        metrics.QUEUE_OLDEST_SECONDS.labels(stage, _WAITING).set(await _age_of_waiting(bus, consumer, info))
        metrics.QUEUE_OLDEST_SECONDS.labels(stage, _IN_HAND).set(
            await _age_after(bus, consumer, info.ack_floor.stream_seq) if in_hand and info.ack_floor else 0.0
        )
    conductor = await bus.jetstream.consumer_info(CONDUCTOR.stream, CONDUCTOR.durable)
    unsettled = (conductor.num_pending or 0) + (conductor.num_ack_pending or 0)
    metrics.OUTCOMES.set(unsettled)
    metrics.OUTCOMES_OLDEST_SECONDS.set(
        await _age_after(bus, CONDUCTOR, conductor.ack_floor.stream_seq) if unsettled and conductor.ack_floor else 0.0
    )
    dead = await bus.jetstream.stream_info(DEAD_LETTERS, subjects_filter=dead_letter_subject("*"))
    counts = dead.state.subjects or {}
    for stage in STAGES:
        metrics.DEAD_LETTERS.labels(stage).set(counts.get(dead_letter_subject(stage), 0))
    ours = {config.name for config in streams(replicas=1)}
    for stream in await bus.jetstream.streams_info():
        if stream.config.name in ours:
            metrics.STREAM_BYTES.labels(stream.config.name).set(stream.state.bytes)
            metrics.STREAM_LIMIT_BYTES.labels(stream.config.name).set(_limit(stream.config.max_bytes))


def _limit(configured: int | None) -> float:
    return configured if configured and configured > 0 else math.inf


async def _age_of_waiting(bus: Bus, consumer: Consumer, info: ConsumerInfo) -> float:
    return await _age_after(bus, consumer, info.delivered.stream_seq) if info.num_pending and info.delivered else 0.0


async def _age_after(bus: Bus, consumer: Consumer, sequence: int) -> float:
    """Age of a consumer's first message after a place in its stream, 0 when there is none."""
    try:
        message = await bus.jetstream.get_msg(
            consumer.stream, seq=sequence + 1, subject=consumer.subject, direct=True, next=True
        )
    except NotFoundError:  # it was done meanwhile
        return 0.0
    return max(0.0, (datetime.now(UTC) - message.time).total_seconds()) if message.time else 0.0


@dataclass(slots=True)
class _First:
    """The message that was the outbox's next one when it was last looked at, and since when."""

    outbox_id: int | None = None
    since_s: float = 0.0


async def _ask_database(engine: AsyncEngine, first: _First) -> None:
    async with engine.connect() as connection:
        found = await backlog.read(connection)
    for pipeline in PIPELINES:
        for state in (jobs.QUEUED, jobs.RUNNING):
            count, oldest_s = found.jobs.get((pipeline, state), (0, 0.0))
            metrics.JOBS.labels(pipeline, state).set(count)
            metrics.JOBS_OLDEST_SECONDS.labels(pipeline, state).set(oldest_s)
    for state in (models.IMPORTING, models.READY, models.REJECTED, models.DELETING):
        metrics.MODELS.labels(state).set(found.models.get(state, 0))
    if found.outbox_first != first.outbox_id:
        first.outbox_id, first.since_s = found.outbox_first, time.monotonic()
    metrics.OUTBOX_MESSAGES.set(found.outbox)
    metrics.OUTBOX_STUCK_SECONDS.set(0.0 if found.outbox_first is None else time.monotonic() - first.since_s)
    metrics.SWEEPS_DUE.set(found.sweeps)
    metrics.SWEEPS_OLDEST_SECONDS.set(found.sweeps_oldest_s)
    metrics.FORGETTINGS_OPEN.set(found.forgettings)
    metrics.UPLOADS_PENDING.set(found.uploads)
