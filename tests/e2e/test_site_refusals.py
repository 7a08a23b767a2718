"""What makes no sense of a site is refused with a reason, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import functools
import io
import pickle
import struct
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from kinemesh.embedded.mesh import Mesh
from kinemesh.media.synthetic import write_clip
from kinemesh.testing.rest import Rest

CORNERS = np.array([[0.0, 0], [640, 0], [640, 480], [0, 480]])


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def owner(mesh: Mesh) -> AsyncIterator[Rest]:
    """Who owns what no test changes."""
    async with httpx.AsyncClient(timeout=60) as http:
        yield Rest(http, mesh.http_url)


@pytest.fixture(scope="module")
def clip(open_folder: Path) -> bytes:
    path = open_folder / "refusals.mp4"
    write_clip(path, pts=[3000 * i for i in range(30)], size=(640, 480))
    return path.read_bytes()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def asset(owner: Rest, clip: bytes) -> str:
    return await owner.upload(clip)


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def site(owner: Rest, asset: str) -> str:
    """One camera, 640 × 480, without homography."""
    described = {"cameras": [{"camera": "c09", "sub_videos": [{"asset_id": asset}]}]}
    answer = await owner.call("POST", "/api/v1/environments", json=described)
    assert answer.status_code == 201, answer.text
    environment: str = answer.json()["environment_id"]
    return environment


def refused(answer: Any, status: int, reason: str) -> dict[str, Any]:
    """The facts of a refusal, which says its reason to programs and a sentence to people."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error"]["reason"] == reason, answer.text
    assert body["detail"].endswith((".", "?"))
    assert body["error"]["request_id"]
    facts: dict[str, Any] = body["error"]["metadata"]
    return facts


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def archive(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, data)
    return file.getvalue()


def npy(shape: str, body: bytes) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


@functools.cache
def bomb() -> bytes:
    """Three hundred megabytes of zeros in three hundred kilobytes."""
    return archive("image_points.npy", npy("(19660800, 2)", bytes(300 * 2**20)))


def modest_bomb() -> bytes:
    """The same, with directories that say it unpacks to 64 bytes."""
    data, true = bomb(), struct.pack("<I", len(npy("(19660800, 2)", b"")) + 300 * 2**20)
    assert data.count(true) == 2
    return data.replace(true, struct.pack("<I", 64))


def pairs(image: Any, target: Any) -> bytes:
    return npz(image_points=np.array(image, np.float64), map_points=np.array(target, np.float64))


LINE = [[10, 10], [20, 20], [30, 30], [40, 40], [50, 50]]


