"""People across cameras: the five calls and the socket that the clients of sites know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from kinemesh.bus.events import job_event, publish_event
from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh_gateway.domain.processing import Standing, status

PERSON = "7a1c9d1e-2f6b-5a44-9b0e-0b2d4f3a9c11"


def step(index: int, scene: str = "factory", people: int = 1) -> tracking_pb2.TrackingUpdate:
    box = common_pb2.Box(x1=110.2, y1=220.5, x2=160, y2=330.804)
    known = tracking_pb2.CameraTrack(
        track_id=5,
        global_id=PERSON,
        box=box,
        score=0.92,
        class_id=1,
        map_position=common_pb2.MapPoint(x=12.3, y=45),
    )
    unknown = tracking_pb2.CameraTrack(track_id=1_000_006, box=box, score=1)
    return tracking_pb2.TrackingUpdate(
        frame_index=index % 100,
        global_frame_index=index,
        scene_id=scene,
        processed_time=Timestamp(seconds=1698402605, nanos=456_789_000),
        time_sec=index / 10,
        cameras={
            "c12": tracking_pb2.CameraUpdate(
                image_source=f"{index:06}.jpg", camera_frame_index=index, tracks=[unknown] * people
            ),
            "c09": tracking_pb2.CameraUpdate(
                image_source=f"{index:06}.jpg", camera_frame_index=index, tracks=[known] * people
            ),
            "c13": tracking_pb2.CameraUpdate(camera_frame_index=-1),
        },
    )


def steps(indices: Sequence[int], people: int = 1) -> dict[str, Any]:
    return {"steps": event_pb2.StepsReady(steps=[step(index, people=people) for index in indices])}


def state(name: str) -> dict[str, Any]:
    return {"state": event_pb2.StateChanged(state=name)}


def progress(stage: str, of_stage: float, of_job: float) -> dict[str, Any]:
    return {"progress": event_pb2.Progressed(stage=stage, stage_progress=of_stage, progress=of_job)}


async def tell(gateway: Any, task_id: str, *kinds: dict[str, Any]) -> None:
    for kind in kinds:
        event = job_event(task_id, **kind)
        await publish_event(gateway.bus, event, f"{task_id}-{next(gateway.catalogue.ids)}")


async def listen(
    gateway: Any, task_id: str, query: str = "", most: int = 100_000
) -> tuple[list[dict[str, Any]], int, str]:
    """Messages until the end or ``most`` of them, the close code, and its reason."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/tracking/{task_id}{query}") as socket:
        try:
            while len(messages) < most:
                messages.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            pass
        return messages, socket.close_code or 0, socket.close_reason or ""


def frames(messages: Sequence[dict[str, Any]]) -> list[int]:
    return [m["payload"]["global_frame_index"] for m in messages if m["type"] == "tracking_update"]


