"""Climbers on a reference image over REST: asked for, followed, cancelled, refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from kinemesh import errors
from kinemesh.common.v1 import common_pb2
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2

from .routes_stand_in import BUILT_IN
from .stand_in import MP4_HEAD

PATH = "/api/v1/match"
OTHER = {"X-Kinemesh-Owner": "somebody-else"}
ACCEPTED = {"job_id", "status", "status_url", "result_url", "websocket_url"}
STATUS = {
    *("job_id", "status", "stage", "progress", "error", "failure", "created_at", "updated_at", "stages"),
    *("mode", "model", "alignment", "fps", "reference", "attempts"),
}


async def begin(gateway: Any, **body: Any) -> str:
    """The id of a job over a video, or over what is named."""
    if not {"attempt_id", "attempt_ids", "asset_id", "asset_ids"} & set(body):
        body["asset_id"] = await gateway.asset(MP4_HEAD + b"video")
    answer = await gateway.http.post(PATH, json={"reference": BUILT_IN, **body})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


async def test_a_job_over_an_attempt(gateway: Any) -> None:
    route_id = await gateway.route(reference_id=BUILT_IN)
    attempt_id = await gateway.attempt(route_id, display_name="First go")
    answer = await gateway.http.post(PATH, json={"attempt_id": attempt_id})
    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    job_id = accepted["job_id"]
    assert set(accepted) == ACCEPTED
    assert accepted == {
        "job_id": job_id,
        "status": "queued",
        "status_url": f"{PATH}/{job_id}",
        "result_url": f"{PATH}/{job_id}/result",
        "websocket_url": f"/ws/jobs/{job_id}",
    }
    assert answer.headers["location"] == f"{PATH}/{job_id}"
    asked = gateway.catalogue.jobs[job_id].parameters.route_match
    assert (asked.attempt_id, list(asked.attempt_ids), asked.reference) == (attempt_id, [], BUILT_IN)
    assert asked.mode == parameters_pb2.MATCH_MODE_SINGLE
    assert asked.alignment == parameters_pb2.TIME_ALIGNMENT_MOVEMENT_START
    assert (asked.transform_model, asked.output_frame_rate) == (0, 0.0)
    assert asked.style == parameters_pb2.OverlayStyle()
    assert not asked.HasField("subject_point")
    status = (await gateway.http.get(accepted["status_url"])).json()
    assert set(status) == STATUS
    assert (status["status"], status["stage"], status["progress"]) == ("queued", "split", 0.0)
    assert (status["error"], status["failure"], status["fps"], status["model"]) == (None, None, None, None)
    assert (status["mode"], status["alignment"], status["reference"]) == ("single", "start", BUILT_IN)
    named = {"attempt": 1, "camera": "main", "attempt_id": attempt_id, "name": "First go"}
    assert status["attempts"] == [named]
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(status[name]).utcoffset() is not None


async def test_everything_that_can_be_asked_for(gateway: Any) -> None:
    route_id = await gateway.route()
    attempts = [await gateway.attempt(route_id) for _ in range(3)]
    style = {
        "colors": ["#ff0000", "#00FF00"],
        "line_thickness": 3,
        "joint_radius": -1,
        "trail": 2.5,
        "hide_labels": True,
    }
    body = {
        "attempt_ids": attempts,
        "image_id": BUILT_IN,
        "mode": "multi",
        "model": "Affine",
        "alignment": "path",
        "fps": 59.94,
        "style": style,
    }
    job_id = await begin(gateway, **{**body, "reference": None})
    asked = gateway.catalogue.jobs[job_id].parameters.route_match
    assert (asked.attempt_id, list(asked.attempt_ids)) == (attempts[0], attempts[1:])
    assert (asked.reference, asked.mode) == (BUILT_IN, parameters_pb2.MATCH_MODE_MULTI)
    assert asked.transform_model == matcher_pb2.TRANSFORM_MODEL_AFFINE
    assert (asked.alignment, asked.output_frame_rate) == (parameters_pb2.TIME_ALIGNMENT_PATH, 59.94)
    drawn = asked.style
    assert (list(drawn.colors), drawn.line_thickness, drawn.joint_radius) == (["#ff0000", "#00FF00"], 3, -1)
    assert (drawn.trail_sec, drawn.hide_labels) == (2.5, True)
    status = (await gateway.http.get(f"{PATH}/{job_id}")).json()
    assert (status["mode"], status["model"], status["alignment"], status["fps"]) == ("multi", "affine", "path", 59.94)
    assert [(a["attempt"], a["camera"], a["attempt_id"]) for a in status["attempts"]] == [
        (number, f"attempt{number}", attempt_id) for number, attempt_id in enumerate(attempts, 1)
    ]


async def test_jobs_over_bare_videos(gateway: Any) -> None:
    subject = {"time_sec": 1.5, "x": 0.25, "y": 0.5}
    job_id = await begin(gateway, subject=subject, style={"color": "#123abc"}, alignment="none")
    job = gateway.catalogue.jobs[job_id]
    asked = job.parameters.route_match
    assert ([source.camera for source in job.inputs], asked.attempt_id) == (["main"], "")
    assert (asked.subject_point.time_sec, asked.subject_point.point.x, asked.subject_point.point.y) == (1.5, 0.25, 0.5)
    assert (list(asked.style.colors), asked.alignment) == (["#123abc"], parameters_pb2.TIME_ALIGNMENT_NONE)
    videos = [await gateway.asset(MP4_HEAD + b"video", filename=f"{n}.mp4") for n in range(2)]
    job_id = await begin(gateway, asset_ids=videos)
    inputs = gateway.catalogue.jobs[job_id].inputs
    assert [(source.camera, source.asset_id) for source in inputs] == [("attempt1", videos[0]), ("attempt2", videos[1])]
    status = (await gateway.http.get(f"{PATH}/{job_id}")).json()
    assert [(attempt["attempt_id"], attempt["name"]) for attempt in status["attempts"]] == [
        ("", "0.mp4"),
        ("", "1.mp4"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ([], "body"),
        ({"attempt_id": ""}, "attempt_id"),
        ({"attempt_ids": []}, "attempt_ids"),
        ({"attempt_ids": [str(n) for n in range(9)]}, "attempt_ids"),
        ({"attempt_ids": ["a", "a"]}, "attempt_ids"),
        ({"attempt_id": "a", "attempt_ids": ["b"]}, "attempt_ids"),
        ({"attempt_id": "a", "asset_id": "b"}, "asset_id"),
        ({"asset_id": "a", "asset_ids": ["b"]}, "asset_ids"),
        ({"asset_ids": ["a", ""]}, "asset_ids[1]"),
        ({"asset_id": "a", "image_id": "x", "reference": "y"}, "reference"),
        ({"asset_id": "a", "mode": "many"}, "mode"),
        ({"asset_id": "a", "mode": 1}, "mode"),
        ({"asset_id": "a", "model": "rigid"}, "model"),
        ({"asset_id": "a", "alignment": "end"}, "alignment"),
        ({"asset_id": "a", "fps": 0.5}, "fps"),
        ({"asset_id": "a", "fps": 121}, "fps"),
        ({"asset_id": "a", "speed": 2}, "speed"),
        ({"asset_id": "a", "style": {"color": "red"}}, "style.color"),
        ({"asset_id": "a", "style": {"color": "#ff0000", "colors": ["#00ff00"]}}, "style.colors"),
        ({"asset_id": "a", "style": {"colors": ["#00ff00", 7]}}, "style.colors[1]"),
        ({"asset_id": "a", "style": {"line_thickness": 0}}, "style.line_thickness"),
        ({"asset_id": "a", "style": {"joint_radius": 33}}, "style.joint_radius"),
        ({"asset_id": "a", "style": {"trail": 11}}, "style.trail"),
        ({"asset_id": "a", "style": {"glow": True}}, "style.glow"),
        ({"asset_id": "a", "subject": {"time_sec": 1, "x": 2, "y": 0}}, "subject.x"),
        ({"asset_id": "a", "subject": {"x": 0, "y": 0}}, "subject.time_sec"),
        ({"asset_ids": ["a", "b"], "subject": {"time_sec": 1, "x": 0, "y": 0}}, "subject"),
    ],
)
async def test_what_makes_no_sense_names_the_field(gateway: Any, body: Any, field: str) -> None:
    answer = await gateway.http.post(PATH, json=body)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"]["field"]) == ("VALIDATION_FAILED", field)
    assert field in answer.json()["detail"]


async def test_what_ingest_refuses_arrives(gateway: Any) -> None:
    asset_id = await gateway.asset(MP4_HEAD + b"video")
    route_id = await gateway.route()
    attempts = [await gateway.attempt(route) for route in (route_id, await gateway.route())]
    for body, status, reason, field in (
        ({"asset_id": "nothing", "reference": BUILT_IN}, 404, "ASSET_NOT_FOUND", None),
        ({"asset_id": asset_id, "reference": "nothing"}, 404, "REFERENCE_NOT_FOUND", None),
        ({"attempt_id": "nothing"}, 404, "ATTEMPT_NOT_FOUND", None),
        ({"attempt_ids": attempts, "reference": BUILT_IN}, 400, "DIFFERENT_ROUTES", "attempt_ids"),
        ({"attempt_id": attempts[0]}, 409, "NO_REFERENCE", "reference"),
    ):
        answer = await gateway.http.post(PATH, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["reason"], error["metadata"].get("field")) == (status, reason, field), body
    stolen = await gateway.http.post(PATH, json={"attempt_id": attempts[0], "reference": BUILT_IN}, headers=OTHER)
    assert (stolen.status_code, stolen.json()["error"]["reason"]) == (404, "ATTEMPT_NOT_FOUND")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("inputs[1].asset_id", "asset_ids[1].asset_id"),
        ("subject_point.point.x", "subject.point.x"),
        ("output_frame_rate", "fps"),
        ("style.trail_sec", "style.trail"),
        ("style.colors", "style.colors"),
        ("transform_model", "model"),
        ("reference", "image_id"),
        ("references", "references"),
    ],
)
async def test_fields_are_called_as_the_client_calls_them(gateway: Any, failing: Any, theirs: str, ours: str) -> None:
    failing(errors.InvalidArgument("OUT_OF_RANGE", "It is not so.", field=theirs, fact=7))
    answer = await gateway.http.post(PATH, json={"asset_ids": ["a", "b"], "image_id": BUILT_IN})
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"], error["metadata"]) == (
        400,
        "OUT_OF_RANGE",
        {"field": ours, "fact": "7"},
    )


async def test_a_repeated_call_queues_one_job(gateway: Any) -> None:
    body = {"asset_id": await gateway.asset(MP4_HEAD + b"video"), "reference": BUILT_IN}
    headers = {"Idempotency-Key": "match-once"}
    answers = [await gateway.http.post(PATH, json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()


async def test_progress_and_failure_are_told(gateway: Any) -> None:
    job_id = await begin(gateway)
    gateway.catalogue.run(job_id, split=1.0, match=0.5)
    gateway.catalogue.jobs[job_id].progress = 0.4
    status = (await gateway.http.get(f"{PATH}/{job_id}")).json()
    assert (status["status"], status["stage"], status["progress"]) == ("running", "match", 0.4)
    assert [stage["progress"] for stage in status["stages"]] == [1.0, 0.5]
    job = gateway.catalogue.jobs[job_id]
    job.state = job_pb2.JOB_STATE_FAILED
    job.failure.CopyFrom(common_pb2.Failure(reason="WORKER_LOST", message="It was too much.", code="INTERNAL"))
    status = (await gateway.http.get(f"{PATH}/{job_id}")).json()
    assert (status["status"], status["error"]) == ("failed", "It was too much.")
    assert status["failure"]["reason"] == "WORKER_LOST"


async def test_jobs_are_deleted_by_their_owner(gateway: Any) -> None:
    job_id = await begin(gateway)
    url = f"{PATH}/{job_id}"
    for path in (url, f"{url}/result", f"{url}/frames"):
        answer = await gateway.http.get(path, headers=OTHER)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "JOB_NOT_FOUND")
    assert (await gateway.http.delete(url, headers=OTHER)).status_code == 404
    assert (await gateway.http.delete(url)).status_code == 204
    assert (await gateway.http.get(url)).status_code == 404
    pose = await gateway.job()
    for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/frames"), ("DELETE", "")):
        answer = await gateway.http.request(method, f"{PATH}/{pose}{path}")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "JOB_NOT_FOUND"), (method, path)
    assert (await gateway.http.get(f"/api/v1/jobs/{pose}")).status_code == 200


async def test_the_canonical_job_says_the_same_without_keys_of_objects(gateway: Any) -> None:
    attempt_id = await gateway.attempt(await gateway.route(reference_id=BUILT_IN))
    parameters = {"attempt_id": attempt_id, "mode": "MULTI", "transform_model": "HOMOGRAPHY", "output_frame_rate": 30}
    answer = await gateway.http.post("/api/v1/jobs", json={"pipeline": "route_match", "parameters": parameters})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["pipeline"], job["parameters"]["mode"], job["parameters"]["reference"]) == (
        "route_match", "MULTI", BUILT_IN,
    )  # fmt: skip
    assert job["parameters"]["attempts"] == [{"camera": "main", "attempt_id": attempt_id, "display_name": ""}]
    asset_id = await gateway.asset(MP4_HEAD + b"video")
    body = {"pipeline": "route_match", "asset_id": asset_id, "parameters": {"reference": BUILT_IN}}
    bare = await gateway.http.post("/api/v1/jobs", json=body)
    assert bare.status_code == 202, bare.text
    for path in (f"/api/v1/jobs/{job['job_id']}", "/api/v1/jobs?pipeline=route_match", f"{PATH}/{job['job_id']}"):
        told = await gateway.http.get(path)
        assert told.status_code == 200
        assert "data_prefix" not in told.text
        assert "routes/local/" not in told.text