@pytest.mark.parametrize(
    ("make", "status", "reason"),
    [
        pytest.param(lambda: pairs(CORNERS[:3], CORNERS[:3]), 400, "TOO_FEW_POINTS", id="three points"),
        pytest.param(lambda: pairs(LINE, LINE), 400, "POINTS_DEGENERATE", id="a line"),
        pytest.param(lambda: pairs(CORNERS, LINE[:4]), 400, "POINTS_DEGENERATE", id="a line on the map"),
        pytest.param(lambda: pairs([[5, 5]] * 4, [[1, 1]] * 4), 400, "POINTS_DEGENERATE", id="one point four times"),
        pytest.param(
            lambda: pairs([*CORNERS[:3], CORNERS[2]], [*CORNERS[:3], CORNERS[2]]), 400, "POINTS_DEGENERATE", id="twice"
        ),
        pytest.param(
            lambda: pairs(CORNERS, CORNERS[[0, 2, 1, 3]]), 400, "POINTS_INCONSISTENT", id="two points exchanged"
        ),
        pytest.param(lambda: pairs(CORNERS * np.nan, CORNERS), 400, "POINTS_INVALID", id="points that are none"),
        pytest.param(lambda: pairs(CORNERS, CORNERS[:3]), 400, "POINTS_MISMATCH", id="of two lengths"),
        pytest.param(lambda: npz(pts_src=CORNERS, pts_dst=CORNERS), 400, "WRONG_KEYS", id="wrong keys"),
        pytest.param(lambda: npz(image_points=CORNERS), 400, "WRONG_KEYS", id="one side"),
        pytest.param(lambda: npz(), 400, "UNKNOWN_FORMAT", id="empty archive"),
        pytest.param(lambda: pairs(CORNERS.ravel(), CORNERS), 400, "WRONG_SHAPE", id="flat"),
        pytest.param(lambda: pairs(np.ones((4, 3)), CORNERS), 400, "WRONG_SHAPE", id="in space"),
        pytest.param(lambda: npz(homography=np.eye(4)), 400, "WRONG_SHAPE", id="four by four"),
        pytest.param(
            lambda: npz(image_points=np.array([["a", "b"]] * 4), map_points=CORNERS), 400, "WRONG_SHAPE", id="text"
        ),
        pytest.param(lambda: pairs(CORNERS, CORNERS)[:-40], 400, "UNKNOWN_FORMAT", id="truncated"),
        pytest.param(lambda: pairs(CORNERS, CORNERS)[:200], 400, "UNKNOWN_FORMAT", id="truncated early"),
        pytest.param(bomb, 413, "FILE_TOO_LARGE", id="bomb"),
        pytest.param(modest_bomb, 400, "UNKNOWN_FORMAT", id="bomb that says it is small"),
        pytest.param(
            lambda: archive("image_points.npy", npy("(1000000000, 2)", b"")), 400, "UNKNOWN_FORMAT", id="claims 16 GB"
        ),
        pytest.param(lambda: b"1" * (2**20 + 1), 413, "BODY_TOO_LARGE", id="too large"),
        pytest.param(lambda: b"1 0 0\n0 1 0\n0 0", 400, "WRONG_SHAPE", id="eight numbers"),
        pytest.param(lambda: b"one two three\n" * 3, 400, "UNKNOWN_FORMAT", id="words"),
        pytest.param(lambda: b"1 0 0\n0 nan 0\n0 0 1", 400, "POINTS_INVALID", id="NaN"),
        pytest.param(lambda: b"1 0 0\n0 1 0\n1 1 0", 400, "MATRIX_SINGULAR", id="singular"),
        pytest.param(lambda: b"0 0 0\n0 0 0\n0 0 0", 400, "MATRIX_SINGULAR", id="nothing"),
        pytest.param(lambda: b'{"image_points": [[', 400, "UNKNOWN_FORMAT", id="no JSON"),
        pytest.param(lambda: b"\x89PNG\r\n\x1a\n" + bytes(64), 400, "UNKNOWN_FORMAT", id="a picture"),
        pytest.param(lambda: b"", 400, "WRONG_SHAPE", id="empty"),
    ],
)
async def test_a_calibration_that_is_none(
    rest: Rest, site: str, make: Callable[[], bytes], status: int, reason: str
) -> None:
    path = f"/api/v1/environments/{site}/cameras/c09/homography"
    files = {"file": ("homography_c09.npz", await asyncio.to_thread(make))}
    refused(await rest.call("PUT", path, files=files), status, reason)
    kept = (await rest.call("GET", f"/api/v1/environments/{site}")).json()
    assert kept["cameras"][0]["homography"] is None


class Writing:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return open, (str(self._path), "w")


@pytest.mark.parametrize("packed", ["array", "archive", "bare"])
async def test_a_pickle_is_not_opened(rest: Rest, site: str, tmp_path: Path, packed: str) -> None:
    written = tmp_path / "written"
    holder = np.array([[Writing(written), 1.0]] * 4, object)
    data = {
        "array": lambda: npz(image_points=holder, map_points=CORNERS),
        "archive": lambda: archive("image_points.npy", pickle.dumps(Writing(written))),
        "bare": lambda: pickle.dumps({"image_points": Writing(written)}),
    }[packed]()
    files = {"file": ("homography_points_c09_scene_s10.npz", data)}
    answer = await rest.call("POST", f"/api/v1/environments/{site}/homographies", files=files)
    refused(answer, 400, "UNKNOWN_FORMAT" if packed == "archive" else "PICKLED")
    assert not written.exists()


