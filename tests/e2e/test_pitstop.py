"""Surface D from the upload to the drawn video, as a race engineer's client calls it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kinemesh.media import build_index
from kinemesh.testing.rest import Rest
from kinemesh.testing.waiting import until

JOBS = "/api/pitstop/jobs"
ZONES = [{"name": "box", "polygon": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}, {"x": 0, "y": 1}]}]


async def create(rest: Rest, clip: bytes, **form: str) -> Any:
    files = {"file": ("stop.mp4", clip, "video/mp4")}
    return await rest.call("POST", JOBS, files=files, data={"series": "GT3", "race": "Spa", "notes": "wet", **form})


async def ended(rest: Rest, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = {}

    async def has_ended() -> bool:
        nonlocal job
        job = (await rest.call("GET", f"{JOBS}/{job_id}")).json()
        return job["status"] in ("COMPLETE", "FAILED")

    await until(has_ended, within_s=180)
    return job


async def test_a_pit_stop_is_tracked_timed_and_drawn(rest: Rest, person_clip: bytes, tmp_path: Path) -> None:
    created = await create(rest, person_clip, model="person_detector", threshold="0.5", zones=json.dumps(ZONES))
    assert created.status_code in (200, 201, 202), created.text
    job = await ended(rest, created.json()["job_id"])
    assert (job["status"], job["stage"], job["error_message"]) == ("COMPLETE", "COMPLETE", None)
    assert (job["series"], job["race"], job["notes"], job["input_filename"]) == ("GT3", "Spa", "wet", "stop.mp4")
    assert job["output"]["available"]
    assert job["logs"]

    path = tmp_path / "out.mp4"
    whole = await rest.call("GET", f"{JOBS}/{job['job_id']}/output")
    assert whole.headers["content-type"] == "video/mp4"
    path.write_bytes(whole.content)
    assert len(whole.content) == job["output"]["size_bytes"]
    video = build_index(path)
    assert (video.width, video.height, video.frame_count) == (640, 480, 90)
    part = await rest.call("GET", f"{JOBS}/{job['job_id']}/output", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")

    table = pq.read_table(io.BytesIO(await rest.output(job["job_id"], "tracks.parquet")))
    assert set(table["track_id"].to_pylist()) == {1}
    assert table.num_rows > 80
    report = json.loads(await rest.output(job["job_id"], "report.json"))
    assert [one["track_id"] for one in report["objects"]] == [1]
    assert [zone["name"] for zone in report["zones"]] == ["box"]
    events = list(csv.DictReader(io.StringIO((await rest.output(job["job_id"], "events.csv")).decode())))
    assert events

    listed = (await rest.call("GET", JOBS, params={"limit": 10, "offset": 0})).json()
    assert listed["jobs"] == listed["items"]
    assert job["job_id"] in {one["job_id"] for one in listed["jobs"] if one["has_output"]}
    deleted = await rest.call("DELETE", f"{JOBS}/{job['job_id']}")
    assert deleted.json()["job_id"] == job["job_id"]
    assert (await rest.call("GET", f"{JOBS}/{job['job_id']}")).status_code == 404


async def test_without_a_model_it_says_what_to_do(rest: Rest, person_clip: bytes) -> None:
    refused = await create(rest, person_clip)
    assert refused.status_code == 409
    assert refused.json()["error"]["reason"] == "MODEL_REQUIRED"
    unknown = await create(rest, person_clip, model="nobody_imported_this")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["reason"] == "MODEL_NOT_FOUND"
