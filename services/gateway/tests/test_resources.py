"""The canonical API: assets, jobs, pipelines, models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import pytest

from kinemesh.job.v1 import job_pb2, parameters_pb2

VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(range(256)) * 40


async def test_an_upload_goes_straight_to_storage(gateway: Any) -> None:
    body = {"filename": "run.mp4", "content_type": "video/mp4", "size_bytes": len(VIDEO)}
    created = await gateway.http.post("/api/v1/assets", json=body)
    assert created.status_code == 201
    asset, upload = created.json()["asset"], created.json()["upload"]
    assert asset["state"] == "PENDING"
    assert datetime.fromisoformat(asset["create_time"]).utcoffset() is not None
    assert upload["method"] == "PUT"
    assert upload["expires_in"] == 900
    assert upload["parts"] is None
    async with httpx.AsyncClient() as plain:
        assert (await plain.put(upload["url"], content=VIDEO, headers=upload["headers"])).status_code == 200
    confirmed = await gateway.http.post(f"/api/v1/assets/{asset['asset_id']}/confirm", json={})
    assert confirmed.status_code == 200
    assert confirmed.json()["state"] == "READY"
    assert confirmed.json()["video"]["width"] == 1280
    assert (await gateway.http.get(f"/api/v1/assets/{asset['asset_id']}")).json() == confirmed.json()


async def test_a_large_upload_goes_in_parts(gateway: Any) -> None:
    data = VIDEO + bytes(21 * 1024 * 1024)
    body = {"filename": "long.mp4", "content_type": "video/mp4", "size_bytes": len(data)}
    created = (await gateway.http.post("/api/v1/assets", json=body)).json()
    upload = created["upload"]
    assert upload["url"] is None
    size = upload["part_size"]
    done = []
    async with httpx.AsyncClient() as plain:
        for part in upload["parts"]:
            start = (part["part_number"] - 1) * size
            answer = await plain.put(part["url"], content=data[start : start + size])
            done.append({"part_number": part["part_number"], "etag": answer.headers["etag"]})
    confirmed = await gateway.http.post(f"/api/v1/assets/{created['asset']['asset_id']}/confirm", json={"parts": done})
    assert confirmed.json()["state"] == "READY"


async def test_confirming_without_an_upload_is_refused(gateway: Any) -> None:
    body = {"filename": "run.mp4", "content_type": "video/mp4", "size_bytes": 10}
    created = (await gateway.http.post("/api/v1/assets", json=body)).json()
    answer = await gateway.http.post(f"/api/v1/assets/{created['asset']['asset_id']}/confirm")
    assert answer.status_code == 409
    assert answer.json()["error"]["reason"] == "UPLOAD_MISSING"


async def test_the_same_idempotency_key_answers_with_the_same_asset(gateway: Any) -> None:
    body = {"filename": "run.mp4", "content_type": "video/mp4", "size_bytes": 10}
    headers = {"Idempotency-Key": "once"}
    answers = [await gateway.http.post("/api/v1/assets", json=body, headers=headers) for _ in range(2)]
    assert len({answer.json()["asset"]["asset_id"] for answer in answers}) == 1


async def test_assets_are_listed_in_pages_and_deleted(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "lister"}
    body = {"filename": "run.mp4", "content_type": "video/mp4", "size_bytes": 10}
    ids = [
        (await gateway.http.post("/api/v1/assets", json=body, headers=mine)).json()["asset"]["asset_id"]
        for _ in range(3)
    ]
    first = (await gateway.http.get("/api/v1/assets?limit=2", headers=mine)).json()
    assert [asset["asset_id"] for asset in first["assets"]] == ids[:0:-1]
    assert (first["total"], first["limit"], first["offset"]) == (3, 2, 0)
    by_token = await gateway.http.get(
        "/api/v1/assets", params={"limit": 2, "page_token": first["next_page_token"]}, headers=mine
    )
    by_offset = await gateway.http.get("/api/v1/assets", params={"limit": 2, "offset": 2}, headers=mine)
    assert by_token.json()["assets"] == by_offset.json()["assets"]
    assert by_offset.json()["next_page_token"] is None
    both = await gateway.http.get("/api/v1/assets", params={"offset": 2, "page_token": "2"}, headers=mine)
    assert both.status_code == 400
    assert both.json()["error"]["metadata"]["field"] == "page_token"
    assert (await gateway.http.delete(f"/api/v1/assets/{ids[0]}", headers=mine)).status_code == 204
    assert (await gateway.http.get(f"/api/v1/assets/{ids[0]}", headers=mine)).status_code == 404


async def test_what_is_not_yours_is_not_there(gateway: Any) -> None:
    job_id = await gateway.job()
    asset_id = (await gateway.http.get(f"/api/v1/jobs/{job_id}")).json()["inputs"][0]["asset_id"]
    other = {"X-Kinemesh-Owner": "somebody-else"}
    for path in (f"jobs/{job_id}", f"jobs/{job_id}/logs", f"jobs/{job_id}/outputs/a.mp4", f"assets/{asset_id}"):
        assert (await gateway.http.get(f"/api/v1/{path}", headers=other)).status_code == 404, path
    assert (await gateway.http.get(f"/api/v1/assets/{asset_id}/content", headers=other)).status_code == 404
    assert (await gateway.http.delete(f"/api/v1/jobs/{job_id}", headers=other)).status_code == 404


async def test_a_job_takes_the_parameters_of_its_pipeline(gateway: Any) -> None:
    asset_id = await gateway.asset(VIDEO)
    parameters = {
        "subject": "at_point",
        "subject_point": {"time_sec": 1, "point": {"x": 0.5, "y": 0.25}},
        "smooth": True,
        "style": {"colors": ["#ff0000"], "trail_sec": 1.5},
    }
    body = {"pipeline": "pose", "inputs": [{"asset_id": asset_id}], "parameters": parameters}
    answer = await gateway.http.post("/api/v1/jobs", json=body)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['job_id']}"
    assert (job["state"], job["pipeline"], job["failure"]) == ("QUEUED", "pose", None)
    assert job["inputs"] == [{"camera": "main", "asset_id": asset_id, "start_sec": None}]
    assert job["parameters"]["subject"] == "AT_POINT"
    assert job["parameters"]["subject_point"]["point"] == {"x": 0.5, "y": 0.25}
    sent = gateway.catalogue.jobs[job["job_id"]].parameters.pose
    assert sent.subject == parameters_pb2.SUBJECT_SELECTION_AT_POINT
    assert list(sent.style.colors) == ["#ff0000"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"asset_id": "a"}, 422, "pipeline"),
        ({"pipeline": "pose"}, 422, "body"),
        ({"pipeline": "pose", "asset_id": "a", "extra": 1}, 422, "extra"),
        ({"pipeline": "pose", "inputs": [{"camera": "c1"}]}, 422, "inputs[0].asset_id"),
        ({"pipeline": "magic", "asset_id": "a"}, 400, "pipeline"),
        ({"pipeline": "pose", "asset_id": "a", "parameters": {"colour": 1}}, 400, "parameters.colour"),
        ({"pipeline": "pose", "asset_id": "a", "parameters": {"smooth": "yes"}}, 400, "parameters.smooth"),
        ({"pipeline": "pose", "asset_id": "a", "parameters": {"max_persons": 1.5}}, 400, "parameters.max_persons"),
        ({"pipeline": "pose", "asset_id": "a", "parameters": {"max_persons": 2**40}}, 400, "parameters.max_persons"),
        ({"pipeline": "pose", "asset_id": "a", "parameters": {"subject": "best"}}, 400, "parameters.subject"),
        ({"pipeline": "pose", "asset_id": "a", "parameters": {"style": []}}, 400, "parameters.style"),
        (
            {"pipeline": "pose", "asset_id": "a", "parameters": {"style": {"colors": [1]}}},
            400,
            "parameters.style.colors[0]",
        ),
    ],
)
async def test_wrong_jobs_name_the_field(gateway: Any, body: dict[str, Any], status: int, field: str) -> None:
    answer = await gateway.http.post("/api/v1/jobs", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["metadata"]["field"] == field


async def test_jobs_are_listed_cancelled_and_deleted(gateway: Any) -> None:
    job_id = await gateway.job()
    cancelled = await gateway.http.post(f"/api/v1/jobs/{job_id}/cancel")
    assert cancelled.status_code == 200
    assert cancelled.json()["state"] == "CANCELLED"
    found = (await gateway.http.get("/api/v1/jobs?pipeline=pose&state=cancelled&state=FAILED&limit=100")).json()
    assert job_id in [job["job_id"] for job in found["jobs"]]
    assert {job["state"] for job in found["jobs"]} == {"CANCELLED"}
    assert (await gateway.http.get("/api/v1/jobs?pipeline=nothing")).json()["total"] == 0
    wrong = await gateway.http.get("/api/v1/jobs?state=lost")
    assert (wrong.status_code, wrong.json()["error"]["metadata"]["field"]) == (400, "state")
    assert (await gateway.http.delete(f"/api/v1/jobs/{job_id}")).status_code == 204
    assert (await gateway.http.get(f"/api/v1/jobs/{job_id}")).status_code == 404


async def test_cancelling_an_ended_job_conflicts(gateway: Any) -> None:
    job_id = await gateway.job()
    await gateway.catalogue.finish(job_id, {})
    answer = await gateway.http.post(f"/api/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "JOB_ENDED")


async def test_logs_come_in_pages(gateway: Any) -> None:
    job_id = await gateway.job()
    lines = [job_pb2.JobLog(level="INFO", text=f"line {number}") for number in range(5)]
    gateway.catalogue.logs[job_id] = lines
    first = (await gateway.http.get(f"/api/v1/jobs/{job_id}/logs?limit=3")).json()
    rest = (await gateway.http.get(f"/api/v1/jobs/{job_id}/logs?page_token={first['next_page_token']}")).json()
    assert [line["text"] for line in first["logs"] + rest["logs"]] == [line.text for line in lines]
    assert first["total"] == 5


async def test_pipelines_and_models(gateway: Any) -> None:
    pipelines = (await gateway.http.get("/api/v1/pipelines")).json()
    assert pipelines["pipelines"][0]["stages"][0] == {
        "stage": "pose",
        "service": "pose",
        "unit": "segment",
        "after": ["split"],
        "ordered": False,
    }
    assert pipelines["total"] == 1
    models = (await gateway.http.get("/api/v1/models?task=pose")).json()
    assert models["models"][0]["model"] == "blazepose"
    assert models["models"][0]["task"] == "POSE"
    assert (await gateway.http.get("/api/v1/models?task=face")).json()["total"] == 0
    assert (await gateway.http.get("/api/v1/models/blazepose")).json()["is_default"] is True
    assert (await gateway.http.get("/api/v1/models/none")).status_code == 404
