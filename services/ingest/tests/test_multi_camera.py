"""Jobs over the cameras of an environment, and whom the environment knows afterwards."""

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
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.model.v1 import model_pb2
from kinemesh.results.columns import from_parquet, to_parquet, to_table
from kinemesh.results.sightings import PATH_SCHEMA, PERSON_SCHEMA, PathRows, PersonRows
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until
from kinemesh_ingest.gallery import Gallery

Environment = environment_pb2.Environment
EMBEDDER = "looks"


async def create(ingest: Any, environment: Environment, owner: str = "ada") -> Environment:
    request = environment_pb2.CreateEnvironmentRequest(environment=environment)
    answer: Environment = (await call(ingest.environments.CreateEnvironment, request, owner=owner)).environment
    return answer


async def site(ingest: Any, clip: bytes, environment_id: str, *cameras: str, **more: Any) -> Environment:
    """An environment whose cameras have a recording each."""
    environment = Environment(environment_id=environment_id, **more)
    for name in cameras:
        asset_id = (await ingest.upload(clip)).asset_id
        environment.cameras.add(camera=name).sub_videos.add(asset_id=asset_id)
    return await create(ingest, environment)


async def start(
    ingest: Any, environment_id: str, owner: str = "ada", request: dict[str, Any] | None = None, **more: Any
) -> job_pb2.Job:
    asked = parameters_pb2.MultiCameraParameters(environment_id=environment_id, **more)
    whole = job_pb2.CreateJobRequest(parameters=parameters_pb2.JobParameters(multi_camera=asked), **(request or {}))
    answer: job_pb2.Job = (await call(ingest.jobs.CreateJob, whole, owner=owner)).job
    return answer


