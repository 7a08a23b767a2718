"""Movement analysis, to the letter of its contract."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from kinemesh.results.poses import LANDMARKS, PoseRows, landmark_table
from kinemesh.storage import keys

from .held import HeldUpload

VIDEO = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(range(256)) * 40
NAMES = [f"landmark_{number}" for number in range(LANDMARKS)]


def table(observations: list[tuple[int, int]]) -> bytes:
    """Landmarks of (frame, person) pairs; x is the frame's index, y the person's id."""
    count = len(observations)
    frame = np.array([frame for frame, _ in observations], np.int64)
    person = np.array([person for _, person in observations], np.int32)
    image = np.zeros((count, LANDMARKS, 5), np.float32)
    image[:, :, 0] = frame[:, None]
    image[:, :, 1] = person[:, None]
    image[:, :, 2] = np.nan
    world = np.ones((count, LANDMARKS, 3), np.float32)
    rows = PoseRows(frame, frame / 25, person, np.ones(count, np.float32), np.zeros(count, bool), image, world)
    return landmark_table(rows, NAMES)


async def begin(gateway: Any, data: bytes = VIDEO) -> dict[str, Any]:
    body = {"filename": "dance.mp4", "content_type": "video/mp4", "size_bytes": len(data)}
    answer = await gateway.http.post("/api/v1/analyze/upload-url", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def put(upload: dict[str, Any], data: bytes = VIDEO) -> None:
    async with httpx.AsyncClient() as plain:
        answer = await plain.put(upload["upload_url"], content=data, headers=upload["headers"])
    assert answer.status_code == 200


async def test_the_whole_way(gateway: Any) -> None:
    upload = await begin(gateway)
    assert set(upload) == {"job_id", "upload_url", "method", "headers", "expires_in"}
    assert (upload["method"], upload["expires_in"]) == ("PUT", 900)
    job_id = upload["job_id"]
    status = (await gateway.http.get(f"/api/v1/analyze/{job_id}/status")).json()
    assert set(status) == {"job_id", "status", "stage", "progress", "error", "created_at", "updated_at"}
    assert status["status"] == "awaiting_upload"
    early = await gateway.http.get(f"/api/v1/analyze/{job_id}/result")
    assert (early.status_code, early.json()["error"]["metadata"]) == (409, {"status": "awaiting_upload"})

    await put(upload)
    confirm = {"job_id": job_id, "parameters": {"subject": "MAIN"}}
    confirmed = await gateway.http.post("/api/v1/analyze/confirm", json=confirm)
    expected = {"job_id": job_id, "status": "queued", "status_url": f"/api/v1/analyze/{job_id}/status"}
    assert (confirmed.status_code, confirmed.json()) == (202, expected)
    again = await gateway.http.post("/api/v1/analyze/confirm", json=confirm)
    assert (again.status_code, again.json()) == (202, expected)
    status = (await gateway.http.get(expected["status_url"])).json()
    assert (status["status"], status["stage"], status["error"]) == ("queued", "split", None)
    early = await gateway.http.get(f"/api/v1/analyze/{job_id}/result")
    assert (early.status_code, early.json()["error"]["metadata"]) == (409, {"status": "queued"})

    metrics = {"version": 1, "persons": [{"person_id": 1, "tempo": {"bpm": 120.0}}]}
    outputs = {
        "annotated.mp4": (b"mp4", "video/mp4"),
        "landmarks.parquet": (table([(0, 1), (0, 2), (1, 1), (3, 1)]), "application/vnd.apache.parquet"),
        "landmarks.json": (b"{}", "application/json"),
        "metrics.json": (json.dumps(metrics).encode(), "application/json"),
    }
    await gateway.catalogue.finish(job_id, outputs, frame_count=5, persons=2)
    assert (await gateway.http.get(expected["status_url"])).json()["status"] == "completed"
    result = (await gateway.http.get(f"/api/v1/analyze/{job_id}/result")).json()
    assert set(result) == {
        "job_id", "video_url", "poses_url", "frame_count", "fps", "persons", "metrics", "poses",
    }  # fmt: skip
    assert (result["frame_count"], result["fps"], result["persons"]) == (5, 25.0, 2)
    assert result["metrics"] == metrics
    assert [frame["frame_index"] for frame in result["poses"]] == [0, 1, 2, 3, 4]
    assert [[p["person_id"] for p in frame["persons"]] for frame in result["poses"]] == [[1, 2], [1], [], [1], []]
    assert [frame["time_sec"] for frame in result["poses"]] == [0.0, 0.04, None, 0.12, None]
    landmarks = result["poses"][3]["persons"][0]["landmarks"]
    assert [landmark["name"] for landmark in landmarks] == NAMES
    assert landmarks[0] == {
        "name": NAMES[0], "x": 3.0, "y": 1.0, "z": None, "visibility": 0.0, "presence": 0.0,
        "world_x": 1.0, "world_y": 1.0, "world_z": 1.0,
    }  # fmt: skip
    assert (await gateway.http.get(result["video_url"])).content == b"mp4"
    assert (await gateway.http.get(result["poses_url"])).json() == {}

    page = (await gateway.http.get(f"/api/v1/analyze/{job_id}/result?limit=2&offset=3")).json()
    assert page["poses"] == result["poses"][3:]
    beyond = (await gateway.http.get(f"/api/v1/analyze/{job_id}/result?offset=99")).json()
    assert (beyond["poses"], beyond["frame_count"]) == ([], 5)


async def test_what_the_summary_does_not_say_follows_from_the_table(gateway: Any) -> None:
    upload = await begin(gateway)
    await put(upload)
    await gateway.http.post("/api/v1/analyze/confirm", json={"job_id": upload["job_id"]})
    outputs = {
        "landmarks.parquet": (table([(0, 1), (7, 1)]), "application/vnd.apache.parquet"),
        "metrics.json": (b'{"persons": [{}], "value": NaN}', "application/json"),
    }
    await gateway.catalogue.finish(upload["job_id"], outputs)
    result = (await gateway.http.get(f"/api/v1/analyze/{upload['job_id']}/result")).json()
    assert (result["frame_count"], result["fps"], result["persons"]) == (8, 25.0, 1)
    assert result["metrics"]["value"] is None


async def test_large_videos_get_parts(gateway: Any) -> None:
    data = VIDEO + bytes(21 * 1024 * 1024)
    upload = await begin(gateway, data)
    assert upload["upload_url"] is None
    done = []
    async with httpx.AsyncClient() as plain:
        for part in upload["parts"]:
            start = (part["part_number"] - 1) * upload["part_size"]
            answer = await plain.put(part["url"], content=data[start : start + upload["part_size"]])
            done.append({"part_number": part["part_number"], "etag": answer.headers["etag"]})
    confirmed = await gateway.http.post("/api/v1/analyze/confirm", json={"job_id": upload["job_id"], "parts": done})
    assert confirmed.status_code == 202


async def test_confirming_too_early_wrong_or_unknown(gateway: Any) -> None:
    upload = await begin(gateway)
    early = await gateway.http.post("/api/v1/analyze/confirm", json={"job_id": upload["job_id"]})
    assert (early.status_code, early.json()["error"]["reason"]) == (409, "UPLOAD_MISSING")
    wrong = {"job_id": upload["job_id"], "parameters": {"max_persons": 99}}
    answer = await gateway.http.post("/api/v1/analyze/confirm", json=wrong)
    assert (answer.status_code, answer.json()["error"]["metadata"]["field"]) == (422, "parameters.max_persons")
    unknown = await gateway.http.post("/api/v1/analyze/confirm", json={"job_id": "none"})
    assert unknown.status_code == 404
    for path in ("none/status", "none/result"):
        assert (await gateway.http.get(f"/api/v1/analyze/{path}")).status_code == 404


async def test_what_is_no_video_fails_and_says_so(gateway: Any) -> None:
    upload = await begin(gateway, b"hello")
    await put(upload, b"hello")
    answer = await gateway.http.post("/api/v1/analyze/confirm", json={"job_id": upload["job_id"]})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (415, "NOT_A_VIDEO")
    status = (await gateway.http.get(f"/api/v1/analyze/{upload['job_id']}/status")).json()
    assert (status["status"], status["error"]) == ("failed", "The file is not a video.")


async def test_a_form_through_the_api(gateway: Any) -> None:
    fields = {"parameters": json.dumps({"subject": "MAIN"}), "note": "after the file"}
    answer = await gateway.http.post("/api/v1/analyze", files={"file": ("tanz.mp4", VIDEO, "video/mp4")}, data=fields)
    assert answer.status_code == 202, answer.text
    assert answer.headers["deprecation"].startswith("@")
    job_id = answer.json()["job_id"]
    asset = gateway.catalogue.assets[job_id]
    assert (asset.filename, asset.content_type, asset.size_bytes) == ("tanz.mp4", "video/mp4", len(VIDEO))
    assert await gateway.catalogue.store.get_bytes(keys.asset_source(job_id)) == VIDEO
    assert (await gateway.http.get(f"/api/v1/analyze/{job_id}/status")).json()["status"] == "queued"


async def test_a_large_form_goes_on_in_parts(gateway: Any) -> None:
    data = VIDEO + np.random.default_rng(7).bytes(22 * 1024 * 1024)
    answer = await gateway.http.post("/api/v1/analyze", files={"file": ("long.mp4", data, "video/mp4")})
    assert answer.status_code == 202, answer.text
    assert await gateway.catalogue.store.get_bytes(keys.asset_source(answer.json()["job_id"])) == data


@pytest.mark.parametrize(
    ("files", "data", "status", "reason"),
    [
        ({"file": ("a.mp4", b"plain text " * 100, "video/mp4")}, {}, 415, "NOT_A_VIDEO"),
        ({"file": ("a.mp4", b"#EXTM3U\nfile:///etc/passwd", "video/mp4")}, {}, 415, "NOT_A_VIDEO"),
        ({"file": ("a.mp4", b"", "video/mp4")}, {}, 415, "EMPTY_FILE"),
        ({"file": ("a.mp4", VIDEO), "other": ("b.mp4", VIDEO)}, {}, 400, "FORM_INVALID"),
        ({"file": ("a.mp4", VIDEO)}, {"parameters": "{"}, 400, "FIELD_INVALID"),
        ({"file": ("a.mp4", VIDEO)}, {"parameters": '{"max_persons": 99}'}, 400, "FIELD_INVALID"),
        ({"file": ("a.mp4", VIDEO)}, {"notes": "x" * 70_000}, 413, "FIELD_TOO_LARGE"),
        ({"file": ("a.mp4", VIDEO + bytes(65 * 1024 * 1024))}, {}, 413, "FILE_TOO_LARGE"),
        ({"file": (None, b"no file")}, {}, 400, "FILE_MISSING"),
    ],
)
async def test_forms_that_are_refused(gateway: Any, files: Any, data: Any, status: int, reason: str) -> None:
    before = set(gateway.catalogue.assets)
    answer = await gateway.http.post("/api/v1/analyze", files=files, data=data)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)
    assert set(gateway.catalogue.assets) == before


async def test_a_form_without_a_length_has_a_limit_too(gateway: Any) -> None:
    async def endless() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + VIDEO
        for _ in range(70):
            yield bytes(1024 * 1024)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await gateway.http.post("/api/v1/analyze", content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "FILE_TOO_LARGE")


async def test_uploads_under_way_are_bounded(gateway: Any) -> None:
    held = [await HeldUpload.begin(gateway.url + "/api/v1/analyze", "file", VIDEO) for _ in range(2)]
    answer = await gateway.http.post("/api/v1/analyze", files={"file": ("b.mp4", VIDEO)})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (429, "TOO_MANY_UPLOADS")
    assert int(answer.headers["retry-after"]) > 0
    assert [await one.finish() for one in held] == [202, 202]


async def test_clients_that_leave_half_way_make_room(gateway: Any) -> None:
    before = set(gateway.catalogue.assets)
    for _ in range(5):
        held = await HeldUpload.begin(gateway.url + "/api/v1/analyze", "file", VIDEO)
        await held.leave()
    assert set(gateway.catalogue.assets) == before


@pytest.mark.parametrize(
    ("content", "content_type", "status", "reason"),
    [
        (b"{}", "application/json", 415, "FORM_EXPECTED"),
        (b"", "multipart/form-data", 400, "FORM_INVALID"),
        (b"garbage", "multipart/form-data; boundary=b", 400, "FORM_INVALID"),
        (
            b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\ncut off",
            "multipart/form-data; boundary=b",
            400,
            "FORM_INVALID",
        ),
        (b"", "multipart/form-data; boundary=b", 400, "FORM_INVALID"),
    ],
)
async def test_bodies_that_are_no_forms(
    gateway: Any, content: bytes, content_type: str, status: int, reason: str
) -> None:
    answer = await gateway.http.post("/api/v1/analyze", content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)


async def test_a_form_whose_video_is_refused_leaves_nothing(gateway: Any) -> None:
    before = set(gateway.catalogue.assets)
    other = b"\x1a\x45\xdf\xa3" + bytes(1000)  # passes for Matroska here, and is refused on confirming
    answer = await gateway.http.post("/api/v1/analyze", files={"file": ("a.mkv", other)})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (415, "NOT_A_VIDEO")
    assert set(gateway.catalogue.assets) == before
