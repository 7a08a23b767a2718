"""Pit-stop jobs, to the letter of their contract."""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import pairwise, product
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh.common.v1 import common_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.storage import keys
from kinemesh_gateway.domain.pitstop import stage_and_percent

from .held import HeldUpload

JOBS = "/api/pitstop/jobs"
OTHER = {"X-Kinemesh-Owner": "somebody-else"}
VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(range(256)) * 40
MATROSKA = b"\x1a\x45\xdf\xa3" + bytes(1000)
DRAWN = bytes(range(256)) * 1024
MODEL = {"model": "person_detector"}
BANDS = {
    "UPLOAD": (0, 15),
    "DETECTING": (15, 40),
    "TRACKING": (40, 70),
    "RENDERING": (70, 90),
    "TRANSCODING": (90, 100),
}
ONE_JOB = {
    "job_id", "status", "stage", "progress", "series", "race", "notes", "input_filename", "input_size_bytes", "logs",
    "output", "error_message", "created_at", "updated_at",
}  # fmt: skip


async def post(
    gateway: Any, fields: dict[str, str], name: str = "stop.mp4", data: bytes = VIDEO, owner: str = "local"
) -> Any:
    headers = {"X-Kinemesh-Owner": owner}
    return await gateway.http.post(JOBS, files={"file": (name, data)}, data=fields, headers=headers)


async def begin(gateway: Any, owner: str = "local", **fields: str) -> str:
    answer = await post(gateway, MODEL | fields, owner=owner)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


async def finish(gateway: Any, job_id: str) -> None:
    outputs = {
        "annotated.mp4": (DRAWN, "video/mp4"),
        "report.json": (b'{"objects": 3}', "application/json"),
        "events.csv": (b"time_sec,event\n", "text/csv"),
    }
    await gateway.catalogue.finish(job_id, outputs, objects=3)


async def test_the_whole_way(gateway: Any) -> None:
    fields = {"series": "WEC", "race": "Spa 6h", "notes": "wet\r\nsecond stop – №2"}
    created = await post(gateway, MODEL | fields, "Box 7.MP4")
    assert created.status_code == 202, created.text
    job = created.json()
    assert set(job) == ONE_JOB
    assert {name: job[name] for name in fields} == fields
    assert (job["status"], job["stage"], job["progress"]) == ("QUEUED", "UPLOAD", 0)
    assert (job["input_filename"], job["input_size_bytes"]) == ("Box 7.MP4", len(VIDEO))
    assert job["output"] == {"available": False, "filename": None, "size_bytes": None}
    assert (job["logs"], job["error_message"]) == ([], None)
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(job[name]).utcoffset() is not None
    job_id = job["job_id"]
    assert await gateway.catalogue.store.get_bytes(keys.asset_source(job_id)) == VIDEO
    assert gateway.catalogue.jobs[job_id].parameters.pitstop.threshold == 0.5

    log = [
        job_pb2.JobLog(time=Timestamp(seconds=45_296), level="INFO", text="Begun."),
        job_pb2.JobLog(time=Timestamp(seconds=45_297), level="WARNING", text="Slow."),
    ]
    gateway.catalogue.logs[job_id] = log
    gateway.catalogue.run(job_id, split=1.0, detect=1.0, track=0.5, refine=0.0)
    running = (await gateway.http.get(f"{JOBS}/{job_id}")).json()
    assert (running["status"], running["stage"]) == ("PROCESSING", "TRACKING")
    assert 40 <= running["progress"] < 70
    assert running["logs"] == ["[12:34:56] INFO Begun.", "[12:34:57] WARNING Slow."]
    early = await gateway.http.get(f"{JOBS}/{job_id}/output")
    assert early.status_code == 409
    assert early.json()["detail"] == "Job is not complete. Current status: PROCESSING, stage: TRACKING"

    await finish(gateway, job_id)
    done = (await gateway.http.get(f"{JOBS}/{job_id}")).json()
    assert (done["status"], done["stage"], done["progress"]) == ("COMPLETE", "COMPLETE", 100)
    assert done["output"] == {"available": True, "filename": "Box 7_annotated.mp4", "size_bytes": len(DRAWN)}
    assert (await gateway.http.get(f"{JOBS}/{job_id}/report")).json() == {"objects": 3}
    events = await gateway.http.get(f"{JOBS}/{job_id}/events")
    assert (events.headers["content-type"], events.text) == ("text/csv", "time_sec,event\n")

    deleted = await gateway.http.delete(f"{JOBS}/{job_id}")
    assert (deleted.status_code, deleted.json()) == (200, {"message": "Job deleted", "job_id": job_id})
    assert (await gateway.http.get(f"{JOBS}/{job_id}")).status_code == 404
    assert job_id not in gateway.catalogue.assets


