"""Recorded sessions, to the letter of their contract, and the canonical calls behind them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from kinemesh.common.v1 import common_pb2
from kinemesh.job.v1 import job_pb2

from .held import HeldUpload

VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(range(256)) * 40
PLAYABLE = bytes(range(256)) * 1024
RESULT = b'{"version": "v1", "trackPoints": []}'
OTHER = {"X-Kinemesh-Owner": "somebody-else"}
NAMED = {"sessionName": "Monday"}
ONE_JOB = {"jobId", "sessionId", "status", "stage", "progress", "error", "createdAt", "updatedAt"}
ONE_SESSION = {
    "sessionId", "sessionName", "hasInstructorTrackingResult", "videoUrl", "video", "jobId", "createdAt", "updatedAt",
}  # fmt: skip


async def post(gateway: Any, metadata: Any, data: bytes = VIDEO, owner: str = "local") -> Any:
    return await gateway.http.post(
        "/sessions/import",
        files={"video": ("monday.mp4", data, "video/mp4")},
        data={"metadata": metadata if isinstance(metadata, str) else json.dumps(metadata)},
        headers={"X-Kinemesh-Owner": owner},
    )


async def begin(gateway: Any, owner: str = "local", **metadata: Any) -> tuple[str, str]:
    """Job and session."""
    answer = await post(gateway, {**NAMED, **metadata}, owner=owner)
    assert answer.status_code == 202, answer.text
    assert set(answer.json()) == {"jobId", "sessionId"}
    return answer.json()["jobId"], answer.json()["sessionId"]


async def finish(gateway: Any, job_id: str) -> None:
    outputs = {"instructor_tracking.json": (RESULT, "application/json"), "video.mp4": (PLAYABLE, "video/mp4")}
    await gateway.catalogue.finish(job_id, outputs)


async def test_the_whole_way(gateway: Any) -> None:
    job_id, session_id = await begin(gateway, subject={"timeSec": 1.5, "x": 0.25, "y": 0.5}, threshold=0.25)
    asked = gateway.catalogue.jobs[job_id].parameters.instructor
    assert (asked.model, asked.threshold, asked.subject_point.time_sec) == ("person_detector", 0.25, 1.5)
    assert (asked.subject_point.point.x, asked.subject_point.point.y) == (0.25, 0.5)

    job = (await gateway.http.get(f"/jobs/{job_id}")).json()
    assert set(job) == ONE_JOB
    assert (job["jobId"], job["sessionId"], job["status"], job["progress"]) == (job_id, session_id, "queued", 0.0)
    session = (await gateway.http.get(f"/sessions/{session_id}")).json()
    assert set(session) == ONE_SESSION
    assert (session["sessionName"], session["jobId"]) == ("Monday", job_id)
    assert (session["hasInstructorTrackingResult"], session["videoUrl"]) == (False, None)
    assert session["video"] == {"width": 1280, "height": 720, "fps": 25.0, "durationSec": 4.0}
    for document in (job, session):
        for name in ("createdAt", "updatedAt"):
            assert datetime.fromisoformat(document[name]).utcoffset() is not None
    for path in ("results/instructor-tracking", "video"):
        for method in ("GET", "HEAD"):
            early = await gateway.http.request(method, f"/sessions/{session_id}/{path}")
            assert early.status_code == 409, path

    gateway.catalogue.run(job_id, split=1.0, detect=0.5)
    gateway.catalogue.jobs[job_id].progress = 0.4
    job = (await gateway.http.get(f"/jobs/{job_id}")).json()
    assert (job["status"], job["stage"], job["progress"]) == ("running", "detect", 0.4)

    await finish(gateway, job_id)
    job = (await gateway.http.get(f"/jobs/{job_id}")).json()
    assert (job["status"], job["progress"], job["error"]) == ("completed", 1.0, None)
    session = (await gateway.http.get(f"/sessions/{session_id}")).json()
    assert session["hasInstructorTrackingResult"] is True
    assert session["videoUrl"] == f"{gateway.url}/sessions/{session_id}/video"
    result = await gateway.http.get(f"/sessions/{session_id}/results/instructor-tracking")
    assert (result.status_code, result.content) == (200, RESULT)
    assert result.headers["content-type"] == "application/json"
    known = await gateway.http.get(
        f"/sessions/{session_id}/results/instructor-tracking", headers={"If-None-Match": result.headers["etag"]}
    )
    assert (known.status_code, known.content) == (304, b"")

    assert (await gateway.http.delete(f"/sessions/{session_id}")).status_code == 204
    for path in (f"/sessions/{session_id}", f"/sessions/{session_id}/video", f"/jobs/{job_id}"):
        assert (await gateway.http.get(path)).status_code == 404


async def test_the_video_comes_in_ranges(gateway: Any) -> None:
    job_id, session_id = await begin(gateway)
    await finish(gateway, job_id)
    url = f"/sessions/{session_id}/video"
    whole = await gateway.http.get(url)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, PLAYABLE, "video/mp4")
    head = await gateway.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]
    part = await gateway.http.get(url, headers={"Range": "bytes=-10"})
    assert (part.status_code, part.content) == (206, PLAYABLE[-10:])
    assert part.headers["content-range"] == f"bytes {len(PLAYABLE) - 10}-{len(PLAYABLE) - 1}/{len(PLAYABLE)}"
    beyond = await gateway.http.get(url, headers={"Range": f"bytes={len(PLAYABLE)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(PLAYABLE)}")


async def test_metadata_may_come_as_a_blob_and_hold_more(gateway: Any) -> None:
    metadata = json.dumps({**NAMED, "cameraOperator": "Ann"})
    files = {
        "metadata": ("blob", metadata, "application/json; charset=utf-8"),
        "video": ("a.webm", VIDEO, "video/webm"),
    }
    answer = await gateway.http.post("/sessions/import", files=files)
    assert answer.status_code == 202, answer.text
    session = (await gateway.http.get(f"/sessions/{answer.json()['sessionId']}")).json()
    assert session["sessionName"] == "Monday"


@pytest.mark.parametrize(
    ("metadata", "status", "reason", "field"),
    [
        ("{", 400, "FIELD_INVALID", "metadata"),
        ("[1]", 400, "FIELD_INVALID", "metadata"),
        ("", 400, "FIELD_INVALID", "metadata.sessionName"),
        ({"sessionName": ""}, 400, "FIELD_INVALID", "metadata.sessionName"),
        ({"sessionName": 7}, 400, "FIELD_INVALID", "metadata.sessionName"),
        ({"sessionName": "x" * 201}, 400, "FIELD_INVALID", "metadata.sessionName"),
        ({"sessionName": "a\nb"}, 400, "FIELD_INVALID", "metadata.sessionName"),
        ({**NAMED, "threshold": 2}, 400, "FIELD_INVALID", "metadata.threshold"),
        ({**NAMED, "subject": {"timeSec": 1, "x": 0.5}}, 400, "FIELD_INVALID", "metadata.subject.y"),
        ({**NAMED, "subject": {"timeSec": -1, "x": 0, "y": 0}}, 400, "FIELD_INVALID", "metadata.subject.timeSec"),
        ({**NAMED, "subject": {"timeSec": 1, "x": 1.5, "y": 0}}, 400, "FIELD_INVALID", "metadata.subject.x"),
        ({**NAMED, "model": "blazepose"}, 400, "WRONG_MODEL_TASK", "model"),
        ({**NAMED, "model": "lost"}, 409, "MODEL_NOT_READY", "model"),
        ({**NAMED, "model": "none"}, 404, "MODEL_NOT_FOUND", None),
    ],
)
async def test_metadata_that_is_refused(
    gateway: Any, metadata: Any, status: int, reason: str, field: str | None
) -> None:
    before = set(gateway.catalogue.assets)
    answer = await post(gateway, metadata)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason), answer.text
    assert answer.json()["error"]["metadata"].get("field") == field
    assert set(gateway.catalogue.assets) == before


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"plain text " * 100, 415, "NOT_A_VIDEO"),
        (b"OggS" + bytes(1000), 415, "UNSUPPORTED_CONTAINER"),
        (b"", 415, "EMPTY_FILE"),
        (b"\x1a\x45\xdf\xa3" + bytes(1000), 415, "NOT_A_VIDEO"),  # refused on confirming
        (VIDEO + bytes(65 * 1024 * 1024), 413, "FILE_TOO_LARGE"),
    ],
)
async def test_videos_that_are_refused(gateway: Any, data: bytes, status: int, reason: str) -> None:
    before = set(gateway.catalogue.assets)
    answer = await post(gateway, NAMED, data)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)
    assert set(gateway.catalogue.assets) == before


async def test_forms_that_are_refused(gateway: Any) -> None:
    no_form = await gateway.http.post("/sessions/import", json=NAMED)
    assert (no_form.status_code, no_form.json()["error"]["reason"]) == (415, "FORM_EXPECTED")
    no_video = await gateway.http.post("/sessions/import", files={"metadata": (None, json.dumps(NAMED))})
    assert (no_video.status_code, no_video.json()["error"]["metadata"]) == (400, {"field": "video"})
    no_metadata = await gateway.http.post("/sessions/import", files={"video": ("a.mp4", VIDEO)})
    assert (no_metadata.status_code, no_metadata.json()["error"]["metadata"]) == (400, {"field": "metadata"})
    long = await post(gateway, {"sessionName": "x" * 70_000})
    assert (long.status_code, long.json()["error"]["reason"]) == (413, "FIELD_TOO_LARGE")


async def test_uploads_under_way_are_bounded(gateway: Any) -> None:
    held = [
        await HeldUpload.begin(gateway.url + "/sessions/import", "video", VIDEO, metadata=json.dumps(NAMED))
        for _ in range(2)
    ]
    answer = await gateway.http.post("/sessions/import", files={"video": ("b.mp4", VIDEO)})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (429, "TOO_MANY_UPLOADS")
    assert int(answer.headers["retry-after"]) > 0
    assert [await one.finish() for one in held] == [202, 202]


async def test_jobs_and_sessions_are_listed(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "coach"}
    begun = [await begin(gateway, owner="coach") for _ in range(3)]
    await finish(gateway, begun[0][0])
    gateway.catalogue.run(begun[1][0], split=0.5)
    body = {"pipeline": "pose", "asset_id": gateway.catalogue.jobs[begun[0][0]].inputs[0].asset_id}
    assert (await gateway.http.post("/api/v1/jobs", json=body, headers=mine)).status_code == 202

    active = (await gateway.http.get("/jobs?active=true", headers=mine)).json()
    assert set(active) == {"jobs", "total", "limit", "offset", "nextPageToken"}
    assert [(job["jobId"], job["sessionId"], job["status"]) for job in active["jobs"]] == [
        (*begun[2], "queued"),
        (*begun[1], "running"),
    ]
    ended = (await gateway.http.get("/jobs?active=false", headers=mine)).json()
    assert [(job["jobId"], job["status"]) for job in ended["jobs"]] == [(begun[0][0], "completed")]
    assert (await gateway.http.get("/jobs", headers=mine)).json()["total"] == 3

    page = (await gateway.http.get("/sessions?limit=2", headers=mine)).json()
    assert set(page) == {"sessions", "total", "limit", "offset", "nextPageToken"}
    assert [session["sessionId"] for session in page["sessions"]] == [begun[2][1], begun[1][1]]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 0)
    by_token = await gateway.http.get(f"/sessions?limit=2&page_token={page['nextPageToken']}", headers=mine)
    by_offset = await gateway.http.get("/sessions?limit=2&offset=2", headers=mine)
    assert [session["sessionId"] for session in by_token.json()["sessions"]] == [begun[0][1]]
    assert by_token.json()["sessions"] == by_offset.json()["sessions"]
    for path in ("/jobs?limit=0", "/sessions?limit=101", "/jobs?active=maybe", "/sessions?offset=-1"):
        answer = await gateway.http.get(path)
        field = path.partition("?")[2].partition("=")[0]
        assert (answer.status_code, answer.json()["error"]["metadata"]["field"]) == (422, field)
    both = await gateway.http.get("/sessions?offset=1&page_token=1")
    assert (both.status_code, both.json()["error"]["metadata"]["field"]) == (400, "page_token")


async def test_a_session_is_processed_again(gateway: Any) -> None:
    job_id, session_id = await begin(gateway, threshold=0.25)
    busy = await gateway.http.post(f"/sessions/{session_id}/process")
    assert (busy.status_code, busy.json()["error"]["reason"]) == (409, "SESSION_BUSY")
    await finish(gateway, job_id)
    await gateway.http.get(f"/sessions/{session_id}")
    again = await gateway.http.post(f"/sessions/{session_id}/process", json={})
    assert (again.status_code, again.json()["sessionId"]) == (202, session_id)
    assert gateway.catalogue.jobs[again.json()["jobId"]].parameters.instructor.threshold == 0.25
    session = (await gateway.http.get(f"/sessions/{session_id}")).json()
    assert (session["jobId"], session["hasInstructorTrackingResult"]) == (again.json()["jobId"], True)
    assert (await gateway.http.get(f"/sessions/{session_id}/results/instructor-tracking")).content == RESULT

    gateway.catalogue.jobs[again.json()["jobId"]].state = job_pb2.JOB_STATE_FAILED
    clicked = await gateway.http.post(
        f"/sessions/{session_id}/process", json={"subject": {"timeSec": 2, "x": 0.5, "y": 0.75}, "threshold": 0.5}
    )
    asked = gateway.catalogue.jobs[clicked.json()["jobId"]].parameters.instructor
    assert (asked.threshold, asked.subject_point.point.y) == (0.5, 0.75)
    wrong = await gateway.http.post(f"/sessions/{session_id}/process", json={"subject": {"x": 0.5, "y": 0.5}})
    assert (wrong.status_code, wrong.json()["error"]["metadata"]["field"]) == (422, "subject.timeSec")


async def test_jobs_are_cancelled(gateway: Any) -> None:
    queued, _ = await begin(gateway)
    running, _ = await begin(gateway)
    completed, _ = await begin(gateway)
    failed, _ = await begin(gateway)
    gateway.catalogue.run(running, split=0.5)
    await finish(gateway, completed)
    job = gateway.catalogue.jobs[failed]
    job.state = job_pb2.JOB_STATE_FAILED
    job.failure.CopyFrom(common_pb2.Failure(reason="SUBJECT_NOT_FOUND", message="Nobody is there."))
    for job_id in (queued, running):
        cancelled = await gateway.http.delete(f"/jobs/{job_id}")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert (await gateway.http.get(f"/jobs/{job_id}")).json()["status"] == "cancelled"
    for job_id in (queued, completed, failed):
        answer = await gateway.http.delete(f"/jobs/{job_id}")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "JOB_ENDED")
    shown = (await gateway.http.get(f"/jobs/{failed}")).json()
    assert (shown["status"], shown["error"]) == ("failed", "Nobody is there.")


async def test_what_is_unknown_not_yours_or_of_another_kind_is_not_there(gateway: Any) -> None:
    job_id, session_id = await begin(gateway)
    await finish(gateway, job_id)
    dance = await gateway.job()
    wanted = [
        ("GET", "/sessions/{}", session_id),
        ("GET", "/sessions/{}/results/instructor-tracking", session_id),
        ("GET", "/sessions/{}/video", session_id),
        ("HEAD", "/sessions/{}/video", session_id),
        ("POST", "/sessions/{}/process", session_id),
        ("DELETE", "/sessions/{}", session_id),
        ("GET", "/jobs/{}", job_id),
        ("DELETE", "/jobs/{}", job_id),
        *((method, f"/api/v1/sessions/{{}}{path}", session_id) for method, path in (
            ("GET", ""), ("DELETE", ""), ("POST", "/process"), ("GET", "/video"),
        )),
    ]  # fmt: skip
    for method, path, own in wanted:
        unknown = await gateway.http.request(method, path.format("none"))
        foreign = await gateway.http.request(method, path.format(own), headers=OTHER)
        assert (unknown.status_code, foreign.status_code) == (404, 404), path
    for method in ("GET", "DELETE"):
        assert (await gateway.http.request(method, f"/jobs/{dance}")).status_code == 404
    assert (await gateway.http.get(f"/sessions/{session_id}")).status_code == 200
    assert gateway.catalogue.jobs[dance].state == job_pb2.JOB_STATE_QUEUED


async def test_the_canonical_calls(gateway: Any) -> None:
    asset_id = await gateway.asset(VIDEO)
    point = {"time_sec": 1.0, "point": {"x": 0.5, "y": 0.25}}
    body = {"asset_id": asset_id, "display_name": "Tuesday", "parameters": {"subject_point": point}}
    created = await gateway.http.post("/api/v1/sessions", json=body)
    assert created.status_code == 202, created.text
    session = created.json()
    url = f"/api/v1/sessions/{session['session_id']}"
    assert created.headers["location"] == url
    assert (session["display_name"], session["asset_id"], session["result_job_id"]) == ("Tuesday", asset_id, "")
    job = (await gateway.http.get(f"/api/v1/jobs/{session['job_id']}")).json()
    assert (job["pipeline"], job["parameters"]["subject_point"]) == ("instructor", point)
    renamed = await gateway.http.patch(url, json={"display_name": "Wednesday"})
    assert (renamed.status_code, renamed.json()["display_name"]) == (200, "Wednesday")
    assert (await gateway.http.get(url)).json() == renamed.json()
    assert (await gateway.http.get("/api/v1/sessions?limit=1")).json()["sessions"] == [renamed.json()]
    assert (await gateway.http.get(f"{url}/video")).status_code == 409
    assert (await gateway.http.post(f"{url}/process")).status_code == 409
    await finish(gateway, session["job_id"])
    assert (await gateway.http.get(f"{url}/video", headers={"Range": "bytes=0-0"})).status_code == 206
    again = await gateway.http.post(f"{url}/process", json={"parameters": {"threshold": 0.75}})
    assert (again.status_code, again.json()["result_job_id"]) == (202, session["job_id"])
    wrong = await gateway.http.post(f"{url}/process", json={"parameters": {"threshold": 7}})
    assert (wrong.status_code, wrong.json()["error"]["metadata"]["field"]) == (422, "parameters.threshold")
    assert (await gateway.http.delete(url)).status_code == 204
    assert (await gateway.http.get(url)).status_code == 404