async def test_axes_given_the_wrong_way_round_put_the_horizon_into_the_ground(rest: Rest, site: str) -> None:
    """All below row 200 is ground; below column 200 it would not be."""
    path = f"/api/v1/environments/{site}/cameras/c09/homography"
    files = {"file": ("h.txt", b"1 0 0\n0 1 0\n0 1 -200")}
    assert (await rest.call("PUT", path, files=files, data={"validate_only": "true"})).is_success
    refused(await rest.call("PUT", path, files=files, data={"image_axes": "YX"}), 400, "POINTS_INCONSISTENT")
    refused(await rest.call("PUT", path, files=files, data={"image_axes": "ZZ"}), 400, "FIELD_INVALID")


async def test_cameras_that_are_not_there(rest: Rest, site: str) -> None:
    nowhere, somewhere = "/api/v1/environments/nowhere", f"/api/v1/environments/{site}"
    points = {"points": {"pairs": [{"image": {"x": x, "y": y}, "map": {"x": x, "y": y}} for x, y in CORNERS.tolist()]}}
    for path, reason in ((nowhere, "ENVIRONMENT_NOT_FOUND"), (somewhere, "UNKNOWN_CAMERA")):
        refused(await rest.call("PUT", f"{path}/cameras/c77/homography", json=points), 404, reason)
        refused(await rest.call("DELETE", f"{path}/cameras/c77/homography"), 404, reason)
    files = {"file": ("homography_points_c77_scene_s10.npz", pairs(CORNERS, CORNERS))}
    refused(await rest.call("POST", f"{somewhere}/homographies", files=files), 404, "UNKNOWN_CAMERA")
    files = {"file": ("points.npz", pairs(CORNERS, CORNERS))}
    refused(await rest.call("POST", f"{somewhere}/homographies", files=files), 400, "MISSING_FIELD")
    document = {
        "cameras": [{"id": "c77", "source_points": CORNERS.tolist(), "destination_points": CORNERS.tolist()}] * 2
    }
    refused(await rest.call("POST", f"{somewhere}/calibration", json=document), 400, "DUPLICATE_CAMERA")
    document["cameras"].pop()
    refused(await rest.call("POST", f"{somewhere}/calibration", json=document), 400, "UNKNOWN_CAMERA")


def zone(*corners: tuple[float, float]) -> dict[str, Any]:
    return {"zone": "till", "map": {"corners": [{"x": x, "y": y} for x, y in corners]}}


async def test_sites_that_make_no_sense(rest: Rest, asset: str) -> None:
    video = {"asset_id": asset}

    async def refuse(status: int, reason: str, *cameras: dict[str, Any], **others: Any) -> dict[str, Any]:
        described = {"environment_id": "refused", "cameras": list(cameras), **others}
        return refused(await rest.call("POST", "/api/v1/environments", json=described), status, reason)

    camera = {"camera": "c09", "sub_videos": [video]}
    overlapping = {"camera": "c09", "sub_videos": [video, {**video, "start_sec": 0.9}]}
    assert (await refuse(400, "SUB_VIDEOS_OVERLAP", overlapping))["camera"] == "c09"
    await refuse(400, "DUPLICATE_CAMERA", camera, camera)
    await refuse(400, "INVALID_ID", {"camera": "c 9"})
    crossing = zone((0, 0), (1, 1), (1, 0), (0, 1))
    assert (await refuse(400, "POLYGON_NOT_SIMPLE", camera, zones=[crossing]))["zone"] == "till"
    await refuse(400, "OUT_OF_RANGE", camera, zones=[zone((0, 0), (1, 1))])
    elsewhere = {"zone": "door", "image": {"camera": "c77", "corners": [{"x": 0, "y": 0}] * 3}}
    await refuse(400, "UNKNOWN_CAMERA", camera, zones=[elsewhere])
    way = {"from_camera": "c09", "to_camera": "c77", "min_travel_sec": 1, "max_travel_sec": 2}
    assert (await refuse(400, "UNKNOWN_CAMERA", camera, passages=[way]))["camera"] == "c77"
    await refuse(400, "SAME_CAMERA", camera, passages=[{**way, "to_camera": "c09"}])
    await refuse(400, "MATRIX_SINGULAR", {**camera, "homography": {"source": {"matrix": {"values": [0] * 9}}}})
    await refuse(422, "VALIDATION_FAILED", camera, camers=[])
    refused(await rest.call("GET", "/api/v1/environments/refused"), 404, "ENVIRONMENT_NOT_FOUND")


