"""Jobs conducted for real, with workers of the other stages played by the test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.bus.events import replay
from kinemesh.bus.topology import DEAD_LETTERS, dead_letter_subject
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.serving.channel import call, stream
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until


async def nothing_left(store: ObjectStore, job_id: str) -> None:
    async def is_empty() -> bool:
        return not await store.list_objects(keys.job_prefix(job_id))

    await until(is_empty)


async def test_a_job_runs_through_all_stages_once(ingest: Any, clip: bytes, workers: Any) -> None:
    asset = await ingest.upload(clip)
    job = await ingest.start_job(asset.asset_id)
    assert job.state == job_pb2.JOB_STATE_QUEUED
    job = await ingest.ended(job.job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert job.progress == 1.0
    assert [output.name for output in job.outputs] == ["annotated.mp4"]
    assert job.summary["frame_count"] == 60
    assert [(s.stage, s.tasks, s.tasks_done) for s in job.stages] == [
        ("split", 1, 1), ("pose", 2, 2), ("stitch", 2, 2), ("movement", 1, 1), ("render", 2, 2), ("finalize", 1, 1),
    ]  # fmt: skip
    done = workers.of(job.job_id)
    assert sorted(done) == sorted(set(done))
    assert done.index("stitch.main.0") < done.index("stitch.main.1") < done.index("movement") < done.index("finalize")
    movement = next(task for task in workers.seen if task.task_id == f"{job.job_id}.movement")
    # Equal work, warm-up included, would be cut at 35; a keyframe stands beside it.
    assert [(s.start_frame, s.stop_frame, s.warm_up_frames) for s in movement.segments] == [(0, 36, 0), (36, 60, 10)]
    assert movement.parameters.pose.max_persons == 2


async def test_events_tell_the_whole_story_in_order(ingest: Any, clip: bytes, workers: Any) -> None:
    job = await ingest.start_job((await ingest.upload(clip)).asset_id)
    await ingest.ended(job.job_id)
    events = [(sequence, event) async for sequence, event in replay(ingest.bus, job.job_id)]
    states = [event.state.state for _, event in events if event.WhichOneof("kind") == "state"]
    assert states == ["QUEUED", "RUNNING", "SUCCEEDED"]
    progress = [event.progress.progress for _, event in events if event.WhichOneof("kind") == "progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    middle = events[len(events) // 2][0]
    rest = [sequence async for sequence, _ in replay(ingest.bus, job.job_id, after=middle)]
    assert rest == [sequence for sequence, _ in events if sequence > middle]
    request = job_pb2.ListJobLogsRequest(job_id=job.job_id, page_size=2)
    page = await call(ingest.jobs.ListJobLogs, request, owner="ada")
    assert page.logs[0].text.startswith("Queued")
    assert page.total_size > 2
    assert page.next_page_token


async def test_killing_ingest_mid_job_loses_nothing(ingest: Any, clip: bytes, workers: Any) -> None:
    first = asyncio.Event()

    async def crash(task: task_pb2.Task) -> None:
        if task.stage == "pose" and not first.is_set():
            first.set()
            await ingest.process.kill()

    workers.on_task = crash
    job = await ingest.start_job((await ingest.upload(clip)).asset_id)
    async with asyncio.timeout(90):
        states = [e.state.state async for _, e in replay(ingest.bus, job.job_id) if e.WhichOneof("kind") == "state"]
    assert states == ["QUEUED", "RUNNING", "SUCCEEDED"]
    done = workers.of(job.job_id)
    assert sorted(done) == sorted(set(done))


async def test_a_failure_that_cannot_pass_ends_the_job_with_its_reason(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore
) -> None:
    async def fail(task: task_pb2.Task) -> None:
        await s3_store.put_bytes(keys.stage_result(task.job_id, task.stage, "main", 0), b"partial")
        if task.stage == "movement":
            raise errors.InvalidArgument("NOBODY_FOUND", "There is nobody in the clip.")

    workers.on_task = fail
    job = await ingest.start_job((await ingest.upload(clip)).asset_id)
    job = await ingest.ended(job.job_id)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert (job.failure.reason, job.failure.code) == ("NOBODY_FOUND", "INVALID_ARGUMENT")
    dead = await ingest.bus.jetstream.get_last_msg(DEAD_LETTERS, dead_letter_subject("movement"))
    assert task_pb2.Task.FromString(dead.data).job_id == job.job_id
    await nothing_left(s3_store, job.job_id)


async def test_a_failure_that_passes_is_tried_again(ingest: Any, clip: bytes, workers: Any) -> None:
    failures = 0

    async def fail_twice(task: task_pb2.Task) -> None:
        nonlocal failures
        if task.stage == "movement" and failures < 2:
            failures += 1
            raise errors.Unavailable("MODEL_UNAVAILABLE", "The model server does not answer.")

    workers.on_task = fail_twice
    job = await ingest.start_job((await ingest.upload(clip)).asset_id)
    assert (await ingest.ended(job.job_id)).state == job_pb2.JOB_STATE_SUCCEEDED
    assert workers.of(job.job_id).count("movement") == 3


async def test_cancel_stops_queued_and_running_work(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def endless(task: task_pb2.Task) -> None:
        if task.stage == "pose":
            await s3_store.put_bytes(keys.stage_result(task.job_id, task.stage, "main", 0), b"partial")
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    workers.on_task = endless
    asset = await ingest.upload(clip)
    job = await ingest.start_job(asset.asset_id)
    async with asyncio.timeout(30):
        await started.wait()
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset.asset_id), owner="ada")
    assert refused.value.reason == "ASSET_IN_USE"
    request = job_pb2.CancelJobRequest(job_id=job.job_id)
    for _ in range(2):
        answer = await call(ingest.jobs.CancelJob, request, owner="ada")
        assert answer.job.state == job_pb2.JOB_STATE_CANCELLED
    async with asyncio.timeout(30):
        await stopped.wait()
    await nothing_left(s3_store, job.job_id)
    assert (await ingest.ended(job.job_id)).state == job_pb2.JOB_STATE_CANCELLED
    assert set(workers.of(job.job_id)) <= {"pose.main.0", "pose.main.1"}


async def test_an_ended_job_cannot_be_cancelled_and_a_deleted_one_is_gone(
    ingest: Any, clip: bytes, workers: Any
) -> None:
    job = await ingest.ended((await ingest.start_job((await ingest.upload(clip)).asset_id)).job_id)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(ingest.jobs.CancelJob, job_pb2.CancelJobRequest(job_id=job.job_id), owner="ada")
    assert refused.value.reason == "JOB_ENDED"
    request = job_pb2.DeleteJobRequest(job_id=job.job_id, request_id="bye")
    for _ in range(2):
        await call(ingest.jobs.DeleteJob, request, owner="ada")
    with pytest.raises(errors.NotFound):
        await ingest.get_job(job.job_id)


async def test_a_long_job_leaves_room_for_a_short_one(ingest: Any, clip: bytes, idle_workers: Any) -> None:
    asset = await ingest.upload(clip)
    first = await ingest.start_job(asset.asset_id)
    second = await ingest.start_job(asset.asset_id, owner="ada")
    async with ingest.worked_by(idle_workers):
        for job in (first, second):
            assert (await ingest.ended(job.job_id)).state == job_pb2.JOB_STATE_SUCCEEDED
    order = [task.job_id for task in idle_workers.seen]
    assert order.index(second.job_id) < len(order) - 1 - order[::-1].index(first.job_id)


async def test_jobs_of_others_are_unknown_and_lists_hold_only_ones_own(ingest: Any, clip: bytes, workers: Any) -> None:
    asset = await ingest.upload(clip, owner="carol")
    with pytest.raises(errors.NotFound):
        await ingest.start_job(asset.asset_id, owner="eve")
    job = await ingest.start_job(asset.asset_id, owner="carol", request_id="r1")
    assert (await ingest.start_job(asset.asset_id, owner="carol", request_id="r1")).job_id == job.job_id
    named = [
        await ingest.start_job(asset.asset_id, owner="carol", request_id="r2", job_id="carols-own") for _ in range(2)
    ]
    assert [given.job_id for given in named] == ["carols-own"] * 2
    with pytest.raises(errors.AlreadyExists):
        await ingest.start_job(asset.asset_id, owner="carol", job_id="carols-own")
    with pytest.raises(errors.NotFound):
        await ingest.get_job(job.job_id, owner="eve")
    listed = await call(ingest.jobs.ListJobs, job_pb2.ListJobsRequest(), owner="carol")
    assert [j.job_id for j in listed.jobs] == ["carols-own", job.job_id]
    assert (await call(ingest.jobs.ListJobs, job_pb2.ListJobsRequest(), owner="eve")).total_size == 0
    for job_id in (job.job_id, "carols-own"):
        await ingest.ended(job_id, owner="carol")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (parameters_pb2.JobParameters(), "UNKNOWN_PIPELINE"),
        (parameters_pb2.JobParameters(pose=parameters_pb2.PoseParameters(max_persons=17)), "OUT_OF_RANGE"),
        (
            parameters_pb2.JobParameters(
                pose=parameters_pb2.PoseParameters(style=parameters_pb2.OverlayStyle(colors=["red"]))
            ),
            "INVALID_COLOR",
        ),
        (
            parameters_pb2.JobParameters(
                pose=parameters_pb2.PoseParameters(subject=parameters_pb2.SUBJECT_SELECTION_AT_POINT)
            ),
            "MISSING_FIELD",
        ),
    ],
)
async def test_wrong_parameters_are_refused(
    ingest: Any, clip: bytes, parameters: parameters_pb2.JobParameters, reason: str
) -> None:
    asset = await ingest.upload(clip)
    inputs = [job_pb2.JobInput(asset_id=asset.asset_id)]
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(ingest.jobs.CreateJob, job_pb2.CreateJobRequest(inputs=inputs, parameters=parameters), owner="ada")
    assert refused.value.reason == reason
    assert refused.value.metadata["field"]


async def test_watch_of_an_unknown_job_carries_a_reason(ingest: Any) -> None:
    with pytest.raises(errors.NotFound) as refused:
        async for _ in stream(ingest.jobs.WatchJob, job_pb2.WatchJobRequest(job_id="nope"), timeout_s=10):
            pass
    assert refused.value.reason == "JOB_NOT_FOUND"
