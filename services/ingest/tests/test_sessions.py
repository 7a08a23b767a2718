"""Sessions, with the worker of refine played by the test: it leaves the files that the stage would."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.results.tracks import TrackRows
from kinemesh.results.tracks_parquet import rows_to_parquet
from kinemesh.serving.channel import call
from kinemesh.session.v1 import session_pb2
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.waiting import until

FRAMES, WIDTH, HEIGHT = 60, 192, 108
METRICS = {"coverage_percent": 50.0, "gaps_count": 1, "heat_map": {"columns": 1, "rows": 1, "seconds": [2.0]}}


def rows(frames: np.ndarray[Any, Any], track_id: int, filled_in: int) -> TrackRows:
    """A box that moves a pixel a frame; every ``filled_in``-th is interpolated."""
    count = len(frames)
    left = 10.0 + frames
    return TrackRows(
        frames.astype(np.int64),
        frames / 30,
        np.full(count, track_id, np.int32),
        np.stack([left, np.full(count, 27.0), left + 48, np.full(count, 81.0)], axis=1).astype(np.float32),
        np.full(count, 0.75, np.float32),
        np.zeros(count, np.int16),
        frames % filled_in == 0,
    )


class Refining:
    """Leaves the results of the stage refine."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.fails = False

    async def __call__(self, task: task_pb2.Task) -> task_pb2.TaskDone | None:
        done = task_pb2.TaskDone(frames=1)
        files: dict[str, tuple[str, bytes]] = {}
        if task.stage == "refine":
            if self.fails:
                raise errors.FailedPrecondition("SUBJECT_NOT_FOUND", "Nobody is there.")
            instructor, everyone = rows(np.arange(0, FRAMES, 2), 1, 4), rows(np.arange(FRAMES), 2, 10)
            measured = {"version": "v1", "width": WIDTH, "height": HEIGHT, "frame_count": FRAMES, "metrics": METRICS}
            files = {
                "instructor_tracking.json": ("application/json", b"{}"),
                "instructor.parquet": ("application/vnd.apache.parquet", rows_to_parquet(instructor)),
                "tracks.parquet": ("application/vnd.apache.parquet", rows_to_parquet(everyone)),
                "metrics.json": ("application/json", json.dumps(measured).encode()),
            }
        elif task.stage == "finalize":
            files = {"video.mp4": ("video/mp4", task.job_id.encode())}
        for name, (content_type, data) in files.items():
            await self.store.put_bytes(keys.output(task.job_id, name), data, content_type)
            done.outputs.add(name=name, content_type=content_type, size_bytes=len(data))
        return done


@pytest.fixture
def refining(workers: Any, s3_store: ObjectStore) -> Refining:
    refine = Refining(s3_store)
    workers.on_task = refine
    return refine


async def create(ingest: Any, clip: bytes, owner: str = "ada", **more: Any) -> session_pb2.Session:
    asset = await ingest.upload(clip, owner=owner)
    request = session_pb2.CreateSessionRequest(asset_id=asset.asset_id, **more)
    session: session_pb2.Session = (await call(ingest.sessions.CreateSession, request, owner=owner)).session
    return session


async def get(ingest: Any, session_id: str, owner: str = "ada") -> session_pb2.Session:
    request = session_pb2.GetSessionRequest(session_id=session_id)
    session: session_pb2.Session = (await call(ingest.sessions.GetSession, request, owner=owner)).session
    return session


async def process(ingest: Any, session_id: str, **more: Any) -> session_pb2.Session:
    request = session_pb2.ProcessSessionRequest(session_id=session_id, **more)
    session: session_pb2.Session = (await call(ingest.sessions.ProcessSession, request, owner="ada")).session
    return session