async def test_recordings_that_are_not_there(rest: Rest, clip: bytes, asset: str) -> None:
    other = Rest(rest.http, rest.url, owner="somebody-else")
    image = await rest.upload(cv2.imencode(".png", np.full((48, 64, 3), 90, np.uint8))[1].tobytes(), "map.png", "IMAGE")
    described = {"filename": "late.mp4", "content_type": "video/mp4", "size_bytes": len(clip)}
    announced = (await rest.call("POST", "/api/v1/assets", json=described)).json()["asset"]["asset_id"]
    for asset_id, status, reason in (
        ("nope", 404, "ASSET_NOT_FOUND"),
        (await other.upload(clip), 404, "ASSET_NOT_FOUND"),
        (image, 400, "WRONG_ASSET_KIND"),
        (announced, 409, "ASSET_NOT_READY"),
    ):
        cameras = [{"camera": "c09", "sub_videos": [{"asset_id": asset_id}]}]
        refused(await rest.call("POST", "/api/v1/environments", json={"cameras": cameras}), status, reason)
    plane = {"image_asset_id": asset, "pixels_per_unit": 10}
    answer = await rest.call("POST", "/api/v1/environments", json={"ground_plane": plane})
    refused(answer, 400, "WRONG_ASSET_KIND")


async def start(rest: Rest, environment_id: str) -> Any:
    return await rest.call("POST", "/api/v1/processing-tasks/start", json={"environment_id": environment_id})


async def test_tasks_that_cannot_start(rest: Rest, site: str) -> None:
    refused(await start(rest, "nowhere"), 404, "ENVIRONMENT_NOT_FOUND")
    other = Rest(rest.http, rest.url, owner="somebody-else")
    refused(await start(other, site), 404, "ENVIRONMENT_NOT_FOUND")
    for cameras, reason in (([], "NO_CAMERAS"), ([{"camera": "c09"}], "CAMERA_WITHOUT_VIDEOS")):
        created = await rest.call("POST", "/api/v1/environments", json={"cameras": cameras})
        refused(await start(rest, created.json()["environment_id"]), 409, reason)
    refused(await rest.call("POST", "/api/v1/processing-tasks/start", json={}), 422, "VALIDATION_FAILED")


