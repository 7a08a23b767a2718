"""A broker of this folder's own, so that its queues hold nothing but what a test put there."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from nats.js.errors import NotFoundError

from kinemesh.bus import tasks
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.topology import TASKS, Consumer, task_subject
from kinemesh.embedded import nats
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.settings import NatsSettings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The URL of a broker."""
    folder = tmp_path_factory.mktemp("bus")
    port, monitor = free_ports(2)
    async with Supervisor() as supervisor:
        await supervisor.start([nats.nats_spec(folder / "data", folder / "log", port, monitor)])
        yield f"nats://127.0.0.1:{port}"


@pytest_asyncio.fixture(loop_scope="session")
async def bus(broker: str) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=broker), "test") as opened:
        yield opened


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


@pytest_asyncio.fixture(loop_scope="session")
async def consumer(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Consumer]:
    """The consumer of a stage that only this test has, with all times short."""

    def brief(stage: str) -> Consumer:
        subject = task_subject(stage)
        return Consumer(TASKS, f"stage-{stage}", subject, ack_wait_s=0.9, max_deliver=3, backoff_s=(0.05, 0.1))

    monkeypatch.setattr(tasks, "stage_consumer", brief)
    own = brief(f"test{uuid.uuid4().hex}")
    await bus.jetstream.add_consumer(own.stream, own.config())
    yield own
    with suppress(NotFoundError):
        await bus.jetstream.delete_consumer(own.stream, own.durable)
    await bus.jetstream.purge_stream(own.stream, subject=own.subject)
