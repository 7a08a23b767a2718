"""Watching a job over several cameras, with a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.events import job_event, publish_event
from kinemesh.common.v1.common_pb2 import Failure
from kinemesh.detect_track.v1.detect_track_pb2 import WatchTrackingResponse
from kinemesh.detect_track.v1.tracking_pb2 import TrackingUpdate
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.settings import NatsSettings
from kinemesh.testing.fixtures import NatsServer
from kinemesh_detect_track.watching import Watching

from .ingest_stand_in import Ingest, ingest_and_jobs
from .site_scene import site


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=nats_server.url), "test") as connected:
        yield connected


@pytest_asyncio.fixture(loop_scope="session")
async def ingest_and_watching(bus: Bus) -> AsyncIterator[tuple[Ingest, Watching]]:
    async with ingest_and_jobs() as (ingest, jobs):
        yield ingest, Watching(bus, jobs)


async def state(bus: Bus, job_id: str, name: str, failure: Failure | None = None) -> None:
    event = job_event(job_id, state=event_pb2.StateChanged(state=name, failure=failure))
    await publish_event(bus, event, f"{job_id}.{name}")


async def steps(bus: Bus, job_id: str, first: int, stop: int, again: str = "") -> None:
    updates = [TrackingUpdate(global_frame_index=number, time_sec=number / 10) for number in range(first, stop)]
    event = job_event(job_id, steps=event_pb2.StepsReady(steps=updates))
    await publish_event(bus, event, f"{job_id}.steps.{first}{again}")


async def progress(bus: Bus, job_id: str, stage: str, done: float) -> None:
    event = job_event(job_id, progress=event_pb2.Progressed(stage=stage, progress=done))
    await publish_event(bus, event, f"{job_id}.{stage}.{done}")


async def read(watching: Watching, job_id: str, since: int = 0, owner: str = "local") -> list[WatchTrackingResponse]:
    async with asyncio.timeout(20), aclosing(watching.watch(job_id, since, owner)) as messages:
        return [message async for message in messages]


def indices(messages: list[WatchTrackingResponse]) -> list[int]:
    return [one.tracking.global_frame_index for one in messages if one.WhichOneof("update") == "tracking"]


async def whole_job(bus: Bus, ingest: Ingest, job_id: str) -> None:
    ingest.add_job(job_id, site())
    await state(bus, job_id, "RUNNING")
    await steps(bus, job_id, 0, 30)
    await progress(bus, job_id, "associate", 0.5)
    await steps(bus, job_id, 30, 45)
    await steps(bus, job_id, 30, 45, again="again")  # a window done twice, long after
    await steps(bus, job_id, 45, 50)
    await state(bus, job_id, "SUCCEEDED")


async def test_every_step_once_in_order_and_the_end_last(
    bus: Bus, ingest_and_watching: tuple[Ingest, Watching]
) -> None:
    ingest, watching = ingest_and_watching
    await whole_job(bus, ingest, "watch-whole")
    messages = await read(watching, "watch-whole")
    assert indices(messages) == list(range(50))
    sequences = [message.sequence for message in messages]
    assert sequences == sorted(set(sequences))
    told = [message.status for message in messages if message.WhichOneof("update") == "status"]
    assert [(one.state, one.stage, one.progress) for one in told] == [
        ("RUNNING", "", 0.0),
        ("RUNNING", "associate", 0.5),
        ("SUCCEEDED", "associate", 1.0),
    ]
    assert messages[-1].status.state == "SUCCEEDED"


@pytest.mark.parametrize("since", [1, 29, 30, 47, 50, 1000])
async def test_from_where_the_caller_left(bus: Bus, ingest_and_watching: tuple[Ingest, Watching], since: int) -> None:
    ingest, watching = ingest_and_watching
    job_id = f"watch-since-{since}"
    await whole_job(bus, ingest, job_id)
    messages = await read(watching, job_id, since)
    assert indices(messages) == list(range(since, 50))
    assert messages[-1].status.state == "SUCCEEDED"


async def test_live_steps_follow_past_ones(bus: Bus, ingest_and_watching: tuple[Ingest, Watching]) -> None:
    ingest, watching = ingest_and_watching
    ingest.add_job("watch-live", site(), state=job_pb2.JOB_STATE_RUNNING)
    await steps(bus, "watch-live", 0, 2)
    async with asyncio.timeout(20), aclosing(watching.watch("watch-live", 0, "local")) as messages:
        got = [(await anext(messages)).tracking.global_frame_index for _ in range(2)]
        await steps(bus, "watch-live", 2, 3)
        got.append((await anext(messages)).tracking.global_frame_index)
        assert got == [0, 1, 2]
        await state(bus, "watch-live", "FAILED", Failure(reason="NO_ROOM", message="There is no room."))
        last = await anext(messages)
        assert (last.status.state, last.status.failure.reason) == ("FAILED", "NO_ROOM")
        assert await anext(messages, None) is None


async def test_an_end_whose_history_is_gone(ingest_and_watching: tuple[Ingest, Watching]) -> None:
    ingest, watching = ingest_and_watching
    ingest.add_job("watch-forgotten", site())
    messages = await read(watching, "watch-forgotten")
    assert [(one.status.state, one.status.progress) for one in messages] == [("SUCCEEDED", 1.0)]


async def test_what_cannot_be_watched(ingest_and_watching: tuple[Ingest, Watching]) -> None:
    ingest, watching = ingest_and_watching
    ingest.add_job("watch-mine", site(), owner="somebody")
    ingest.add_job("watch-pose", site(), pipeline="pose")
    for job_id, since, kind, reason in (
        ("watch-mine", 0, errors.NotFound, "JOB_NOT_FOUND"),
        ("watch-pose", 0, errors.InvalidArgument, "WRONG_PIPELINE"),
        ("watch-pose", -1, errors.InvalidArgument, "OUT_OF_RANGE"),
    ):
        with pytest.raises(kind) as refused:
            await read(watching, job_id, since)
        assert refused.value.reason == reason
