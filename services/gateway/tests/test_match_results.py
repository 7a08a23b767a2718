"""What jobs that match climbers with a reference image made, over REST."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinemesh.common.v1 import common_pb2
from kinemesh.job.v1 import job_pb2

from .test_match import PATH, begin

PARQUET = "application/vnd.apache.parquet"
RESULT = {
    *("job_id", "video_url", "landmarks_url", "landmarks_table_url", "matches_url", "match_url", "metrics_url"),
    *("contact_sheet_url", "frames_url", "verdict", "reference_features", "quality", "metrics", "holds"),
}
METRICS = {
    **{"time_on_route_sec": 31.5, "moves": 14, "pauses": 1, "pause_sec": 2.25, "path_length": 1.75},
    **{"straightness": 0.5, "holds_touched": 9},
}
HOLDS = [{"hold": 1, "x": 0.25, "y": 0.75, "attempts": [1, 2]}]
GROUP = 4


def table(attempts: int = 2, frames: int = 5) -> bytes:
    """Rows of several attempts in row groups of four; the last frame of each could not be matched."""
    numbers = [(attempt, frame) for attempt in range(1, attempts + 1) for frame in range(frames)]
    lost = [frame == frames - 1 for _, frame in numbers]
    columns = {
        "attempt": pa.array([attempt for attempt, _ in numbers], pa.int32()),
        "camera": [f"attempt{attempt}" for attempt, _ in numbers],
        "frame_index": pa.array([frame for _, frame in numbers], pa.int64()),
        "time_sec": [frame / 25 for _, frame in numbers],
        "verdict": ["CANNOT_MATCH" if gone else "MATCHED" for gone in lost],
        "reason": ["TOO_FEW_INLIERS" if gone else "" for gone in lost],
        "source": ["interpolated" if gone else "measured" for gone in lost],
        "matches": pa.array([3 if gone else 200 for gone in lost], pa.int32()),
        "inliers": pa.array([0 if gone else 150 for gone in lost], pa.int32()),
        "coverage": [0.0 if gone else 0.62345678 for gone in lost],
        "rms_error_px": [float("nan") if gone else 0.75 for gone in lost],
        "condition_number": [float("inf") if gone else 1.5 for gone in lost],
        "further": [1] * len(numbers),
    }
    data = io.BytesIO()
    pq.write_table(pa.table(columns), data, row_group_size=GROUP)
    return data.getvalue()


def attempt_of(number: int, verdict: str, **values: Any) -> dict[str, Any]:
    return {
        "camera": f"attempt{number}",
        "attempt_id": f"a{number}",
        "name": f"Go {number}",
        "verdict": verdict,
        "matched_frames": 90,
        "interpolated_frames": 7,
        "unmatched_frames": 3,
        **values,
    }


async def finish(gateway: Any, job_id: str, **summary: Any) -> None:
    outputs = {
        "annotated.mp4": (b"mp4", "video/mp4"),
        "landmarks.parquet": (b"PAR1", PARQUET),
        "landmarks.json": (b"{}", "application/json"),
        "matches.parquet": (table(), PARQUET),
        "match.json": (b'{"attempts": []}', "application/json"),
        "metrics.json": (json.dumps({"holds": HOLDS}).encode(), "application/json"),
        "contact_sheet.jpg": (b"\xff\xd8", "image/jpeg"),
    }
    await gateway.catalogue.finish(job_id, outputs, **summary)


async def test_a_result(gateway: Any) -> None:
    job_id = await begin(gateway)
    attempts = [attempt_of(1, "MATCHED", metrics=METRICS), attempt_of(2, "WEAK")]
    await finish(gateway, job_id, attempts=attempts, reference_features=3900, has_poses=True, has_features=True)
    answer = await gateway.http.get(f"{PATH}/{job_id}/result")
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert set(result) == RESULT
    assert (result["job_id"], result["verdict"], result["reference_features"]) == (job_id, "WEAK", 3900)
    assert result["quality"] == [
        {
            **{"attempt": number, "camera": f"attempt{number}", "attempt_id": f"a{number}", "name": f"Go {number}"},
            **{"verdict": verdict, "matched_frames": 90, "interpolated_frames": 7, "unmatched_frames": 3},
        }
        for number, verdict in ((1, "MATCHED"), (2, "WEAK"))
    ]
    assert result["metrics"] == [{"attempt": 1, "attempt_id": "a1", "name": "Go 1", **METRICS}]
    assert result["holds"] == HOLDS
    contents = {
        "video_url": b"mp4",
        "landmarks_url": b"{}",
        "landmarks_table_url": b"PAR1",
        "match_url": b'{"attempts": []}',
        "metrics_url": json.dumps({"holds": HOLDS}).encode(),
        "contact_sheet_url": b"\xff\xd8",
    }
    for name, content in contents.items():
        assert result[name].startswith(gateway.url)
        assert (await gateway.http.get(result[name])).content == content, name
    part = await gateway.http.get(result["video_url"], headers={"Range": "bytes=1-1"})
    assert (part.status_code, part.content) == (206, b"p")
    assert pq.read_table(io.BytesIO((await gateway.http.get(result["matches_url"])).content)).num_rows == 10
    assert (await gateway.http.get(result["frames_url"])).json()["total"] == 10


async def test_what_was_not_made_is_null(gateway: Any) -> None:
    job_id = await begin(gateway)
    await gateway.catalogue.finish(job_id, {"annotated.mp4": (b"mp4", "video/mp4")})
    result = (await gateway.http.get(f"{PATH}/{job_id}/result")).json()
    assert result["video_url"].endswith("/annotated.mp4")
    urls = {name for name in RESULT if name.endswith("_url")} - {"video_url", "frames_url"}
    assert all(result[name] is None for name in urls)
    assert (result["verdict"], result["quality"], result["metrics"]) == (None, [], [])
    assert result["holds"] == []
    missing = await gateway.http.get(f"{PATH}/{job_id}/frames")
    assert (missing.status_code, missing.json()["error"]["reason"]) == (404, "OUTPUT_NOT_FOUND")


@pytest.mark.parametrize("path", ["result", "frames"])
async def test_nothing_before_the_end(gateway: Any, path: str) -> None:
    job_id = await begin(gateway)
    job = gateway.catalogue.jobs[job_id]
    for state, name in (
        (job_pb2.JOB_STATE_QUEUED, "queued"),
        (job_pb2.JOB_STATE_RUNNING, "running"),
        (job_pb2.JOB_STATE_CANCELLED, "cancelled"),
        (job_pb2.JOB_STATE_FAILED, "failed"),
    ):
        job.state = state
        if name == "failed":
            job.failure.CopyFrom(common_pb2.Failure(reason="WORKER_LOST", message="Lost.", code="INTERNAL"))
        early = await gateway.http.get(f"{PATH}/{job_id}/{path}")
        error = early.json()["error"]
        assert (early.status_code, error["reason"], error["metadata"]) == (409, "JOB_NOT_COMPLETE", {"status": name})


@pytest.mark.parametrize("path", ["result", "frames"])
async def test_cannot_match_is_an_answer(gateway: Any, path: str) -> None:
    job_id = await begin(gateway)
    job = gateway.catalogue.jobs[job_id]
    job.state = job_pb2.JOB_STATE_FAILED
    counts = {"camera": "main", "frames": "100", "matched_frames": "2", "best_inliers": "7", "best_matches": "31"}
    message = "Too few frames match the reference image."
    job.failure.CopyFrom(
        common_pb2.Failure(reason="NOT_ENOUGH_MATCHES", message=message, metadata=counts, code="FAILED_PRECONDITION")
    )
    answer = await gateway.http.get(f"{PATH}/{job_id}/{path}")
    assert (answer.status_code, answer.json()["detail"]) == (409, message)
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"]) == ("NOT_ENOUGH_MATCHES", {**counts, "status": "failed"})
    status = (await gateway.http.get(f"{PATH}/{job_id}")).json()
    assert (status["error"], status["failure"]["metadata"]) == (message, counts)


async def test_nobody_at_the_click_is_an_answer(gateway: Any) -> None:
    job_id = await begin(gateway)
    job = gateway.catalogue.jobs[job_id]
    job.state = job_pb2.JOB_STATE_FAILED
    job.failure.CopyFrom(common_pb2.Failure(reason="NO_PERSON_AT_POINT", message="Nobody is there.", code="NOT_FOUND"))
    answer = await gateway.http.get(f"{PATH}/{job_id}/result")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "NO_PERSON_AT_POINT")


async def test_frames_come_in_pages(gateway: Any) -> None:
    job_id = await begin(gateway)
    await finish(gateway, job_id)
    url = f"{PATH}/{job_id}/frames"
    whole = (await gateway.http.get(url)).json()
    assert (whole["total"], whole["limit"], whole["offset"], whole["next_page_token"]) == (10, 100, 0, None)
    frames = whole["frames"]
    assert [(f["attempt"], f["frame_index"]) for f in frames] == [(a, n) for a in (1, 2) for n in range(5)]
    assert frames[0] == {
        **{"attempt": 1, "camera": "attempt1", "frame_index": 0, "time_sec": 0.0, "verdict": "MATCHED"},
        **{"reason": None, "source": "measured", "matches": 200, "inliers": 150, "coverage": 0.623457},
        **{"rms_error_px": 0.75, "condition_number": 1.5},
    }
    assert frames[4] == {
        **{"attempt": 1, "camera": "attempt1", "frame_index": 4, "time_sec": 0.16, "verdict": "CANNOT_MATCH"},
        **{"reason": "TOO_FEW_INLIERS", "source": "interpolated", "matches": 3, "inliers": 0, "coverage": 0.0},
        **{"rms_error_px": None, "condition_number": None},
    }
    collected: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 3}
    for _ in range(4):
        page = (await gateway.http.get(url, params=params)).json()
        collected += page["frames"]
        params["page_token"] = page["next_page_token"]
    assert (collected, page["next_page_token"]) == (frames, None)
    middle = (await gateway.http.get(url, params={"limit": 3, "offset": 3})).json()
    assert (middle["frames"], middle["offset"], middle["next_page_token"]) == (frames[3:6], 3, "6")
    beyond = (await gateway.http.get(url, params={"offset": 99})).json()
    assert (beyond["frames"], beyond["total"], beyond["next_page_token"]) == ([], 10, None)


@pytest.mark.parametrize(
    ("query", "status", "reason", "field"),
    [
        ("limit=0", 422, "VALIDATION_FAILED", "limit"),
        ("limit=1001", 422, "VALIDATION_FAILED", "limit"),
        ("offset=-1", 422, "VALIDATION_FAILED", "offset"),
        ("page_token=x", 400, "INVALID_PAGE_TOKEN", "page_token"),
        ("page_token=-1", 400, "INVALID_PAGE_TOKEN", "page_token"),
        ("page_token=99999999999999999999", 400, "INVALID_PAGE_TOKEN", "page_token"),
        (f"page_token={'9' * 900}", 400, "INVALID_PAGE_TOKEN", "page_token"),
        ("page_token=%C2%B2", 400, "INVALID_PAGE_TOKEN", "page_token"),
        ("page_token=2&offset=1", 400, "PAGE_AMBIGUOUS", "page_token"),
    ],
)
async def test_pages_that_make_no_sense(gateway: Any, query: str, status: int, reason: str, field: str) -> None:
    job_id = await begin(gateway)
    await finish(gateway, job_id)
    answer = await gateway.http.get(f"{PATH}/{job_id}/frames?{query}")
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"], error["metadata"]["field"]) == (status, reason, field)


async def test_only_the_row_groups_of_a_page_are_read(gateway: Any) -> None:
    job_id = await begin(gateway)
    data = io.BytesIO(table(attempts=1, frames=12))
    with pq.ParquetFile(data) as file:
        middle = file.metadata.row_group(1).column(0)
    damaged = bytearray(data.getvalue())
    start = middle.dictionary_page_offset or middle.data_page_offset
    damaged[start : start + middle.total_compressed_size] = bytes(middle.total_compressed_size)
    await gateway.catalogue.finish(job_id, {"matches.parquet": (bytes(damaged), PARQUET)})
    url = f"{PATH}/{job_id}/frames"
    for offset in (0, 2 * GROUP):
        page = (await gateway.http.get(url, params={"limit": GROUP, "offset": offset})).json()
        assert [frame["frame_index"] for frame in page["frames"]] == list(range(offset, offset + GROUP))
    broken = await gateway.http.get(url, params={"limit": GROUP, "offset": GROUP})
    assert (broken.status_code, json.loads(broken.text)["error"]["reason"]) == (500, "INTERNAL")