async def test_model_threshold_and_zones_are_the_jobs_own(gateway: Any) -> None:
    corners = [{"x": 0.0, "y": 0.5}, {"x": 0.5, "y": 0.5}, {"x": 0.25, "y": 1}]
    zones = json.dumps([{"name": "box", "polygon": corners}, {"name": "lane", "polygon": corners}])
    job_id = await begin(gateway, threshold="0.25", zones=zones)
    asked = gateway.catalogue.jobs[job_id].parameters.pitstop
    assert (asked.model, asked.threshold) == ("person_detector", 0.25)
    assert [zone.name for zone in asked.zones] == ["box", "lane"]
    assert [(corner.x, corner.y) for corner in asked.zones[0].polygon] == [(0, 0.5), (0.5, 0.5), (0.25, 1)]


@pytest.mark.parametrize("name", ["a.mp4", "a.MOV", "b.c.mkv", "a.avi", "a.webm"])
async def test_files_of_these_names_are_taken(gateway: Any, name: str) -> None:
    assert (await post(gateway, MODEL, name)).status_code == 202


TRIANGLE = [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 1}]


@pytest.mark.parametrize(
    ("name", "data", "fields", "reason", "field"),
    [
        ("a.txt", VIDEO, {}, "UNSUPPORTED_CONTAINER", "file"),
        ("a", VIDEO, {}, "UNSUPPORTED_CONTAINER", "file"),
        ("a.mp4", b"plain text " * 100, {}, "NOT_A_VIDEO", None),
        ("a.mkv", b"OggS" + bytes(1000), {}, "UNSUPPORTED_CONTAINER", None),
        ("a.mkv", MATROSKA, {}, "NOT_A_VIDEO", None),  # passes here; ingest refuses it on confirming
        ("a.mp4", b"", {}, "EMPTY_FILE", None),
        ("a.mp4", VIDEO + bytes(2 * 1024 * 1024), {}, "FILE_TOO_LARGE", None),
        ("a.mp4", VIDEO + bytes(5 * 1024 * 1024), {}, "FILE_TOO_LARGE", None),
        ("a.mp4", VIDEO, {"threshold": "high"}, "FIELD_INVALID", "threshold"),
        ("a.mp4", VIDEO, {"threshold": "1.5"}, "FIELD_INVALID", "threshold"),
        ("a.mp4", VIDEO, {"threshold": "nan"}, "FIELD_INVALID", "threshold"),
        ("a.mp4", VIDEO, {"zones": "["}, "FIELD_INVALID", "zones"),
        ("a.mp4", VIDEO, {"zones": "{}"}, "FIELD_INVALID", "zones"),
        ("a.mp4", VIDEO, {"zones": '[{"name": "a"}]'}, "FIELD_INVALID", "zones[0].polygon"),
        (
            "a.mp4",
            VIDEO,
            {"zones": json.dumps([{"name": "a", "polygon": [{"x": 2, "y": 0}, *TRIANGLE]}])},
            "FIELD_INVALID",
            "zones[0].polygon[0].x",
        ),
        (
            "a.mp4",
            VIDEO,
            {"zones": json.dumps([{"name": "a", "polygon": TRIANGLE}] * 2)},
            "DUPLICATE_ZONE",
            "zones[1].name",
        ),
        ("a.mp4", VIDEO, {"series": "x" * 201}, "FIELD_INVALID", "series"),
        ("a.mp4", VIDEO, {"race": "a\x07b"}, "FIELD_INVALID", "race"),
        ("a.mp4", VIDEO, {"notes": "a\x00b"}, "FIELD_INVALID", "notes"),
        ("a.mp4", VIDEO, {"model": "blazepose"}, "WRONG_MODEL_TASK", "model"),
    ],
)
async def test_what_is_refused_with_400(
    gateway: Any, name: str, data: bytes, fields: dict[str, str], reason: str, field: str | None
) -> None:
    before = set(gateway.catalogue.assets)
    answer = await post(gateway, MODEL | fields, name, data)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["status"], error["reason"]) == ("INVALID_ARGUMENT", reason)
    assert field is None or error["metadata"]["field"] == field
    assert set(gateway.catalogue.assets) == before


