"""Attempts kept for real, the jobs that read them, and what those find."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.route.v1 import browse_pb2, catalogue_pb2, reference_pb2, route_pb2
from kinemesh.serving.channel import call
from kinemesh.session.v1 import session_pb2
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2

Attempt = catalogue_pb2.Attempt
NOON = Timestamp(seconds=1_750_000_000)
METRICS = {
    "time_on_route_sec": 31.5, "moves": 12, "pauses": 2, "pause_sec": 4.5, "path_length": 0.75, "straightness": 0.8,
    "holds_touched": 9,
}  # fmt: skip


async def get(ingest: Any, attempt_id: str, owner: str = "ada") -> Attempt:
    request = route_pb2.GetAttemptRequest(attempt_id=attempt_id)
    answer: Attempt = (await call(ingest.routes.GetAttempt, request, owner=owner)).attempt
    return answer


async def update(ingest: Any, attempt: Attempt, *paths: str, owner: str = "ada", **more: Any) -> Attempt:
    request = route_pb2.UpdateAttemptRequest(attempt=attempt, update_mask=FieldMask(paths=paths), **more)
    answer: Attempt = (await call(ingest.routes.UpdateAttempt, request, owner=owner)).attempt
    return answer


async def compare(ingest: Any, *attempt_ids: str, owner: str = "ada") -> browse_pb2.CompareAttemptsResponse:
    request = browse_pb2.CompareAttemptsRequest(attempt_ids=attempt_ids)
    answer: browse_pb2.CompareAttemptsResponse = await call(ingest.routes.CompareAttempts, request, owner=owner)
    return answer


async def download(ingest: Any, attempt_id: str, data: str, owner: str = "ada") -> Any:
    what = route_pb2.AttemptData.Value(f"ATTEMPT_DATA_{data}")
    request = route_pb2.CreateAttemptDownloadRequest(attempt_id=attempt_id, data=what)
    return await call(ingest.routes.CreateAttemptDownload, request, owner=owner)


async def a_route(ingest: Any, name: str, **more: Any) -> str:
    area = await ingest.area(name)
    route_id: str = (await ingest.route(area.area_id, name, **more)).route_id
    return route_id


def reporting(*metrics: dict[str, Any] | None, **more: Any) -> Any:
    """A worker whose retarget reports figures, attempt by attempt."""

    async def work(task: task_pb2.Task) -> task_pb2.TaskDone | None:
        if task.stage != "retarget":
            return None
        done = task_pb2.TaskDone(frames=1)
        named = zip(task.parameters.route_match.attempts, metrics, strict=True)
        told = [{"camera": one.camera, "attempt_id": one.attempt_id, "metrics": found} for one, found in named]
        done.summary.update({"attempts": told, "has_poses": True, "has_features": True, **more})
        return done

    return work


async def test_attempts_are_kept_changed_and_deleted(ingest: Any, clip: bytes, s3_store: ObjectStore) -> None:
    route_id = await a_route(ingest, "Kept")
    asset_id = (await ingest.upload(clip)).asset_id
    for _ in range(2):
        attempt = await ingest.attempt(
            route_id, asset_id, request_id="go", display_name=" First go ", notes="wet", attempt_time=NOON, topped=True
        )
    assert (attempt.display_name, attempt.notes, attempt.topped, attempt.attempt_time) == (
        "First go", "wet", True, NOON
    )  # fmt: skip
    assert (attempt.has_poses, attempt.has_features, attempt.HasField("metrics"), attempt.job_id) == (
        False, False, False, ""
    )  # fmt: skip
    assert await get(ingest, attempt.attempt_id) == attempt
    bare = Attempt(attempt_id=attempt.attempt_id)
    for _ in range(2):
        changed = await update(ingest, bare, "topped", "display_name", request_id="u")
    assert (changed.topped, changed.display_name, changed.notes) == (False, "2025-06-15 15:06", "wet")
    later = Timestamp(seconds=NOON.seconds + 3600)
    assert (await update(ingest, Attempt(attempt_id=attempt.attempt_id, attempt_time=later))).attempt_time == later
    with pytest.raises(errors.FailedPrecondition) as refused:
        await call(ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset_id), owner="ada")
    assert (refused.value.reason, refused.value.metadata["attempt_id"]) == ("ASSET_IN_USE", attempt.attempt_id)
    video = await download(ingest, attempt.attempt_id, "UNSPECIFIED")
    assert (video.object_key, video.download.size_bytes) == (keys.asset_source(asset_id), len(clip))
    delete = route_pb2.DeleteAttemptRequest(attempt_id=attempt.attempt_id, request_id="bye")
    for _ in range(2):
        await call(ingest.routes.DeleteAttempt, delete, owner="ada")
    for gone in (get(ingest, attempt.attempt_id), download(ingest, attempt.attempt_id, "VIDEO")):
        with pytest.raises(errors.NotFound) as unknown:
            await gone
        assert unknown.value.reason == "ATTEMPT_NOT_FOUND"


async def test_an_attempt_is_of_now_unless_it_says_when(ingest: Any, clip: bytes) -> None:
    attempt = await ingest.attempt(await a_route(ingest, "Now"), (await ingest.upload(clip)).asset_id)
    assert abs(attempt.attempt_time.seconds - attempt.create_time.seconds) < 60


async def test_what_is_no_attempt_is_refused(ingest: Any, clip: bytes, picture: bytes) -> None:
    route_id = await a_route(ingest, "Refused")
    video = (await ingest.upload(clip)).asset_id
    image = (await ingest.upload(picture, kind="IMAGE")).asset_id
    others = (await ingest.upload(clip, owner="eve")).asset_id
    upload = asset_pb2.CreateUploadRequest(filename="a.mp4", size_bytes=9)
    pending = (await call(ingest.assets.CreateUpload, upload, owner="ada")).asset.asset_id
    attempt = await ingest.attempt(route_id, video)
    early = Timestamp(seconds=-62135596800)
    for refused, reason in (
        (ingest.attempt("nowhere", video), "ROUTE_NOT_FOUND"),
        (ingest.attempt(route_id, others), "ASSET_NOT_FOUND"),
        (ingest.attempt(route_id, others, owner="eve"), "ROUTE_NOT_FOUND"),
        (ingest.attempt(route_id, image), "WRONG_ASSET_KIND"),
        (ingest.attempt(route_id, pending), "ASSET_NOT_READY"),
        (ingest.attempt(route_id, video, attempt_time=early), "OUT_OF_RANGE"),
        (ingest.attempt(route_id, video, display_name="a\nb"), "INVALID_TEXT"),
        (ingest.attempt(route_id, video, notes="n" * 10_001), "OUT_OF_RANGE"),
        (update(ingest, attempt, "asset_id"), "INVALID_MASK"),
        (update(ingest, Attempt(attempt_id=attempt.attempt_id), "attempt_time"), "MISSING_FIELD"),
        (update(ingest, attempt, owner="eve"), "ATTEMPT_NOT_FOUND"),
        (get(ingest, attempt.attempt_id, "eve"), "ATTEMPT_NOT_FOUND"),
        (download(ingest, attempt.attempt_id, "VIDEO", "eve"), "ATTEMPT_NOT_FOUND"),
        (download(ingest, attempt.attempt_id, "POSES"), "NO_POSES"),
        (download(ingest, attempt.attempt_id, "FEATURES"), "NO_FEATURES"),
        (ingest.match(attempt_id=attempt.attempt_id), "NO_REFERENCE"),
        (ingest.match(attempt_id=attempt.attempt_id, reference="wall-vertical", owner="eve"), "ATTEMPT_NOT_FOUND"),
        (
            call(ingest.routes.ListAttempts, route_pb2.ListAttemptsRequest(route_id=route_id), owner="eve"),
            "ROUTE_NOT_FOUND",
        ),
        (
            call(ingest.routes.DeleteAttempt, route_pb2.DeleteAttemptRequest(attempt_id="nope"), owner="ada"),
            "ATTEMPT_NOT_FOUND",
        ),
    ):
        with pytest.raises(errors.KinemeshError) as why:
            await refused
        assert why.value.reason == reason


async def test_attempts_are_listed_by_when_they_were_climbed_and_by_when_they_were_added(
    ingest: Any, clip: bytes
) -> None:
    asset_id = (await ingest.upload(clip, owner="kim")).asset_id
    area = await ingest.area("Crag", owner="kim")
    route, other = [await ingest.route(area.area_id, name, owner="kim") for name in ("A", "B")]
    for name, seconds, where in (("late", 300, route), ("early", 100, route), ("middle", 200, other)):
        time = Timestamp(seconds=seconds)
        await ingest.attempt(where.route_id, asset_id, owner="kim", display_name=name, attempt_time=time)
    for filters, names in (
        ({}, ["late", "middle", "early"]),
        ({"route_id": route.route_id}, ["late", "early"]),
        ({"area_id": area.area_id, "skip": 2}, ["early"]),
    ):
        page = await call(ingest.routes.ListAttempts, route_pb2.ListAttemptsRequest(**filters), owner="kim")
        assert [one.display_name for one in page.attempts] == names
    listed, token = [], ""
    while True:
        request = browse_pb2.ListRecentAttemptsRequest(page_size=2, page_token=token)
        page = await call(ingest.routes.ListRecentAttempts, request, owner="kim")
        listed += [(one.attempt.display_name, one.area_name, one.route_name) for one in page.attempts]
        if not (token := page.next_page_token):
            break
    assert (listed, page.total_size) == ([("middle", "Crag", "B"), ("early", "Crag", "A"), ("late", "Crag", "A")], 3)
    found = await call(ingest.routes.GetRoute, route_pb2.GetRouteRequest(route_id=route.route_id), owner="kim")
    assert found.route.attempt_count == 2


async def test_a_job_reads_attempts_and_what_it_finds_is_kept_with_them(
    ingest: Any, clip: bytes, picture: bytes, workers: Any, s3_store: ObjectStore
) -> None:
    route_id = await a_route(ingest, "Measured")
    image = (await ingest.upload(picture, kind="IMAGE")).asset_id
    bring = reference_pb2.CreateReferenceImageRequest(asset_id=image, route_id=route_id)
    reference = (await call(ingest.routes.CreateReferenceImage, bring, owner="ada")).reference_image
    first = await ingest.attempt(
        route_id, (await ingest.upload(clip)).asset_id, display_name="Flash", attempt_time=NOON
    )
    second = await ingest.attempt(route_id, (await ingest.upload(clip)).asset_id)
    workers.on_task = reporting(METRICS, {**METRICS, "moves": 15}, reference_features=321)
    job = await ingest.match(attempt_id=second.attempt_id, attempt_ids=[first.attempt_id])
    asked = job.parameters.route_match
    assert (asked.reference, asked.image_asset_id) == (reference.reference_id, image)
    assert [(one.camera, one.asset_id) for one in job.inputs] == [
        ("attempt1", second.asset_id), ("attempt2", first.asset_id),
    ]  # fmt: skip
    assert [(one.camera, one.attempt_id, one.display_name) for one in asked.attempts] == [
        ("attempt1", second.attempt_id, "clip.mp4"), ("attempt2", first.attempt_id, "Flash"),
    ]  # fmt: skip
    area_id = first.area_id
    assert asked.attempts[1].data_prefix == (f"routes/ada/{area_id}/{route_id}/20250615T150640Z-{first.attempt_id}/")
    job = await ingest.ended(job.job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    kept = await get(ingest, first.attempt_id)
    assert (kept.job_id, kept.has_poses, kept.has_features) == (job.job_id, True, True)
    assert (kept.metrics.moves, kept.metrics.path_length) == (15, 0.75)
    request = reference_pb2.GetReferenceImageRequest(reference_id=reference.reference_id)
    assert (await call(ingest.routes.GetReferenceImage, request, owner="ada")).reference_image.features == 321
    table = await compare(ingest, first.attempt_id, second.attempt_id)
    assert [one.attempt_id for one in table.attempts] == [first.attempt_id, second.attempt_id]
    assert [(row.metric, row.unit, list(row.values)) for row in table.rows][:2] == [
        ("time_on_route_sec", "s", [31.5, 31.5]), ("moves", "count", [15, 12]),
    ]  # fmt: skip
    assert {row.metric for row in table.rows} == {one.name for one in catalogue_pb2.ClimbMetrics.DESCRIPTOR.fields}
    await s3_store.put_bytes(keys.attempt_poses(asked.attempts[1].data_prefix), b"poses")
    poses = await download(ingest, first.attempt_id, "POSES")
    assert (poses.object_key, poses.download.size_bytes) == (keys.attempt_poses(asked.attempts[1].data_prefix), 5)
    # A job that measures nothing, or nonsense, leaves what is known.
    workers.on_task = reporting({**METRICS, "moves": "many"})
    again = await ingest.ended((await ingest.match(attempt_id=first.attempt_id)).job_id)
    assert (await get(ingest, first.attempt_id)).metrics.moves == 15
    assert (await get(ingest, first.attempt_id)).job_id == again.job_id
    await call(ingest.jobs.DeleteJob, job_pb2.DeleteJobRequest(job_id=again.job_id), owner="ada")
    assert (await get(ingest, first.attempt_id)).job_id == ""


async def test_what_cannot_be_compared_is_refused(ingest: Any, clip: bytes) -> None:
    asset_id = (await ingest.upload(clip)).asset_id
    area = await ingest.area("Compared")
    route, other = [await ingest.route(area.area_id, name) for name in ("A", "B")]
    first, second = [(await ingest.attempt(route.route_id, asset_id)).attempt_id for _ in range(2)]
    third = (await ingest.attempt(other.route_id, asset_id)).attempt_id
    for named, reason in (
        ((first,), "OUT_OF_RANGE"),
        ((first,) * 9, "OUT_OF_RANGE"),
        ((first, first), "DUPLICATE_ATTEMPT"),
        ((first, "nope"), "ATTEMPT_NOT_FOUND"),
        ((first, third), "DIFFERENT_ROUTES"),
        ((first, second), "NO_METRICS"),
    ):
        with pytest.raises(errors.KinemeshError) as refused:
            await compare(ingest, *named)
        assert refused.value.reason == reason
    with pytest.raises(errors.InvalidArgument) as apart:
        await ingest.match(attempt_ids=[first, third], reference="wall-vertical")
    assert apart.value.reason == "DIFFERENT_ROUTES"


async def test_the_video_of_an_attempt_outlives_a_session_of_it(ingest: Any, clip: bytes) -> None:
    asset_id = (await ingest.upload(clip)).asset_id
    create = session_pb2.CreateSessionRequest(asset_id=asset_id)
    session = (await call(ingest.sessions.CreateSession, create, owner="ada")).session
    await ingest.attempt(await a_route(ingest, "Outlives"), asset_id)
    gone = session_pb2.DeleteSessionRequest(session_id=session.session_id)
    await call(ingest.sessions.DeleteSession, gone, owner="ada")
    found = await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=asset_id), owner="ada")
    assert found.asset.state == asset_pb2.ASSET_STATE_READY