async def closing(rest: Rest, path: str) -> tuple[int, str]:
    """How a socket that has nothing to say is closed."""
    address = rest.url.replace("http", "ws", 1) + path
    async with connect(address, additional_headers={"X-Kinemesh-Owner": rest.owner}) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 20)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_a_site_at_work_stays_and_is_nobody_elses(rest: Rest, asset: str) -> None:
    site = await rest.describe_site([asset])
    task = (await start(rest, site)).json()["task_id"]
    path = f"/api/v1/environments/{site}"
    refused(await rest.call("DELETE", path), 409, "ENVIRONMENT_IN_USE")

    other = Rest(rest.http, rest.url, owner="somebody-else")
    refused(await other.call("GET", path), 404, "ENVIRONMENT_NOT_FOUND")
    refused(await other.call("PATCH", path, json={"display_name": "mine"}), 404, "ENVIRONMENT_NOT_FOUND")
    refused(await other.call("DELETE", path), 404, "ENVIRONMENT_NOT_FOUND")
    refused(await other.call("GET", f"/api/v1/processing-tasks/{task}/status"), 404, "JOB_NOT_FOUND")
    refused(await other.call("DELETE", f"/api/v1/processing-tasks/{task}"), 404, "JOB_NOT_FOUND")
    assert await closing(other, f"/ws/tracking/{task}") == (4404, "JOB_NOT_FOUND")
    assert await closing(rest, "/ws/tracking/nope") == (4404, "JOB_NOT_FOUND")
    for since in ("abc", "-1", "1.5", "9" * 30):
        assert await closing(rest, f"/ws/tracking/{task}?since_frame={since}") == (4400, "FIELD_INVALID")

    assert (await rest.ended(task))["state"] == "SUCCEEDED"
    asked = {"environment_id": site, "clock": {"start_sec": 2, "end_sec": 1}}
    refused(await rest.call("POST", "/api/v1/tracks/query", json=asked), 400, "SPAN_EMPTY")
    asked = {"environment_id": site, "time": {"start_time": "2026-01-01T00:00:00Z"}}
    refused(await rest.call("POST", "/api/v1/tracks/query", json=asked), 409, "NO_TIME_OF_DAY")
    asked = {"environment_id": site, "zones": ["nowhere"]}
    refused(await rest.call("POST", "/api/v1/tracks/query", json=asked), 400, "UNKNOWN_ZONE")
    assert (await rest.call("DELETE", path)).status_code == 204
    refused(await start(rest, site), 404, "ENVIRONMENT_NOT_FOUND")


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ({"environment_id": "nowhere"}, 404, "ENVIRONMENT_NOT_FOUND"),
        ({}, 400, "SITE_OR_JOBS_NEEDED"),
        ({"job_ids": ["nope"]}, 404, "JOB_NOT_FOUND"),
        ({"within": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]}, 400, "POLYGON_INVALID"),
        ({"page_token": "nonsense"}, 400, "INVALID_PAGE_TOKEN"),
        ({"page_token": "W10="}, 400, "INVALID_PAGE_TOKEN"),
        ({"page_token": "ÄÖ"}, 400, "INVALID_PAGE_TOKEN"),
        ({"page_token": "W10=", "offset": 1}, 400, "PAGE_AMBIGUOUS"),
        ({"limit": -1}, 422, "VALIDATION_FAILED"),
        ({"limit": 101}, 422, "VALIDATION_FAILED"),
        ({"offset": -1}, 422, "VALIDATION_FAILED"),
        ({"min_duration_sec": -1}, 422, "VALIDATION_FAILED"),
        ({"time": {}, "clock": {}}, 422, "VALIDATION_FAILED"),
        ({"time": {"start_time": "yesterday"}}, 400, "FIELD_INVALID"),
    ],
)
async def test_questions_that_make_no_sense(
    rest: Rest, site: str, asked: dict[str, Any], status: int, reason: str
) -> None:
    body = asked if not asked or asked.keys() & {"environment_id", "job_ids"} else {"environment_id": site, **asked}
    refused(await rest.call("POST", "/api/v1/tracks/query", json=body), status, reason)


@pytest.mark.parametrize("paging", ["limit=-1", "limit=0", "offset=-1", "limit=abc", "page_token=nonsense"])
async def test_pages_that_are_none(rest: Rest, site: str, paging: str) -> None:
    expected = (400, "INVALID_PAGE_TOKEN") if "token" in paging else (422, "VALIDATION_FAILED")
    for path in ("/api/v1/environments", f"/api/v1/environments/{site}/identities"):
        refused(await rest.call("GET", f"{path}?{paging}"), *expected)