async def test_forms_that_are_none(gateway: Any) -> None:
    missing = await gateway.http.post(JOBS, files={"series": (None, b"WEC")})
    assert (missing.status_code, missing.json()["error"]["metadata"]) == (400, {"field": "file"})
    elsewhere = await gateway.http.post(JOBS, files={"video": ("a.mp4", VIDEO)})
    assert (elsewhere.status_code, elsewhere.json()["error"]["metadata"]) == (400, {"field": "video"})
    no_form = await gateway.http.post(JOBS, json={})
    assert (no_form.status_code, no_form.json()["error"]["reason"]) == (400, "FORM_EXPECTED")


async def test_models_that_cannot_be_used(gateway: Any) -> None:
    before = set(gateway.catalogue.assets)
    for model, status, reason in (
        ("", 409, "MODEL_REQUIRED"),
        ("none", 404, "MODEL_NOT_FOUND"),
        ("lost", 409, "MODEL_NOT_READY"),
    ):
        answer = await post(gateway, {"model": model})
        assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)
    assert set(gateway.catalogue.assets) == before


async def test_uploads_under_way_are_bounded(gateway: Any) -> None:
    held = [await HeldUpload.begin(gateway.url + JOBS, "file", VIDEO, **MODEL) for _ in range(2)]
    answer = await gateway.http.post(JOBS, files={"file": ("b.mp4", VIDEO)})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (429, "TOO_MANY_UPLOADS")
    assert int(answer.headers["retry-after"]) > 0
    assert [await one.finish() for one in held] == [202, 202]


async def test_jobs_are_listed(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "engineer"}
    ids = [await begin(gateway, "engineer", race=str(number)) for number in range(3)]
    await gateway.http.post(
        "/api/v1/jobs",
        json={"pipeline": "instructor", "asset_id": ids[0]},
        headers=mine,
    )
    await finish(gateway, ids[0])
    del gateway.catalogue.assets[ids[1]]
    first = (await gateway.http.get(f"{JOBS}?limit=2&offset=0", headers=mine)).json()
    assert set(first) == {"jobs", "items", "total", "limit", "offset"}
    assert first["items"] == first["jobs"]
    assert (first["total"], first["limit"], first["offset"]) == (3, 2, 0)
    assert [job["job_id"] for job in first["jobs"]] == [ids[2], ids[1]]
    assert [job["input_filename"] for job in first["jobs"]] == ["stop.mp4", None]
    rest = (await gateway.http.get(f"{JOBS}?limit=2&offset=2", headers=mine)).json()
    assert [(job["job_id"], job["has_output"], job["progress"]) for job in rest["jobs"]] == [(ids[0], True, 100)]
    assert set(rest["jobs"][0]) == (ONE_JOB - {"logs", "output"}) | {"has_output"}
    assert (await gateway.http.get(JOBS, headers=mine)).json()["limit"] == 20
    for query in ("limit=0", "limit=101", "offset=-1", "limit=ten"):
        answer = await gateway.http.get(f"{JOBS}?{query}")
        assert (answer.status_code, answer.json()["error"]["metadata"]["field"]) == (422, query.split("=")[0])


async def test_what_is_unknown_not_yours_or_no_pit_stop_is_not_there(gateway: Any) -> None:
    job_id = await begin(gateway)
    await finish(gateway, job_id)
    dance = await gateway.job()
    for path in ("", "/output", "/report", "/events"):
        for url, headers in (
            (f"{JOBS}/none{path}", {}),
            (f"{JOBS}/{job_id}{path}", OTHER),
            (f"{JOBS}/{dance}{path}", {}),
        ):
            answer = await gateway.http.get(url, headers=headers)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "JOB_NOT_FOUND"), url
    for url, headers in ((f"{JOBS}/none", {}), (f"{JOBS}/{job_id}", OTHER), (f"{JOBS}/{dance}", {})):
        assert (await gateway.http.delete(url, headers=headers)).status_code == 404, url
    assert {job_id, dance} <= set(gateway.catalogue.jobs)


@pytest.mark.parametrize("path", ["output", "report", "events"])
async def test_before_it_is_complete(gateway: Any, path: str) -> None:
    job_id = await begin(gateway)
    queued = await gateway.http.get(f"{JOBS}/{job_id}/{path}")
    assert queued.status_code == 409
    assert queued.json()["detail"] == "Job is not complete. Current status: QUEUED, stage: UPLOAD"
    assert queued.json()["error"]["reason"] == "JOB_NOT_COMPLETE"
    assert (await gateway.http.head(f"{JOBS}/{job_id}/{path}")).status_code == 409