async def test_a_session_is_tracked_and_read_by_ranges(ingest: Any, clip: bytes, refining: Refining) -> None:
    session = await create(ingest, clip, display_name="Monday")
    assert (session.display_name, session.video.width, session.video.height) == ("Monday", WIDTH, HEIGHT)
    assert not session.has_instructor_tracking_result
    job = await ingest.ended(session.job_id)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
    assert job.session_id == session.session_id
    asked = job.parameters.instructor
    assert (asked.model, asked.threshold) == ("person_detector", 0.5)
    session = await get(ingest, session.session_id)
    assert session.has_instructor_tracking_result
    assert session.result_job_id == session.job_id == job.job_id

    request = session_pb2.GetInstructorTrackingRequest(session_id=session.session_id, max_frames=25)
    points: list[int] = []
    detections: list[int] = []
    starts: list[int] = []
    while len(starts) < 4:
        answer = await call(ingest.sessions.GetInstructorTracking, request, owner="ada")
        points += answer.track_points.frame_index
        detections += answer.frame_detections.frame_index
        starts.append(request.start_frame)
        assert (answer.version, answer.frame_count, answer.metrics.gaps_count) == ("v1", FRAMES, 1)
        if not answer.HasField("next_start_frame"):
            break
        request.start_frame = answer.next_start_frame
    assert starts == [0, 25, 50]
    assert points == list(range(0, FRAMES, 2))
    assert detections == [frame for frame in range(FRAMES) if frame % 10]
    assert answer.document.content_type == "application/json"

    request = session_pb2.GetInstructorTrackingRequest(session_id=session.session_id, omit_detections=True)
    whole = (await call(ingest.sessions.GetInstructorTracking, request, owner="ada")).track_points
    assert len(whole.frame_index) == FRAMES // 2
    assert (whole.x[1], whole.y[1]) == (pytest.approx((12 + 24) / WIDTH), pytest.approx(54 / HEIGHT))
    assert (whole.width[1], whole.height[1]) == (pytest.approx(48 / WIDTH), pytest.approx(54 / HEIGHT))
    assert list(whole.interpolated[:3]) == [True, False, True]

    download = await call(
        ingest.sessions.CreateSessionDownload,
        session_pb2.CreateSessionDownloadRequest(session_id=session.session_id),
        owner="ada",
    )
    assert download.object_key == keys.output(job.job_id, "video.mp4")
    async with httpx.AsyncClient(timeout=30) as http:
        assert (await http.get(download.download.url)).content == job.job_id.encode()


async def test_a_result_stays_until_the_next_is_there(
    ingest: Any, clip: bytes, refining: Refining, s3_store: ObjectStore
) -> None:
    session = await create(ingest, clip, parameters=parameters_pb2.InstructorParameters(threshold=0.25))
    first = session.job_id
    await ingest.ended(first)
    refining.fails = True
    session = await process(ingest, session.session_id, request_id="again")
    assert (await process(ingest, session.session_id, request_id="again")).job_id == session.job_id != first
    failed = await ingest.ended(session.job_id)
    assert failed.failure.reason == "SUBJECT_NOT_FOUND"
    assert failed.parameters.instructor.threshold == 0.25
    session = await get(ingest, session.session_id)
    assert (session.job_id, session.result_job_id) == (failed.job_id, first)
    assert session.has_instructor_tracking_result

    refining.fails = False
    asked = parameters_pb2.InstructorParameters(threshold=0.75)
    session = await process(ingest, session.session_id, parameters=asked)
    job = await ingest.ended(session.job_id)
    assert job.parameters.instructor.threshold == 0.75
    assert (await get(ingest, session.session_id)).result_job_id == job.job_id
    with pytest.raises(errors.NotFound):
        await ingest.get_job(failed.job_id)

    request = session_pb2.DeleteSessionRequest(session_id=session.session_id, request_id="bye")
    for _ in range(2):
        await call(ingest.sessions.DeleteSession, request, owner="ada")
    for method, message in (
        (ingest.sessions.GetSession, session_pb2.GetSessionRequest(session_id=session.session_id)),
        (ingest.jobs.GetJob, job_pb2.GetJobRequest(job_id=first)),
        (ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=session.asset_id)),
    ):
        with pytest.raises(errors.NotFound):
            await call(method, message, owner="ada")
    prefixes = [keys.asset_prefix(session.asset_id), keys.job_prefix(first), keys.job_prefix(job.job_id)]

    async def is_gone() -> bool:
        return not [prefix for prefix in prefixes if await s3_store.list_objects(prefix)]

    await until(is_gone)


async def test_before_there_is_a_result(ingest: Any, clip: bytes) -> None:
    session = await create(ingest, clip)
    assert session.display_name == "clip.mp4"
    named: dict[str, Any] = {"session_id": session.session_id}
    for method, request, reason in (
        (ingest.sessions.ProcessSession, session_pb2.ProcessSessionRequest(**named), "SESSION_BUSY"),
        (ingest.sessions.GetInstructorTracking, session_pb2.GetInstructorTrackingRequest(**named), "RESULT_NOT_READY"),
        (ingest.sessions.CreateSessionDownload, session_pb2.CreateSessionDownloadRequest(**named), "RESULT_NOT_READY"),
        (ingest.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=session.asset_id), "ASSET_IN_USE"),
    ):
        with pytest.raises(errors.FailedPrecondition) as refused:
            await call(method, request, owner="ada")
        assert refused.value.reason == reason
    # Nobody works on its job: deleting cancels it.
    await call(ingest.sessions.DeleteSession, session_pb2.DeleteSessionRequest(**named), owner="ada")
    with pytest.raises(errors.NotFound):
        await ingest.get_job(session.job_id)


