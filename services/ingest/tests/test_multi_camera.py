"""Jobs over the cameras of an environment, with workers of the other services' stages played by the test."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from kinemesh import errors
from kinemesh.bus.events import replay
from kinemesh.environment.v1 import environment_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until

Environment = environment_pb2.Environment


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
    await ingest.keep(given)
    job = await ingest.start_over("factory", render=True)
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


async def test_tasks_carry_of_a_calibration_only_how_far_it_reaches(ingest: Any, clip: bytes, workers: Any) -> None:
    given = await ingest.site(clip, "points", "c1")
    pairs = given.cameras[0].homography.source.points.pairs
    for x, y in ((0, 0), (8, 0), (8, 6), (0, 6), (4, 3), (5, 2)):
        pair = pairs.add()
        pair.image.x, pair.image.y, pair.map.x, pair.map.y = 10 * x, 10 * y, x, y
    update = environment_pb2.UpdateEnvironmentRequest(environment=given)
    kept = (await call(ingest.environments.UpdateEnvironment, update, owner="ada")).environment
    assert len(kept.cameras[0].homography.source.points.pairs) == 6
    job = await ingest.ended((await ingest.start_over("points")).job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    told = job.parameters.multi_camera.environment.cameras[0].homography
    ends = [(pair.map.x, pair.map.y) for pair in told.source.points.pairs]
    assert len(ends) == 4
    assert [(min(axis), max(axis)) for axis in zip(*ends, strict=True)] == [(0, 8), (0, 6)]
    assert len(told.image_to_map.values) == 9


async def test_stages_that_are_not_wanted_are_left_out_and_windows_may_be_one(
    ingest: Any, clip: bytes, workers: Any
) -> None:
    await ingest.site(clip, "small", "c1")
    job = await ingest.ended((await ingest.start_over("small")).job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [one.stage for one in job.stages] == ["split", "detect", "track", "associate", "resolve"]
    assert [task for task in workers.of(job.job_id) if task.startswith("associate")] == ["associate.0"]
    logs = await call(ingest.jobs.ListJobLogs, job_pb2.ListJobLogsRequest(job_id=job.job_id), owner="ada")
    assert any(line.level == "WARNING" and "embedder" in line.text for line in logs.logs)
    assert job.parameters.multi_camera.embedder == ""


async def test_jobs_that_cannot_be_are_refused(ingest: Any, clip: bytes) -> None:
    await ingest.keep(Environment(environment_id="empty"))
    blind = Environment(environment_id="blind")
    blind.cameras.add(camera="c1")
    await ingest.keep(blind)
    whole = await ingest.site(clip, "whole", "c1")
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
            await ingest.start_over(environment_id, **more)
        assert refused.value.reason == reason


async def test_an_environment_stays_while_a_job_uses_it_and_changes_leave_the_job_alone(
    ingest: Any, clip: bytes, idle_workers: Any
) -> None:
    whole = await ingest.site(clip, "busy", "c1")
    job = await ingest.start_over("busy", request={"request_id": "once"})
    assert (await ingest.start_over("busy", request={"request_id": "once"})).job_id == job.job_id
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
    given = await ingest.site(clip, "crash", "c1", "c2")
    given.cameras[0].sub_videos[0].start_sec = 2.0
    update = environment_pb2.UpdateEnvironmentRequest(environment=given)
    await call(ingest.environments.UpdateEnvironment, update, owner="ada")
    job = await ingest.start_over("crash")
    async for _ in replay(ingest.bus, job.job_id):
        pass
    done = workers.of(job.job_id)
    assert sorted(done) == sorted(set(done))
    assert done[-3:] == ["associate.0", "associate.1", "resolve"]