async def test_a_job_runs_over_all_cameras(ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore) -> None:
    async def write(task: task_pb2.Task) -> None:
        await s3_store.put_bytes(keys.stage_result(task.job_id, task.stage, "all", 0), b"what people look like")

    workers.on_task = write
    first, second, third = [(await ingest.upload(clip)).asset_id for _ in range(3)]
    given = Environment(environment_id="factory")
    given.cameras.add(camera="c09")
    given.cameras.add(camera="c12")
    given.cameras[0].sub_videos.add(asset_id=first, start_sec=1.0)
    given.cameras[0].sub_videos.add(asset_id=third)
    given.cameras[1].sub_videos.add(asset_id=second)
    await create(ingest, given)
    job = await start(ingest, "factory", render=True)
    assert job.parameters.multi_camera.model == "person_detector"
    assert job.parameters.multi_camera.threshold == 0.5
    assert job.parameters.multi_camera.environment.owner == "ada"
    job = await ingest.ended(job.job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [(one.camera, one.asset_id, round(one.start_sec, 3)) for one in job.inputs] == [
        ("c09", first, 1.0), ("c09.2", third, 3.0), ("c12", second, 0.0),
    ]  # fmt: skip
    done = workers.of(job.job_id)
    assert sorted(done) == sorted(set(done))
    assert [(one.stage, one.tasks) for one in job.stages] == [
        ("split", 3), ("detect", 6), ("track", 6), ("associate", 2), ("resolve", 1), ("render", 6), ("mosaic", 2),
        ("finalize", 1),
    ]  # fmt: skip
    assert done.index("track.c12.0") < done.index("associate.0") < done.index("associate.1") < done.index("resolve")
    assert done.index("resolve") < done.index("mosaic.1") < done.index("finalize")
    last = next(task for task in workers.seen if task.task_id == f"{job.job_id}.associate.1")
    assert [(one.index, one.start_sec, round(one.stop_sec, 3)) for one in last.windows] == [(0, 0, 2.5), (1, 2.5, 5.0)]
    assert last.window == last.windows[1]
    assert last.inputs[1].start_sec == pytest.approx(3.0)
    spans = [(one.start_sec, one.stop_sec) for one in last.segments if one.camera == "c09.2"]
    assert spans[0][0] == 0.0
    assert spans[0][1] == spans[1][0]
    assert spans[1][1] == pytest.approx(2.0)

    async def is_forgotten() -> bool:
        left = {one.key.split("/")[2] for one in await s3_store.list_objects(keys.job_prefix(job.job_id))}
        return left == {"render", "mosaic", "finalize"}

    await until(is_forgotten)


async def test_stages_that_are_not_wanted_are_left_out_and_windows_may_be_one(
    ingest: Any, clip: bytes, workers: Any
) -> None:
    await site(ingest, clip, "small", "c1")
    job = await ingest.ended((await start(ingest, "small")).job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [one.stage for one in job.stages] == ["split", "detect", "track", "associate", "resolve"]
    assert [task for task in workers.of(job.job_id) if task.startswith("associate")] == ["associate.0"]
    logs = await call(ingest.jobs.ListJobLogs, job_pb2.ListJobLogsRequest(job_id=job.job_id), owner="ada")
    assert any(line.level == "WARNING" and "embedder" in line.text for line in logs.logs)
    assert job.parameters.multi_camera.embedder == ""


async def test_jobs_that_cannot_be_are_refused(ingest: Any, clip: bytes) -> None:
    await create(ingest, Environment(environment_id="empty"))
    blind = Environment(environment_id="blind")
    blind.cameras.add(camera="c1")
    await create(ingest, blind)
    whole = await site(ingest, clip, "whole", "c1")
    inputs = [job_pb2.JobInput(asset_id=whole.cameras[0].sub_videos[0].asset_id)]
    for environment_id, more, reason in (
        ("nowhere", {}, "ENVIRONMENT_NOT_FOUND"),
        ("", {}, "MISSING_FIELD"),
        ("empty", {}, "NO_CAMERAS"),
        ("blind", {}, "CAMERA_WITHOUT_VIDEOS"),
        ("whole", {"request": {"inputs": inputs}}, "INPUTS_NOT_TAKEN"),
        ("whole", {"owner": "eve"}, "ENVIRONMENT_NOT_FOUND"),
        ("whole", {"threshold": 1.5}, "OUT_OF_RANGE"),
        ("whole", {"model": "nope"}, "MODEL_NOT_FOUND"),
        ("whole", {"embedder": "nope"}, "MODEL_NOT_FOUND"),
        ("whole", {"embedder": "person_detector"}, "WRONG_MODEL_TASK"),
    ):
        with pytest.raises(errors.KinemeshError) as refused:
            await start(ingest, environment_id, **more)
        assert refused.value.reason == reason


async def test_an_environment_stays_while_a_job_uses_it_and_changes_leave_the_job_alone(
    ingest: Any, clip: bytes, idle_workers: Any
) -> None:
    whole = await site(ingest, clip, "busy", "c1")
    job = await start(ingest, "busy", request={"request_id": "once"})
    assert (await start(ingest, "busy", request={"request_id": "once"})).job_id == job.job_id
    delete = environment_pb2.DeleteEnvironmentRequest(environment_id="busy")
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(ingest.environments.DeleteEnvironment, delete, owner="ada")
    assert (refused.value.reason, refused.value.metadata["job_id"]) == ("ENVIRONMENT_IN_USE", job.job_id)
    whole.cameras[0].camera = "c2"
    update = environment_pb2.UpdateEnvironmentRequest(environment=whole, update_mask=FieldMask(paths=["cameras"]))
    await call(ingest.environments.UpdateEnvironment, update, owner="ada")
    async with ingest.worked_by(idle_workers):
        job = await ingest.ended(job.job_id)
    assert job.parameters.multi_camera.environment.cameras[0].camera == job.inputs[0].camera == "c1"
    await call(ingest.environments.DeleteEnvironment, delete, owner="ada")
    assert (await ingest.get_job(job.job_id)).state == job_pb2.JOB_STATE_SUCCEEDED


async def test_killing_ingest_between_windows_loses_nothing(ingest: Any, clip: bytes, workers: Any) -> None:
    killed: list[str] = []

    async def crash(task: task_pb2.Task) -> None:
        if task.stage == "associate" and not killed:
            killed.append(task.task_id)
            await ingest.process.kill()

    workers.on_task = crash
    given = await site(ingest, clip, "crash", "c1", "c2")
    given.cameras[0].sub_videos[0].start_sec = 2.0
    update = environment_pb2.UpdateEnvironmentRequest(environment=given)
    await call(ingest.environments.UpdateEnvironment, update, owner="ada")
    job = await start(ingest, "crash")
    async for _ in replay(ingest.bus, job.job_id):
        pass
    done = workers.of(job.job_id)
    assert sorted(done) == sorted(set(done))
    assert done[-3:] == ["associate.0", "associate.1", "resolve"]


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
    given = await site(ingest, clip, "club", "c1", gallery={"enabled": True, "retention_days": 7})
    given.clock_start_time.FromJsonString("2026-05-04T08:00:00Z")
    await call(
        ingest.environments.UpdateEnvironment,
        environment_pb2.UpdateEnvironmentRequest(environment=given),
        owner="ada",
    )
    first = Seeing(ingest, s3_store, people(one, two))
    workers.on_task = first
    job = await ingest.ended((await start(ingest, "club", embedder=embedder)).job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [stage.stage for stage in job.stages][-1] == "remember"
    assert first.known is not None
    assert len(first.known) == 0

    second = Seeing(ingest, s3_store, people(two, three, embedding=[[0, 0, 1, 0], [0, 0, 0, 1]], first_sec=60))
    workers.on_task = second
    later = await ingest.ended((await start(ingest, "club", embedder=embedder)).job_id)
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
    await site(ingest, clip, "door", "c1", gallery={"enabled": True})
    workers.on_task = Seeing(ingest, s3_store, people(one, two))
    await ingest.ended((await start(ingest, "door", embedder=embedder)).job_id)
    seeing = Seeing(ingest, s3_store, people(one, two))

    async def meanwhile(task: task_pb2.Task) -> task_pb2.TaskDone | None:
        if task.stage == "resolve":
            assert await forget(ingest, "door", one) == 1
        return await seeing(task)

    workers.on_task = meanwhile
    job = await ingest.ended((await start(ingest, "door", embedder=embedder)).job_id)
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
    await site(ingest, clip, "gate", "c1", gallery={"enabled": True})
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
    job = await ingest.ended((await start(ingest, "gate", embedder=embedder, render=True)).job_id)
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
    await site(ingest, clip, "lane", "c1", gallery={"enabled": True})
    seeing = Seeing(ingest, s3_store, people(str(uuid.uuid4())))
    workers.on_task = seeing
    await ingest.ended((await start(ingest, "lane", embedder=embedder)).job_id)
    assert (await identities(ingest, "lane")).total_size == 1
    # No embedder is the default, so that this job compares nobody, and has nothing to keep.
    await ingest.ended((await start(ingest, "lane")).job_id)
    assert seeing.known is not None
    assert len(seeing.known) == 0
    assert (await identities(ingest, "lane")).identities[0].job_count == 2
    off = Environment(environment_id="lane")
    update = environment_pb2.UpdateEnvironmentRequest(environment=off, update_mask=FieldMask(paths=["gallery"]))
    await call(ingest.environments.UpdateEnvironment, update, owner="ada")
    job = await ingest.ended((await start(ingest, "lane", embedder=embedder)).job_id)
    assert "remember" not in [stage.stage for stage in job.stages]