async def test_sessions_are_their_owners(ingest: Any, clip: bytes) -> None:
    asset = await ingest.upload(clip, owner="dora")
    request = session_pb2.CreateSessionRequest(asset_id=asset.asset_id, request_id="once")
    first, second = [(await call(ingest.sessions.CreateSession, request, owner="dora")).session for _ in range(2)]
    assert first.session_id == second.session_id
    jobs = await call(ingest.jobs.ListJobs, job_pb2.ListJobsRequest(), owner="dora")
    assert [job.job_id for job in jobs.jobs] == [first.job_id]
    other = (
        await call(
            ingest.sessions.CreateSession,
            session_pb2.CreateSessionRequest(asset_id=asset.asset_id, display_name="two"),
            owner="dora",
        )
    ).session
    page = await call(ingest.sessions.ListSessions, session_pb2.ListSessionsRequest(page_size=1), owner="dora")
    assert ([s.session_id for s in page.sessions], page.total_size) == ([other.session_id], 2)
    more = session_pb2.ListSessionsRequest(page_token=page.next_page_token)
    rest = await call(ingest.sessions.ListSessions, more, owner="dora")
    assert [s.session_id for s in rest.sessions] == [first.session_id]
    assert (await call(ingest.sessions.ListSessions, session_pb2.ListSessionsRequest(), owner="eve")).total_size == 0
    with pytest.raises(errors.NotFound):
        await get(ingest, first.session_id, owner="eve")
    # The video is the other session's too, and stays with it.
    for session in (first, other):
        assert (
            await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=asset.asset_id), owner="dora")
        ).asset.asset_id
        gone = session_pb2.DeleteSessionRequest(session_id=session.session_id)
        await call(ingest.sessions.DeleteSession, gone, owner="dora")
    with pytest.raises(errors.NotFound):
        await call(ingest.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=asset.asset_id), owner="dora")


async def test_only_the_name_changes(ingest: Any, clip: bytes) -> None:
    session = await create(ingest, clip)
    request = session_pb2.UpdateSessionRequest(
        session=session_pb2.Session(session_id=session.session_id, display_name="New")
    )
    assert (await call(ingest.sessions.UpdateSession, request, owner="ada")).session.display_name == "New"
    request.update_mask.paths.append("asset_id")
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(ingest.sessions.UpdateSession, request, owner="ada")
    assert refused.value.reason == "INVALID_MASK"
    empty = session_pb2.UpdateSessionRequest(
        session=session_pb2.Session(session_id=session.session_id), update_mask=FieldMask(paths=["display_name"])
    )
    with pytest.raises(errors.InvalidArgument) as refused:
        await call(ingest.sessions.UpdateSession, empty, owner="ada")
    assert refused.value.metadata["field"] == "display_name"
    gone = session_pb2.DeleteSessionRequest(session_id=session.session_id)
    await call(ingest.sessions.DeleteSession, gone, owner="ada")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"asset_id": "nope"}, "ASSET_NOT_FOUND"),
        ({"parameters": {"model": "nope"}}, "MODEL_NOT_FOUND"),
        ({"parameters": {"threshold": 2}}, "OUT_OF_RANGE"),
        ({"display_name": "x" * 201}, "OUT_OF_RANGE"),
    ],
)
async def test_wrong_sessions_are_refused_and_leave_nothing(
    ingest: Any, clip: bytes, fields: dict[str, Any], reason: str
) -> None:
    asset = await ingest.upload(clip, owner="wrong")
    request = session_pb2.CreateSessionRequest(**{"asset_id": asset.asset_id, **fields})
    with pytest.raises(errors.KinemeshError) as refused:
        await call(ingest.sessions.CreateSession, request, owner="wrong")
    assert refused.value.reason == reason
    assert (await call(ingest.sessions.ListSessions, session_pb2.ListSessionsRequest(), owner="wrong")).total_size == 0
    assert (await call(ingest.jobs.ListJobs, job_pb2.ListJobsRequest(), owner="wrong")).total_size == 0
