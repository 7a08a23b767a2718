"""Galleries: whom an environment knows after a job, and how people are forgotten."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from kinemesh import errors
from kinemesh.bus.events import job_event, publish_event, replay
from kinemesh.bus.tasks import TaskContext
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.environment.v1 import environment_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.model.v1 import model_pb2
from kinemesh.results.columns_parquet import PATH_SCHEMA, PERSON_SCHEMA, from_parquet, to_parquet, to_table
from kinemesh.results.sightings import PathRows, PersonRows
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until
from kinemesh_ingest.gallery import Gallery

Environment = environment_pb2.Environment
EMBEDDER = "looks"


def people(*ids: str, embedding: Any = None, first_sec: float = 1.0) -> PersonRows:
    count = len(ids)
    vectors = np.eye(4, dtype=np.float32)[:count] if embedding is None else np.array(embedding, np.float32)
    return PersonRows(
        np.arange(1, count + 1, dtype=np.int32), np.array(ids, np.str_), np.zeros(count, np.bool_),
        np.full(count, first_sec), np.full(count, first_sec + 5), np.array(["c1,c2"] * count, np.str_),
        np.ones(count, np.float32), vectors,
    )  # fmt: skip


def paths(*ids: str) -> bytes:
    count = len(ids)
    one = np.ones(count)
    rows = PathRows(
        step=np.arange(count),
        time_sec=np.arange(count) / 10.0,
        person=np.ones(count, np.int32),
        global_id=np.array(ids, np.str_),
        x=one,
        y=one,
        vx=one,
        vy=one,
        cameras=np.ones(count, np.int32),
    )
    return to_parquet(to_table(rows, PATH_SCHEMA))


class Seeing:
    """Plays resolve: finds the people it is told to, and notes whom the gallery knew."""

    def __init__(self, ingest: Any, store: ObjectStore, found: PersonRows) -> None:
        self.ingest = ingest
        self.store = store
        self.found = found
        self.known: PersonRows | None = None

    async def __call__(self, task: task_pb2.Task) -> task_pb2.TaskDone | None:
        if task.stage != "resolve":
            return None
        recalled = await self.store.get_bytes(keys.stage_result(task.job_id, "recall", "all", 0))
        self.known = from_parquet(PersonRows, recalled, PERSON_SCHEMA)
        table = to_parquet(to_table(self.found, PERSON_SCHEMA))
        await self.store.put_bytes(keys.stage_result(task.job_id, "resolve", "all", "people"), table)
        ids = self.found.global_id.tolist()
        await publish_event(
            self.ingest.bus,
            job_event(task.job_id, steps=event_pb2.StepsReady(steps=[tracking_pb2.TrackingUpdate(frame_index=1)])),
            f"{task.task_id}.steps.0",
        )
        done = task_pb2.TaskDone()
        for name, data in (
            ("trajectories.parquet", paths(*ids)),
            ("identities.json", json.dumps({"persons": [{"global_id": one} for one in ids]}).encode()),
            ("trajectories.csv", "".join(f"{line}\n" for line in ["global_id", *ids]).encode()),
            ("heatmap.png", b"png"),
        ):
            await self.store.put_bytes(keys.output(task.job_id, name), data)
            done.outputs.add(name=name, content_type="application/octet-stream", size_bytes=len(data))
        return done


async def identities(ingest: Any, environment_id: str, **more: Any) -> environment_pb2.ListIdentitiesResponse:
    request = environment_pb2.ListIdentitiesRequest(environment_id=environment_id, **more)
    answer: environment_pb2.ListIdentitiesResponse = await call(
        ingest.environments.ListIdentities, request, owner="ada"
    )
    return answer


async def forget(ingest: Any, environment_id: str, global_id: str, owner: str = "ada", **more: Any) -> int:
    request = environment_pb2.DeleteIdentityRequest(environment_id=environment_id, global_id=global_id, **more)
    return int((await call(ingest.environments.DeleteIdentity, request, owner=owner)).changed_jobs)


@pytest.fixture
async def embedder(ingest: Any) -> str:
    """An embedder that is served, and no default."""
    request = model_pb2.GetModelRequest(model=EMBEDDER)
    try:
        await call(ingest.models.GetModel, request, owner="ada")
    except errors.NotFound:
        weights = b"\x08\x08\x12" + json.dumps({"labels": []}).encode()
        asset = await ingest.upload(weights, kind="WEIGHTS")
        bring = model_pb2.ImportModelRequest(
            asset_id=asset.asset_id, model=EMBEDDER, task=model_pb2.MODEL_TASK_EMBEDDER
        )
        await call(ingest.models.ImportModel, bring, owner="ada")

        async def is_ready() -> bool:
            found = (await call(ingest.models.GetModel, request, owner="ada")).model
            assert found.state != model_pb2.MODEL_STATE_REJECTED, found.failure
            return bool(found.state == model_pb2.MODEL_STATE_READY)

        await until(is_ready, 60)
    return EMBEDDER


async def test_a_gallery_knows_people_from_job_to_job_until_they_are_deleted(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore, embedder: str
) -> None:
    one, two, three = (str(uuid.uuid4()) for _ in range(3))
    given = await ingest.site(clip, "club", "c1", gallery={"enabled": True, "retention_days": 7})
    given.clock_start_time.FromJsonString("2026-05-04T08:00:00Z")
    await call(
        ingest.environments.UpdateEnvironment,
        environment_pb2.UpdateEnvironmentRequest(environment=given),
        owner="ada",
    )
    first = Seeing(ingest, s3_store, people(one, two))
    workers.on_task = first
    job = await ingest.ended((await ingest.start_over("club", embedder=embedder)).job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [stage.stage for stage in job.stages][-1] == "remember"
    assert first.known is not None
    assert len(first.known) == 0

    second = Seeing(ingest, s3_store, people(two, three, embedding=[[0, 0, 1, 0], [0, 0, 0, 1]], first_sec=60))
    workers.on_task = second
    later = await ingest.ended((await ingest.start_over("club", embedder=embedder)).job_id)
    assert second.known is not None
    assert sorted(second.known.global_id.tolist()) == sorted([one, two])
    assert second.known.known.all()
    assert np.isnan(second.known.first_sec).all()
    assert second.known.cameras.tolist() == ["c1,c2"] * 2
    known = await identities(ingest, "club")
    assert [(who.global_id, who.job_count) for who in known.identities[-1:]] == [(one, 1)]
    assert {who.global_id: who.job_count for who in known.identities} == {one: 1, two: 2, three: 1}
    middle = next(who for who in known.identities if who.global_id == two)
    assert middle.first_seen_time.ToJsonString() == "2026-05-04T08:00:01Z"
    assert middle.last_seen_time.ToJsonString() == "2026-05-04T08:01:05Z"
    assert list(middle.cameras) == ["c1", "c2"]
    age = middle.expire_time.ToDatetime() - later.create_time.ToDatetime()
    assert 7 <= age.total_seconds() / 86400 < 7.1
    page = await identities(ingest, "club", page_size=2)
    rest = await identities(ingest, "club", page_size=2, page_token=page.next_page_token)
    assert [*page.identities, *rest.identities] == list(known.identities)
    with pytest.raises(errors.NotFound):
        await forget(ingest, "club", two, owner="eve")

    assert await forget(ingest, "club", two, request_id="bye") == 2
    assert await forget(ingest, "club", two, request_id="bye") == 2
    assert {who.global_id for who in (await identities(ingest, "club")).identities} == {one, three}

    async def is_gone() -> bool:
        for finished in (job, later):
            for output in finished.outputs:
                if two.encode() in await s3_store.get_bytes(keys.output(finished.job_id, output.name)):
                    return False
        return len(list_of((await ingest.get_job(later.job_id)), "trajectories.csv")) == 1

    def list_of(finished: job_pb2.Job, name: str) -> list[job_pb2.JobOutput]:
        before = next(one for one in later.outputs if one.name == name)
        return [one for one in finished.outputs if one.name == name and one.size_bytes < before.size_bytes]

    await until(is_gone)
    left = await s3_store.get_bytes(keys.output(job.job_id, "trajectories.parquet"))
    assert from_parquet(PathRows, left, PATH_SCHEMA).global_id.tolist() == [one]
    assert await s3_store.get_bytes(keys.output(job.job_id, "heatmap.png")) == b"png"
    kinds = [event.WhichOneof("kind") async for _, event in replay(ingest.bus, job.job_id)]
    assert "steps" not in kinds
    assert "state" in kinds
    with pytest.raises(errors.NotFound) as refused:
        await forget(ingest, "club", two)
    assert refused.value.reason == "IDENTITY_NOT_FOUND"


async def test_a_person_deleted_during_a_job_does_not_come_back(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore, embedder: str
) -> None:
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    await ingest.site(clip, "door", "c1", gallery={"enabled": True})
    workers.on_task = Seeing(ingest, s3_store, people(one, two))
    await ingest.ended((await ingest.start_over("door", embedder=embedder)).job_id)
    seeing = Seeing(ingest, s3_store, people(one, two))

    async def meanwhile(task: task_pb2.Task) -> task_pb2.TaskDone | None:
        if task.stage == "resolve":
            assert await forget(ingest, "door", one) == 1
        return await seeing(task)

    workers.on_task = meanwhile
    job = await ingest.ended((await ingest.start_over("door", embedder=embedder)).job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [who.global_id for who in (await identities(ingest, "door")).identities] == [two]

    async def is_gone() -> bool:
        return one.encode() not in await s3_store.get_bytes(keys.output(job.job_id, "trajectories.csv"))

    await until(is_gone)


async def test_people_are_remembered_once_and_forgotten_in_time(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore, embedder: str, postgres_url: str
) -> None:
    one = {"one": str(uuid.uuid4())}
    engine = create_async_engine(postgres_url, poolclass=NullPool)
    await ingest.site(clip, "gate", "c1", gallery={"enabled": True})
    seeing = Seeing(ingest, s3_store, people(one["one"]))

    async def is_remembered() -> bool:
        return bool((await identities(ingest, "gate")).total_size)

    async def again(task: task_pb2.Task) -> task_pb2.TaskDone | None:
        if task.stage == "finalize":
            await until(is_remembered)
            before = (await identities(ingest, "gate")).identities
            table = to_parquet(to_table(people(one["one"], str(uuid.uuid4())), PERSON_SCHEMA))
            await s3_store.put_bytes(keys.stage_result(task.job_id, "resolve", "all", "people"), table)
            await Gallery(engine, ingest.bus, s3_store, 1.0).remember(task, TaskContext(ingest.bus, task))
            assert (await identities(ingest, "gate")).identities == before
        return await seeing(task)

    workers.on_task = again
    job = await ingest.ended((await ingest.start_over("gate", embedder=embedder, render=True)).job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    # The site has no time of day.
    assert (await identities(ingest, "gate")).identities[0].first_seen_time == job.create_time
    async with engine.begin() as connection:
        aged = "UPDATE identities SET remember_time = now() - interval '31 days' WHERE global_id = :one"
        await connection.execute(text(aged), one)
    assert not await is_remembered()

    async def is_forgotten() -> bool:
        async with engine.connect() as connection:
            query = text("SELECT count(*) FROM identities WHERE global_id = :one")
            return not (await connection.execute(query, one)).scalar_one()

    await until(is_forgotten)
    await engine.dispose()
    # The gallery no longer knows the person, but the job's results still do.
    assert await forget(ingest, "gate", one["one"]) == 1


async def test_nobody_is_remembered_without_a_gallery_or_by_another_embedder(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore, embedder: str
) -> None:
    await ingest.site(clip, "lane", "c1", gallery={"enabled": True})
    seeing = Seeing(ingest, s3_store, people(str(uuid.uuid4())))
    workers.on_task = seeing
    await ingest.ended((await ingest.start_over("lane", embedder=embedder)).job_id)
    assert (await identities(ingest, "lane")).total_size == 1
    # No embedder is the default, so that this job compares nobody, and has nothing to keep.
    await ingest.ended((await ingest.start_over("lane")).job_id)
    assert seeing.known is not None
    assert len(seeing.known) == 0
    assert (await identities(ingest, "lane")).identities[0].job_count == 2
    off = Environment(environment_id="lane")
    update = environment_pb2.UpdateEnvironmentRequest(environment=off, update_mask=FieldMask(paths=["gallery"]))
    await call(ingest.environments.UpdateEnvironment, update, owner="ada")
    job = await ingest.ended((await ingest.start_over("lane", embedder=embedder)).job_id)
    assert "remember" not in [stage.stage for stage in job.stages]
