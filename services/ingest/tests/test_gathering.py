"""What metrics say of the whole mesh, asked of a real broker and database."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from kinemesh import errors
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.tasks import bury
from kinemesh.bus.topology import CONDUCTOR, STAGES, stage_consumer, task_subject
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.settings import NatsSettings
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until
from kinemesh_ingest import gathering
from kinemesh_ingest.catalogue.database import open_database
from kinemesh_ingest.settings import DatabaseSettings


@pytest_asyncio.fixture(loop_scope="session")
async def broker(tmp_path: Path) -> AsyncIterator[tuple[Bus, Supervisor]]:
    """A broker with nothing on it but what the test puts there, and what can stop it."""
    port, monitor = free_ports(2)
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor)])
        async with connect(NatsSettings(url=f"nats://127.0.0.1:{port}", timeout_s=1), "test") as bus:
            yield bus, supervisor


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    """A database of its own."""
    engine = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE gathering"))
        yield make_url(postgres_url).set(database="gathering").render_as_string(hide_password=False)
        connection.execute(text("DROP DATABASE gathering WITH (FORCE)"))
    engine.dispose()


@pytest_asyncio.fixture(loop_scope="session")
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    async with open_database(DatabaseSettings(url=url)) as opened:  # type: ignore[arg-type]
        yield opened


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"kinemesh_{name}", labels)


@asynccontextmanager
async def gathered(engine: AsyncEngine, bus: Bus) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(gathering.gather(engine, bus, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)


async def holds(condition: Callable[[], bool]) -> None:
    async def so() -> bool:
        return condition()

    await until(so)


async def told_anew(source: str) -> None:
    """Until all is told of a round that began after this call: the one that is under way may have asked before it."""

    async def next_round() -> None:
        before = value("gathered_timestamp_seconds", source=source)
        await holds(lambda: value("gathered_timestamp_seconds", source=source) != before)

    await next_round()
    await next_round()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_INTERVAL_S", 0.1)
    monkeypatch.setattr(gathering, "_ASK_S", 20.0)
    monkeypatch.setattr(gathering, "_OLD_S", 0.0)


async def test_queues_outcomes_and_dead_letters(engine: AsyncEngine, broker: tuple[Bus, Supervisor]) -> None:
    bus, _ = broker
    for number in range(3):
        task = task_pb2.Task(task_id=f"j{number}.pose", job_id=f"j{number}", stage="pose")
        await bus.publish(task_subject("pose"), task, task.task_id)
    await bury(bus, task_pb2.Task(task_id="j9.track", job_id="j9", stage="track"), errors.Internal("X", "x"))
    consumer = stage_consumer("pose")
    taken = await bus.jetstream.pull_subscribe_bind(consumer.durable, consumer.stream)
    [message] = await taken.fetch(1, timeout=10)
    async with gathered(engine, bus):
        await told_anew("broker")
        assert value("queue_tasks", stage="pose", state="in_hand") == 1
        assert value("queue_tasks", stage="pose", state="waiting") == 2
        # Alerts are about their growth, which is only seen of what was there before.
        assert value("task_failures_total", stage="pose", reason="WORKER_LOST") == 0
        assert value("job_seconds_count", pipeline="pose", state="FAILED") is not None
        in_hand = value("queue_oldest_seconds", stage="pose", state="in_hand")
        waiting = value("queue_oldest_seconds", stage="pose", state="waiting")
        assert in_hand is not None
        assert waiting is not None
        assert 60 > in_hand > waiting > 0, "the first that was queued was the first to be taken"
        assert {stage: value("dead_letters", stage=stage) for stage in STAGES if stage != "track"} == {
            stage: 0 for stage in STAGES if stage != "track"
        }
        assert value("dead_letters", stage="track") == 1
        assert value("outcomes") == 1
        assert (value("outcomes_oldest_seconds") or 0) > 0
        assert value("stream_limit_bytes", stream="KINEMESH_TASKS") == 256 * 2**20
        assert 0 < (value("stream_bytes", stream="KINEMESH_TASKS") or 0) < 10_000
        await message.ack_sync()
        for _ in range(2):
            await (await taken.fetch(1, timeout=10))[0].ack_sync()
        outcomes = await bus.jetstream.pull_subscribe_bind(CONDUCTOR.durable, CONDUCTOR.stream)
        await (await outcomes.fetch(1, timeout=10))[0].ack_sync()
        await told_anew("broker")
        assert value("outcomes") == 0
        assert value("queue_oldest_seconds", stage="pose", state="in_hand") == 0
        assert value("queue_tasks", stage="pose", state="waiting") == 0
        assert value("queue_oldest_seconds", stage="pose", state="waiting") == 0
        assert value("outcomes_oldest_seconds") == 0


JOB = (
    "INSERT INTO jobs (job_id, owner, pipeline, state, stage, progress, parameters, outputs, summary, trace, "
    "create_time) VALUES (:id, 'ada', 'pose', :state, 'split', 0, '{}', '[]', '{}', '{}', now() - interval '1 hour')"
)
STATEMENTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("INSERT INTO outbox (subject, message_id, payload, headers) VALUES ('s', '1', '', '{}')", {}),
    ("INSERT INTO outbox (subject, message_id, payload, headers) VALUES ('s', '2', '', '{}')", {}),
    ("INSERT INTO sweeps (prefix, job_id, due_time) VALUES ('a/', '', now() - interval '1 minute')", {}),
    ("INSERT INTO sweeps (prefix, job_id, due_time) VALUES ('b/', '', now() + interval '1 hour')", {}),
    (
        "INSERT INTO assets (asset_id, owner, filename, content_type, size_bytes, state, upload_id) VALUES "
        "('p', 'ada', 'a.mp4', 'video/mp4', 1, 'PENDING', ''), ('r', 'ada', 'a.mp4', 'video/mp4', 1, 'READY', '')",
        {},
    ),
    (JOB, {"id": "j1", "state": "RUNNING"}),
    (JOB, {"id": "j2", "state": "RUNNING"}),
    (JOB, {"id": "j3", "state": "QUEUED"}),
    (JOB, {"id": "j4", "state": "SUCCEEDED"}),
    ("INSERT INTO forgettings (job_id, global_id, done) VALUES ('j1', 'g', false), ('j2', 'g', true)", {}),
)


async def test_what_waits_in_the_catalogue(engine: AsyncEngine, broker: tuple[Bus, Supervisor]) -> None:
    async with engine.begin() as connection:
        for statement, values in STATEMENTS:
            await connection.execute(text(statement), values)
    async with gathered(engine, broker[0]):
        await told_anew("database")
        assert value("jobs", pipeline="pose", state="RUNNING") == 2
        assert value("jobs", pipeline="pose", state="QUEUED") == 1
        assert value("jobs", pipeline="pitstop", state="QUEUED") == 0
        assert value("jobs", pipeline="pose", state="SUCCEEDED") is None, "these are counted as they end"
        assert 3590 < (value("jobs_oldest_seconds", pipeline="pose", state="RUNNING") or 0) < 4000
        assert value("outbox_messages") == 2
        assert value("sweeps_due") == 1
        assert 59 < (value("sweeps_oldest_seconds") or 0) < 400
        assert value("forgettings_open") == 1
        assert value("uploads_pending") == 1
        assert value("models", state="READY") == 0
        await holds(lambda: (value("outbox_stuck_seconds") or 0) > 0.3)
        begin_s = time.monotonic()
        async with engine.begin() as connection:
            await connection.execute(text("DELETE FROM outbox WHERE message_id = '1'"))
        await holds(lambda: value("outbox_messages") == 1)
        assert (value("outbox_stuck_seconds") or 0) < time.monotonic() - begin_s, "another one is the next"
        async with engine.begin() as connection:
            await connection.execute(text("DELETE FROM outbox"))
        await holds(lambda: value("outbox_messages") == 0)
        assert value("outbox_stuck_seconds") == 0


async def test_what_cannot_be_asked_is_not_told(engine: AsyncEngine, broker: tuple[Bus, Supervisor]) -> None:
    bus, supervisor = broker
    async with gathered(engine, bus):
        await holds(lambda: value("outcomes") == 0 and value("outbox_messages") == 0)
        gathered_at = value("gathered_timestamp_seconds", source="broker")
        await supervisor.stop()
        await holds(lambda: value("queue_tasks", stage="pose", state="waiting") is None)
        assert math.isnan(value("outcomes") or 0)
        assert value("outbox_messages") == 0, "the database still answers"
        assert value("gathered_timestamp_seconds", source="broker") == gathered_at


async def test_statements_and_connections_are_measured(engine: AsyncEngine) -> None:
    def count(operation: str, outcome: str) -> float:
        return value("database_seconds_count", operation=operation, outcome=outcome) or 0.0

    before = count("select", "ok"), count("select", "error"), count("other", "ok")
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(Exception, match="no_such_table"):
            await connection.execute(text("SELECT * FROM no_such_table"))
        await connection.rollback()
        await connection.execute(text("SHOW server_version"))
        assert value("database_connections", state="in_use") == 1
        assert value("database_connections_limit") == 8
    assert value("database_connections", state="in_use") == 0
    assert (count("select", "ok"), count("select", "error"), count("other", "ok")) == tuple(n + 1 for n in before)
