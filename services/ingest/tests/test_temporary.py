"""Files between the stages of jobs that match attempts, deleted on request and after a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy.ext.asyncio import create_async_engine

from kinemesh import errors
from kinemesh.job.v1 import job_pb2
from kinemesh.route.v1 import route_pb2
from kinemesh.serving.channel import call
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_ingest.catalogue.temporary import clean_expired
from kinemesh_ingest.settings import RetentionSettings

Request = route_pb2.DeleteTemporaryFilesRequest


async def clean(ingest: Any, owner: str, request: route_pb2.DeleteTemporaryFilesRequest) -> tuple[int, int]:
    answer = await call(ingest.routes.DeleteTemporaryFiles, request, owner=owner)
    return answer.files, answer.bytes


def writing(store: ObjectStore) -> Any:
    """A worker that leaves a result, and an output at the end."""

    async def work(task: task_pb2.Task) -> None:
        if task.stage in ("retarget", "render"):
            await store.put_bytes(keys.stage_result(task.job_id, task.stage, "all", 0), b"12345")
        if task.stage == "finalize":
            await store.put_bytes(keys.output(task.job_id, "annotated.mp4"), b"video")

    return work


async def left(store: ObjectStore, job_id: str) -> list[str]:
    return [entry.key.split("/")[2] for entry in await store.list_objects(keys.job_prefix(job_id))]


async def matched(ingest: Any, clip: bytes, owner: str) -> str:
    """A job that has ended."""
    source = job_pb2.JobInput(asset_id=(await ingest.upload(clip, owner=owner)).asset_id)
    job = await ingest.match(owner, [source], reference="wall-vertical")
    job = await ingest.ended(job.job_id, owner)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    return str(job.job_id)


async def test_an_owner_deletes_temporary_files(ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore) -> None:
    workers.on_task = writing(s3_store)
    job_id, others = await matched(ingest, clip, "tom"), await matched(ingest, clip, "eve")
    day = Duration(seconds=86400)
    assert await clean(ingest, "tom", Request(older_than=day)) == (0, 0)
    assert await clean(ingest, "tom", Request(validate_only=True, request_id="now")) == (2, 10)
    assert await left(s3_store, job_id) == ["output", "render", "retarget"]
    for _ in range(2):
        assert await clean(ingest, "tom", Request(request_id="now")) == (2, 10)
    assert await clean(ingest, "tom", Request()) == (0, 0)
    assert await left(s3_store, job_id) == ["output"]
    assert await left(s3_store, others) == ["output", "render", "retarget"]
    for wrong in (Duration(seconds=-1), Duration(seconds=10**10)):
        with pytest.raises(errors.InvalidArgument) as refused:
            await clean(ingest, "tom", Request(older_than=wrong))
        assert (refused.value.reason, refused.value.metadata["field"]) == ("OUT_OF_RANGE", "older_than")


async def test_files_of_a_job_that_runs_stay(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    source = job_pb2.JobInput(asset_id=(await ingest.upload(clip, owner="ron")).asset_id)
    job = await ingest.match("ron", [source], reference="wall-vertical")
    await s3_store.put_bytes(keys.stage_result(job.job_id, "pose", "main", 0), b"1")
    assert await clean(ingest, "ron", Request()) == (0, 0)
    assert await left(s3_store, job.job_id) == ["pose"]
    await call(ingest.jobs.DeleteJob, job_pb2.DeleteJobRequest(job_id=job.job_id), owner="ron")


async def test_temporary_files_go_by_themselves_after_a_while(
    ingest: Any, clip: bytes, workers: Any, s3_store: ObjectStore, postgres_url: str
) -> None:
    workers.on_task = writing(s3_store)
    job_id = await matched(ingest, clip, "una")
    engine = create_async_engine(postgres_url)
    await clean_expired(engine, s3_store, timedelta(hours=RetentionSettings().matching_hours))
    assert await left(s3_store, job_id) == ["output", "render", "retarget"]
    for _ in range(2):
        await clean_expired(engine, s3_store, timedelta(0))
        assert await left(s3_store, job_id) == ["output"]
    await engine.dispose()


def test_the_retention_time_is_a_setting() -> None:
    assert RetentionSettings().matching_hours == 7 * 24
    with pytest.raises(ValueError, match="greater than 0"):
        RetentionSettings(matching_hours=0)