async def test_the_output_comes_in_ranges(gateway: Any) -> None:
    job_id = await begin(gateway)
    await finish(gateway, job_id)
    url = f"{JOBS}/{job_id}/output"
    whole = await gateway.http.get(url)
    assert (whole.status_code, whole.content) == (200, DRAWN)
    assert (whole.headers["content-type"], whole.headers["accept-ranges"]) == ("video/mp4", "bytes")
    assert whole.headers["content-disposition"] == 'inline; filename="stop_annotated.mp4"'
    head = await gateway.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]
    part = await gateway.http.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, DRAWN[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(DRAWN)}"
    beyond = await gateway.http.get(url, headers={"Range": f"bytes={len(DRAWN)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(DRAWN)}")
    known = await gateway.http.get(url, headers={"If-None-Match": whole.headers["etag"]})
    assert known.status_code == 304


async def test_failures_and_cancelled_jobs_have_failed(gateway: Any) -> None:
    failed, cancelled = await begin(gateway), await begin(gateway)
    job = gateway.catalogue.jobs[failed]
    gateway.catalogue.run(failed, split=1.0, detect=1.0, track=1.0, refine=1.0, render=0.5)
    job.state = job_pb2.JOB_STATE_FAILED
    job.failure.CopyFrom(common_pb2.Failure(reason="X", message="The disk is full."))
    shown = (await gateway.http.get(f"{JOBS}/{failed}")).json()
    assert (shown["status"], shown["stage"], shown["progress"]) == ("FAILED", "RENDERING", 80)
    assert shown["error_message"] == "The disk is full."
    early = await gateway.http.get(f"{JOBS}/{failed}/output")
    assert early.json()["detail"] == "Job is not complete. Current status: FAILED, stage: RENDERING"
    assert (await gateway.http.post(f"/api/v1/jobs/{cancelled}/cancel")).status_code == 200
    shown = (await gateway.http.get(f"{JOBS}/{cancelled}")).json()
    assert (shown["status"], shown["error_message"]) == ("FAILED", "The job was cancelled.")


async def test_a_job_over_an_asset_of_its_own_leaves_that_asset(gateway: Any) -> None:
    asset_id = await gateway.asset(VIDEO)
    body = {"pipeline": "pitstop", "asset_id": asset_id, "parameters": {**MODEL, "notes": "two\nlines"}}
    job_id = (await gateway.http.post("/api/v1/jobs", json=body)).json()["job_id"]
    assert (await gateway.http.get(f"{JOBS}/{job_id}")).json()["notes"] == "two\nlines"
    assert (await gateway.http.delete(f"{JOBS}/{job_id}")).status_code == 200
    assert asset_id in gateway.catalogue.assets


async def test_long_logs_end_with_their_end(gateway: Any) -> None:
    job_id = await begin(gateway)
    gateway.catalogue.logs[job_id] = [job_pb2.JobLog(level="INFO", text=str(number)) for number in range(2500)]
    logs = (await gateway.http.get(f"{JOBS}/{job_id}")).json()["logs"]
    assert [int(line.rsplit(" ", 1)[1]) for line in logs] == list(range(1500, 2500))
    assert all(re.match(r"\[\d\d:\d\d:\d\d\] INFO \d+\Z", line) for line in logs)


def test_stage_and_percent_stay_in_their_bands_and_never_go_back() -> None:
    names = ("split", "detect", "track", "refine", "render", "finalize")
    steps = (0.0, 0.3, 0.999, 1.0)
    seen: dict[tuple[float, ...], int] = {}
    for fractions in product(steps, repeat=len(names)):
        stage, percent = stage_and_percent("RUNNING", dict(zip(names, fractions, strict=True)))
        low, high = BANDS[stage]
        assert low <= percent <= high
        assert percent < 100
        seen[fractions] = percent
    following = dict(pairwise(steps))
    for fractions, percent in seen.items():
        for position, fraction in enumerate(fractions):
            if fraction in following:
                later = (*fractions[:position], following[fraction], *fractions[position + 1 :])
                assert seen[later] >= percent
    assert stage_and_percent("SUCCEEDED", {}) == ("COMPLETE", 100)
    assert stage_and_percent("QUEUED", {}) == ("UPLOAD", 0)


async def test_health(gateway: Any) -> None:
    answer = await gateway.http.get("/api/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
