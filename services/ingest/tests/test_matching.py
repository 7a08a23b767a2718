"""Jobs of route_match as they are made: what they read, what they draw on, and what they may not be."""

from __future__ import annotations

from typing import Any

import pytest

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore

RouteMatch = parameters_pb2.RouteMatchParameters


async def start(ingest: Any, asked: RouteMatch, *inputs: job_pb2.JobInput, **more: Any) -> job_pb2.Job:
    request = job_pb2.CreateJobRequest(
        inputs=inputs, parameters=parameters_pb2.JobParameters(route_match=asked), **more
    )
    answer: job_pb2.Job = (await call(ingest.jobs.CreateJob, request, owner="ada")).job
    return answer


async def test_a_bare_recording_is_drawn_on_a_wall_that_comes_with_the_product(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore
) -> None:
    asset_id = (await ingest.upload(clip)).asset_id
    given = RouteMatch(reference="wall-vertical")
    given.attempts.add(camera="mine")
    job = await start(ingest, given, job_pb2.JobInput(asset_id=asset_id))
    asked = job.parameters.route_match
    assert (asked.mode, asked.transform_model, asked.alignment) == (
        parameters_pb2.MATCH_MODE_SINGLE,
        matcher_pb2.TRANSFORM_MODEL_AFFINE,
        parameters_pb2.TIME_ALIGNMENT_MOVEMENT_START,
    )
    assert list(asked.attempts) == [parameters_pb2.MatchedAttempt(camera="main", display_name="clip.mp4")]
    assert (await s3_store.get_bytes(keys.asset_source(asked.image_asset_id))).startswith(b"\xff\xd8\xff")
    job = await ingest.ended(job.job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [one.stage for one in job.stages] == ["split", "pose", "stitch", "match", "retarget", "render", "finalize"]
    done = workers.of(job.job_id)
    assert sorted(done) == sorted(set(done))
    assert done.index("pose.main.0") < done.index("match.main.0") < done.index("retarget") < done.index("render.0")
    assert [task.window.stop_sec for task in workers.seen if task.task_id == f"{job.job_id}.render.0"] == [
        pytest.approx(2.0)
    ]


async def test_several_recordings_have_windows_together(ingest: Any, clip: bytes, workers: Any) -> None:
    first, second = [(await ingest.upload(clip)).asset_id for _ in range(2)]
    given = RouteMatch(reference="wall-overhang", mode=parameters_pb2.MATCH_MODE_MULTI)
    job = await start(ingest, given, job_pb2.JobInput(asset_id=first), job_pb2.JobInput(asset_id=second, camera="b"))
    asked = job.parameters.route_match
    assert asked.transform_model == matcher_pb2.TRANSFORM_MODEL_HOMOGRAPHY
    assert [one.camera for one in asked.attempts] == [one.camera for one in job.inputs] == ["attempt1", "b"]
    job = await ingest.ended(job.job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert [(one.stage, one.tasks) for one in job.stages][-3:] == [("retarget", 1), ("render", 1), ("finalize", 1)]


async def test_a_picture_stays_while_a_job_draws_on_it(ingest: Any, clip: bytes, picture: bytes) -> None:
    asset_id, image_id = (await ingest.upload(clip)).asset_id, (await ingest.upload(picture, kind="IMAGE")).asset_id
    job = await start(ingest, RouteMatch(image_asset_id=image_id), job_pb2.JobInput(asset_id=asset_id))
    assert (job.parameters.route_match.image_asset_id, job.parameters.route_match.reference) == (image_id, "")
    delete = asset_pb2.DeleteAssetRequest(asset_id=image_id)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(ingest.assets.DeleteAsset, delete, owner="ada")
    assert (refused.value.reason, refused.value.metadata["job_id"]) == ("ASSET_IN_USE", job.job_id)
    await call(ingest.jobs.CancelJob, job_pb2.CancelJobRequest(job_id=job.job_id), owner="ada")
    await call(ingest.assets.DeleteAsset, delete, owner="ada")


async def test_jobs_that_cannot_be_are_refused(ingest: Any, clip: bytes, picture: bytes) -> None:
    video, image = (await ingest.upload(clip)).asset_id, (await ingest.upload(picture, kind="IMAGE")).asset_id
    others = (await ingest.upload(picture, owner="eve", kind="IMAGE")).asset_id
    one = job_pb2.JobInput(asset_id=video)
    wall: dict[str, Any] = {"reference": "wall-vertical"}
    for asked, inputs, reason in (
        (RouteMatch(**wall), [], "WRONG_INPUTS"),
        (RouteMatch(**wall), [one] * 9, "WRONG_INPUTS"),
        (RouteMatch(**wall), [one, one], "DUPLICATE_INPUT"),
        (RouteMatch(**wall), [job_pb2.JobInput(asset_id=video, camera="all")], "INVALID_ID"),
        (RouteMatch(**wall), [job_pb2.JobInput(asset_id=video, camera="a.b")], "INVALID_ID"),
        (RouteMatch(**wall), [job_pb2.JobInput(asset_id=image)], "WRONG_ASSET_KIND"),
        (
            RouteMatch(**wall, subject_point=parameters_pb2.SubjectPoint()),
            [one, job_pb2.JobInput(asset_id=image)],
            "SUBJECT_AMBIGUOUS",
        ),
        (RouteMatch(**wall, attempt_id="a"), [one], "INPUTS_NOT_TAKEN"),
        (RouteMatch(**wall, attempt_id="a"), [], "ATTEMPT_NOT_FOUND"),
        (RouteMatch(reference="nowhere"), [one], "REFERENCE_NOT_FOUND"),
        (RouteMatch(image_asset_id=others), [one], "ASSET_NOT_FOUND"),
        (RouteMatch(image_asset_id=video), [one], "WRONG_ASSET_KIND"),
        (RouteMatch(), [one], "MISSING_FIELD"),
    ):
        with pytest.raises(errors.KinemeshError) as refused:
            await start(ingest, asked, *inputs)
        assert refused.value.reason == reason
