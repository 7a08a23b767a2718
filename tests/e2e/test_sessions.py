"""Surface C from the import of a recording to the instructor's figures, as a coach's client calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinemesh.media import build_index
from kinemesh.testing.rest import Rest
from kinemesh.testing.waiting import until


async def imported(rest: Rest, clip: bytes, **metadata: Any) -> dict[str, Any]:
    files = {"video": ("lesson.mp4", clip, "video/mp4")}
    answer = await rest.call(
        "POST", "/sessions/import", files=files, data={"metadata": json.dumps({"sessionName": "Lesson 1", **metadata})}
    )
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def ended(rest: Rest, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = {}

    async def has_ended() -> bool:
        nonlocal job
        job = (await rest.call("GET", f"/jobs/{job_id}")).json()
        return job["status"] in ("completed", "failed", "cancelled")

    await until(has_ended, within_s=180)
    return job


async def test_a_session_is_tracked_and_playable(rest: Rest, person_clip: bytes, tmp_path: Path) -> None:
    ids = await imported(rest, person_clip)
    session_id = ids["sessionId"]
    job = await ended(rest, ids["jobId"])
    assert (job["status"], job["progress"]) == ("completed", 1)
    session = (await rest.call("GET", f"/sessions/{session_id}")).json()
    assert session["hasInstructorTrackingResult"] is True
    assert session["sessionName"] == "Lesson 1"

    result = (await rest.call("GET", f"/sessions/{session_id}/results/instructor-tracking")).json()
    assert result["version"] == "v1"
    assert (result["video"]["width"], result["video"]["height"], result["video"]["frameCount"]) == (640, 480, 90)
    assert result["derivedMetrics"]["coveragePercent"] > 90
    assert result["derivedMetrics"]["gapsCount"] == 0
    points = result["trackPoints"]
    assert [point["frameIndex"] for point in points] == sorted({point["frameIndex"] for point in points})
    assert all(0 <= point["x"] <= 1 and 0 <= point["y"] <= 1 for point in points)

    path = tmp_path / "session.mp4"
    path.write_bytes((await rest.call("GET", f"/sessions/{session_id}/video")).content)
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")
    assert build_index(path).frame_count == 90

    again = (await rest.call("POST", f"/sessions/{session_id}/process")).json()
    assert (await ended(rest, again["jobId"]))["status"] == "completed"
    repeated = (await rest.call("GET", f"/sessions/{session_id}/results/instructor-tracking")).json()
    assert repeated == result
    assert (await rest.call("DELETE", f"/sessions/{session_id}")).is_success
    assert (await rest.call("GET", f"/sessions/{session_id}")).status_code == 404
    assert (await rest.call("GET", f"/jobs/{again['jobId']}")).status_code == 404


async def test_a_click_on_nobody_says_so(rest: Rest, person_clip: bytes) -> None:
    after_the_end = {"timeSec": 60, "x": 0.5, "y": 0.5}
    ids = await imported(rest, person_clip, subject=after_the_end)
    job = await ended(rest, ids["jobId"])
    assert job["status"] == "failed"
    assert "Nobody is seen near this point" in job["error"]
    session = (await rest.call("GET", f"/sessions/{ids['sessionId']}")).json()
    assert session["hasInstructorTrackingResult"] is False
    early = await rest.call("GET", f"/sessions/{ids['sessionId']}/results/instructor-tracking")
    assert (early.status_code, early.json()["error"]["reason"]) == (409, "RESULT_NOT_READY")
