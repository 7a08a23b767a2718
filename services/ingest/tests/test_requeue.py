"""After a restore, jobs go on whatever the broker still has, or remembers."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.consume import consume
from kinemesh.bus.events import last_state
from kinemesh.bus.topology import OUTCOMES, TASKS, outcome_subject, stage_consumer
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.settings import NatsSettings
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until
from kinemesh_ingest.catalogue import jobs
from kinemesh_ingest.catalogue.database import open_database
from kinemesh_ingest.catalogue.outbox import publish_all
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.timeline import Input
from kinemesh_ingest.settings import DatabaseSettings


@pytest.fixture
async def broker(supervisor: Supervisor, tmp_path: Path) -> AsyncIterator[str]:
    """A broker of its own, since its streams are deleted."""
    port, monitor = free_ports(2)
    async with Supervisor() as own:
        await own.start([nats.nats_spec(tmp_path / "data", tmp_path / "log", port, monitor)])
        yield f"nats://127.0.0.1:{port}"


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    admin = create_async_engine(postgres_url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text("CREATE DATABASE requeue"))
        url = make_url(postgres_url).set(database="requeue").render_as_string(hide_password=False)
        async with open_database(DatabaseSettings(url=SecretStr(url), connections=2)) as opened:
            yield opened
        await connection.execute(text("DROP DATABASE requeue WITH (FORCE)"))
    await admin.dispose()


async def requeue(engine: AsyncEngine, broker: str) -> tuple[int | None, str, str]:
    url = engine.url.render_as_string(hide_password=False)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kinemesh_ingest.requeue"),
        env={**os.environ, "KINEMESH_DATABASE__URL": url, "KINEMESH_NATS__URL": broker},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complained = await child.communicate()
    return child.returncode, told.decode(), complained.decode()


async def take(bus: Bus) -> task_pb2.Task:
    consumer = stage_consumer("split")
    taking = await bus.jetstream.pull_subscribe_bind(consumer.durable, consumer.stream)
    [message] = await taking.fetch(1, timeout=20)
    await message.ack_sync()
    await taking.unsubscribe()
    return task_pb2.Task.FromString(message.data)


async def start_jobs(engine: AsyncEngine, conductor: Conductor) -> None:
    async with engine.begin() as connection:
        for name in ("running", "ended"):
            inputs = [Input("main", "asset")]
            described: dict[str, Any] = {"parameters": {"pose": {}}, "trace": {}}
            row = await jobs.add(
                connection, inputs, job_id=name, owner="ada", pipeline="pose", stage="split", **described
            )
            await conductor.start(connection, row, inputs)
    await conductor.cancel("ended", "ada")


async def test_a_broker_that_remembers_what_the_catalogue_forgot(engine: AsyncEngine, broker: str) -> None:
    conductor = Conductor(engine, 1, 0.0)
    await start_jobs(engine, conductor)
    async with connect(NatsSettings(url=broker), "test") as bus:
        await publish_all(engine, bus)
        outcome = task_pb2.TaskOutcome(job_id="running", task_id="running.split")
        for _ in range(2):
            await take(bus)
        await bus.publish(outcome_subject("running"), outcome, "running.split.done")
    # The catalogue is of a moment before that outcome.
    assert await requeue(engine, broker) == (0, "jobs that go on: 1\n", "")
    async with connect(NatsSettings(url=broker), "test") as bus:
        task = await take(bus)
        assert (task.job_id, task.stage, [given.asset_id for given in task.inputs]) == ("running", "split", ["asset"])
        assert await last_state(bus, "running") == "QUEUED"
        assert (await bus.jetstream.stream_info(TASKS)).state.messages == 0
        assert (await bus.jetstream.stream_info(OUTCOMES)).state.messages == 0
        await bus.publish(outcome_subject("running"), outcome, "running.split.done")
        assert (await bus.jetstream.stream_info(OUTCOMES)).state.messages == 1


async def test_streams_that_are_in_use_are_left_alone(engine: AsyncEngine, broker: str) -> None:
    stop = asyncio.Event()
    async with connect(NatsSettings(url=broker), "test") as bus:
        consumer = stage_consumer("pose")

        async def nothing(_: Any) -> None: ...

        working = asyncio.create_task(consume(bus, consumer, nothing, stop))

        async def waits() -> bool:
            return bool((await bus.jetstream.consumer_info(consumer.stream, consumer.durable)).num_waiting)

        await until(waits)
        status, _, complained = await requeue(engine, broker)
        stop.set()
        await working
    assert (status, complained.partition(":")[0]) == (1, "SERVICES_RUNNING")