def statuses(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [m["payload"]["status"] for m in messages if m["type"] == "status_update"]


HISTORY: tuple[dict[str, Any], ...] = (
    state("QUEUED"),
    state("RUNNING"),
    progress("split", 0.5, 0.05),
    {"log": event_pb2.Logged(level="INFO", text="begun")},
    progress("detect", 0.2, 0.2),
    steps(range(3)),
    progress("detect", 0.9, 0.5),
    steps(range(3, 6)),
    steps(range(4, 7)),
    progress("resolve", 0.0, 0.7),
    state("SUCCEEDED"),
)


async def test_a_task_is_started_asked_for_and_cancelled(gateway: Any) -> None:
    site = await gateway.site()
    started = await gateway.http.post("/api/v1/processing-tasks/start", json={"environment_id": site})
    assert started.status_code == 202
    body = started.json()
    task_id = body["task_id"]
    assert body.keys() == {"task_id", "message", "status_url", "websocket_url"}
    assert body["status_url"] == f"/api/v1/processing-tasks/{task_id}/status"
    assert body["websocket_url"] == f"/ws/tracking/{task_id}"
    asked = gateway.catalogue.jobs[task_id].parameters.multi_camera
    assert asked.environment_id == site

    status = (await gateway.http.get(body["status_url"])).json()
    assert status == {
        "task_id": task_id,
        "status": "QUEUED",
        "progress": 0.0,
        "current_step": "Waiting",
        "details": "2 cameras.",
    }
    gateway.catalogue.run(task_id, split=1.0, detect=0.25)
    status = (await gateway.http.get(body["status_url"])).json()
    assert (status["status"], status["current_step"]) == ("EXTRACTING", "Finding people")
    assert status["details"] == "2 cameras, split 100 %, detect 25 %."

    cancelled = await gateway.http.delete(f"/api/v1/processing-tasks/{task_id}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "CANCELLED")
    assert (await gateway.http.get(body["status_url"])).json()["status"] == "CANCELLED"


async def test_a_task_takes_the_parameters_of_its_pipeline(gateway: Any) -> None:
    body = {
        "environment_id": await gateway.site(),
        "render": True,
        "embedder": "person_colors",
        "threshold": 0.25,
        "style": {"hide_labels": True},
    }
    task_id = (await gateway.http.post("/api/v1/processing-tasks/start", json=body)).json()["task_id"]
    asked = gateway.catalogue.jobs[task_id].parameters.multi_camera
    assert (asked.render, asked.embedder, asked.threshold, asked.style.hide_labels) == (
        True,
        "person_colors",
        0.25,
        True,
    )
    job = (await gateway.http.get(f"/api/v1/jobs/{task_id}")).json()
    assert [media["camera"] for media in job["inputs"]] == ["c00", "c01"]
    assert job["inputs"][0]["start_sec"] == 0
    assert job["parameters"]["environment"]["cameras"][1]["camera"] == "c01"


async def test_a_repeated_start_is_one_task(gateway: Any) -> None:
    body = {"environment_id": await gateway.site()}
    headers = {"Idempotency-Key": "start-once"}
    answers = [await gateway.http.post("/api/v1/processing-tasks/start", json=body, headers=headers) for _ in range(2)]
    assert len({answer.json()["task_id"] for answer in answers}) == 1


async def test_a_job_over_cameras_names_no_assets(gateway: Any) -> None:
    body = {"pipeline": "multi_camera", "parameters": {"environment_id": await gateway.site()}}
    answer = await gateway.http.post("/api/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["pipeline"]) == (202, "multi_camera")
    refused = await gateway.http.post("/api/v1/jobs", json={**body, "asset_id": "a"})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "INPUTS_NOT_TAKEN")


@pytest.mark.parametrize(
    ("body", "code", "reason", "field"),
    [
        ({"environment_id": "nowhere"}, 404, "ENVIRONMENT_NOT_FOUND", None),
        ({}, 422, "VALIDATION_FAILED", "environment_id"),
        ({"environment_id": ""}, 422, "VALIDATION_FAILED", "environment_id"),
        ({"environment_id": 7}, 422, "VALIDATION_FAILED", "environment_id"),
        ({"environment_id": "x", "speed": 1}, 422, "VALIDATION_FAILED", "speed"),
        ({"environment_id": "x", "threshold": 2}, 422, "VALIDATION_FAILED", "threshold"),
    ],
)
async def test_what_cannot_be_started(
    gateway: Any, body: dict[str, Any], code: int, reason: str, field: str | None
) -> None:
    answer = await gateway.http.post("/api/v1/processing-tasks/start", json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (code, reason)
    assert answer.json()["error"]["metadata"].get("field") == field


async def test_a_site_without_videos_conflicts(gateway: Any) -> None:
    empty = await gateway.site(cameras=0)
    answer = await gateway.http.post("/api/v1/processing-tasks/start", json={"environment_id": empty})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "NO_CAMERAS")
    bare = await gateway.http.post("/api/v1/environments", json={"cameras": [{"camera": "c09"}]})
    body = {"environment_id": bare.json()["environment_id"]}
    answer = await gateway.http.post("/api/v1/processing-tasks/start", json=body)
    assert answer.status_code == 409
    assert answer.json()["error"]["reason"] == "CAMERA_WITHOUT_VIDEOS"
    assert answer.json()["error"]["metadata"]["camera"] == "c09"


async def test_tasks_that_are_unknown_not_yours_or_of_another_kind(gateway: Any) -> None:
    task_id, job_id = await gateway.task(), await gateway.job()
    other = {"X-Kinemesh-Owner": "somebody-else"}
    for name, headers in (("nothing", {}), (job_id, {}), (task_id, other)):
        for method, path in (("GET", f"{name}/status"), ("DELETE", name)):
            answer = await gateway.http.request(method, f"/api/v1/processing-tasks/{path}", headers=headers)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "JOB_NOT_FOUND")
    assert (await gateway.http.get(f"/api/v1/jobs/{job_id}")).json()["state"] == "QUEUED"


async def test_an_ended_task_cannot_be_cancelled(gateway: Any) -> None:
    task_id = await gateway.task()
    await gateway.catalogue.finish(task_id, {})
    status = (await gateway.http.get(f"/api/v1/processing-tasks/{task_id}/status")).json()
    assert (status["status"], status["progress"]) == ("COMPLETED", 1.0)
    answer = await gateway.http.delete(f"/api/v1/processing-tasks/{task_id}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "JOB_ENDED")


async def test_a_failed_task_says_why(gateway: Any) -> None:
    task_id = await gateway.task()
    job = gateway.catalogue.jobs[task_id]
    job.state = job_pb2.JOB_STATE_FAILED
    job.failure.CopyFrom(common_pb2.Failure(reason="VIDEO_BROKEN", message="A recording cannot be read."))
    status = (await gateway.http.get(f"/api/v1/processing-tasks/{task_id}/status")).json()
    assert (status["status"], status["details"]) == ("FAILED", "A recording cannot be read. (VIDEO_BROKEN)")


@pytest.mark.parametrize(
    ("standing", "name"),
    [
        (Standing("QUEUED", "split"), "QUEUED"),
        (Standing("RUNNING", ""), "INITIALIZING"),
        (Standing("RUNNING", "split"), "DOWNLOADING"),
        (Standing("RUNNING", "recall"), "EXTRACTING"),
        (Standing("RUNNING", "detect"), "EXTRACTING"),
        (Standing("RUNNING", "detect", following=True), "PROCESSING"),
        (Standing("RUNNING", "associate"), "PROCESSING"),
        (Standing("RUNNING", "a stage of tomorrow"), "PROCESSING"),
        (Standing("SUCCEEDED", "finalize", following=True), "COMPLETED"),
        (Standing("FAILED", "detect", following=True), "FAILED"),
        (Standing("CANCELLED", "split"), "CANCELLED"),
    ],
)
def test_names_of_statuses(standing: Standing, name: str) -> None:
    assert status("t", standing)["status"] == name


async def test_both_kinds_of_messages_have_their_shape(gateway: Any) -> None:
    task_id = await gateway.task()
    await tell(gateway, task_id, *HISTORY)
    messages, code, _ = await listen(gateway, task_id)
    assert code == 1000
    assert [message["type"][0] for message in messages] == list("sss" + "s" + "ttt" + "s" + "ttt" + "t" + "ss")
    assert frames(messages) == list(range(7))
    assert statuses(messages) == [
        "QUEUED", "INITIALIZING", "DOWNLOADING", "EXTRACTING", "PROCESSING", "PROCESSING", "COMPLETED",
    ]  # fmt: skip
    assert messages[2]["payload"] == {
        "task_id": task_id,
        "status": "DOWNLOADING",
        "progress": 0.05,
        "current_step": "Reading the recordings",
        "details": None,
    }
    shown = [message["payload"]["progress"] for message in messages if message["type"] == "status_update"]
    assert shown == sorted(shown)
    seen = {"bbox_xyxy": [110.2, 220.5, 160.0, 330.8]}
    assert messages[4] == {
        "type": "tracking_update",
        "payload": {
            "frame_index": 0,
            "global_frame_index": 0,
            "scene_id": "factory",
            "timestamp_processed_utc": "2023-10-27T10:30:05.456Z",
            "cameras": {
                "c09": {
                    "image_source": "000000.jpg",
                    "tracks": [
                        {
                            "track_id": 5,
                            "global_id": PERSON,
                            **seen,
                            "confidence": 0.92,
                            "class_id": 1,
                            "map_coords": [12.3, 45.0],
                        }
                    ],
                },
                "c12": {
                    "image_source": "000000.jpg",
                    "tracks": [
                        {
                            "track_id": 1_000_006,
                            "global_id": None,
                            **seen,
                            "confidence": 1.0,
                            "class_id": 0,
                            "map_coords": None,
                        }
                    ],
                },
            },
        },
    }


async def test_every_value_has_its_type(gateway: Any) -> None:
    task_id = await gateway.task()
    await tell(gateway, task_id, *HISTORY)
    messages, _, _ = await listen(gateway, task_id)
    for message in messages:
        if message["type"] == "status_update":
            assert type(message["payload"]["progress"]) is float
            continue
        payload = message["payload"]
        assert type(payload["frame_index"]) is type(payload["global_frame_index"]) is int
        for view in payload["cameras"].values():
            for track in view["tracks"]:
                assert {type(side) for side in track["bbox_xyxy"]} == {float}
                assert type(track["confidence"]) is float
                assert track["map_coords"] is None or {type(side) for side in track["map_coords"]} == {float}
                assert type(track["track_id"]) is type(track["class_id"]) is int


async def test_a_client_that_comes_back_goes_on_from_any_step(gateway: Any) -> None:
    task_id = await gateway.task()
    await tell(gateway, task_id, *HISTORY)
    for since in range(9):
        messages, code, _ = await listen(gateway, task_id, f"?since_frame={since}")
        assert (frames(messages), code) == (list(range(since, 7)), 1000)
        assert messages[0]["type"] == "status_update"
        assert statuses(messages)[-1] == "COMPLETED"


async def test_a_client_that_comes_back_hears_at_once_where_the_task_stands(gateway: Any) -> None:
    task_id = await gateway.task()
    await tell(gateway, task_id, *HISTORY[:7])
    messages, _, _ = await listen(gateway, task_id, "?since_frame=50", most=1)
    assert (messages[0]["type"], messages[0]["payload"]["progress"]) == ("status_update", 0.5)


async def test_a_client_that_waits_gets_messages_as_they_come(gateway: Any) -> None:
    task_id = await gateway.task()
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/tracking/{task_id}") as socket:
        for kind in (*HISTORY[:3], state("CANCELLED")):
            await tell(gateway, task_id, kind)
            assert json.loads(await socket.recv())["type"] == "status_update"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000


async def test_a_task_whose_history_is_gone_still_tells_its_status(gateway: Any) -> None:
    task_id = await gateway.task()
    gateway.catalogue.jobs[task_id].state = job_pb2.JOB_STATE_CANCELLED
    messages, code, _ = await listen(gateway, task_id)
    assert (statuses(messages), code) == (["CANCELLED"], 1000)


async def test_a_task_that_is_deleted_meanwhile(gateway: Any) -> None:
    task_id = await gateway.task()
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/tracking/{task_id}") as socket:
        del gateway.catalogue.jobs[task_id]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4404, "JOB_NOT_FOUND")


async def test_sockets_that_are_refused(gateway: Any) -> None:
    assert await listen(gateway, "nothing") == ([], 4404, "JOB_NOT_FOUND")
    assert await listen(gateway, await gateway.job()) == ([], 4404, "JOB_NOT_FOUND")
    assert (await listen(gateway, "%3E"))[1:] == (4400, "INVALID_ID")
    task_id = await gateway.task()
    for query in ("?since_frame=-1", "?since_frame=x", "?since_frame=", "?since_frame=1.5"):
        assert await listen(gateway, task_id, query) == ([], 4400, "FIELD_INVALID")
    headers = {"X-Kinemesh-Owner": "other"}
    async with connect(f"{gateway.ws}/ws/tracking/{task_id}", additional_headers=headers) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4404


async def test_the_general_socket_tells_steps_too(gateway: Any) -> None:
    task_id = await gateway.task()
    await tell(gateway, task_id, steps([0, 1]), state("SUCCEEDED"))
    async with asyncio.timeout(40), connect(f"{gateway.ws}/ws/jobs/{task_id}") as socket:
        message = json.loads(await socket.recv())
        assert message["type"] == "steps"
        assert [one["global_frame_index"] for one in message["payload"]["steps"]] == [0, 1]
        assert message["payload"]["steps"][0]["cameras"]["c09"]["tracks"][0]["global_id"] == PERSON
