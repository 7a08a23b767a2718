"""Bad input ends in a clear error with a reason, and nothing is left behind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kinemesh.media.synthetic import write_clip
from kinemesh.testing.rest import Rest

EMPTY = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 0}


def good(folder: Path) -> bytes:
    path = folder / "good.mp4"
    write_clip(path, pts=[i * 3000 for i in range(20)])
    return path.read_bytes()


def truncated(folder: Path) -> bytes:
    data = good(folder)
    return data[: len(data) // 2]


def playlist(folder: Path) -> bytes:
    secret = folder / "secret.mp4"
    secret.write_bytes(good(folder))
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode()


def huge_picture(_folder: Path) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 90_001)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sound_only(folder: Path) -> bytes:
    path = folder / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path.read_bytes()


def no_frames(folder: Path) -> bytes:
    path = folder / "none.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("make", "reasons"),
    [
        (truncated, {"TRUNCATED"}),
        (lambda _: b"just words, and no video\n" * 99, {"NOT_A_VIDEO", "UNSUPPORTED_CONTAINER"}),
        (playlist, {"NOT_A_VIDEO", "UNSUPPORTED_CONTAINER"}),
        (huge_picture, {"NOT_A_VIDEO", "UNSUPPORTED_CONTAINER", "TOO_MANY_PIXELS"}),
        (sound_only, {"NO_VIDEO_STREAM"}),
        (no_frames, {"NO_FRAMES", "NO_VIDEO_STREAM"}),
    ],
)
async def test_what_is_no_good_video_is_refused(
    make: Callable[[Path], bytes], reasons: set[str], rest: Rest, tmp_path: Path
) -> None:
    data = make(tmp_path)
    described = {"filename": "clip.mp4", "content_type": "video/mp4", "size_bytes": len(data)}
    created = (await rest.call("POST", "/api/v1/assets", json=described)).json()
    upload, asset_id = created["upload"], created["asset"]["asset_id"]
    (await rest.http.put(upload["url"], content=data, headers=upload["headers"])).raise_for_status()
    answer = await rest.call("POST", f"/api/v1/assets/{asset_id}/confirm", json={})
    assert answer.status_code in (400, 413, 415)
    assert_refusal(answer.json(), reasons)
    asset = (await rest.call("GET", f"/api/v1/assets/{asset_id}")).json()
    assert asset["state"] == "REJECTED"
    assert asset["failure"]["reason"] in reasons
    started = await rest.call("POST", "/api/v1/jobs", json={"pipeline": "pose", "asset_id": asset_id})
    assert started.status_code == 409
    assert started.json()["error"]["reason"] == "ASSET_NOT_READY"


def assert_refusal(body: dict[str, Any], reasons: set[str]) -> None:
    assert body["error"]["reason"] in reasons
    assert body["detail"].endswith(".")
    assert body["error"]["request_id"]
    assert "/" not in body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        (
            "POST",
            "/api/v1/assets",
            {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 0},
            400,
            "EMPTY_FILE",
        ),
        ("POST", "/api/v1/assets/nope/confirm", {}, 404, "ASSET_NOT_FOUND"),
        ("POST", "/api/v1/jobs", {"pipeline": "pose", "asset_id": "nope"}, 404, "ASSET_NOT_FOUND"),
        ("POST", "/api/v1/jobs", {"pipeline": "nope", "asset_id": "nope"}, 400, "UNKNOWN_PIPELINE"),
        ("GET", "/api/v1/jobs/nope", None, 404, "JOB_NOT_FOUND"),
        ("POST", "/api/v1/jobs/nope/cancel", None, 404, "JOB_NOT_FOUND"),
        ("DELETE", "/api/v1/jobs/nope", None, 404, "JOB_NOT_FOUND"),
        ("GET", "/api/v1/analyze/nope/status", None, 404, None),
        ("GET", "/api/v1/analyze/nope/result", None, 404, None),
        ("GET", "/api/v1/jobs?limit=101", None, 422, None),
        ("GET", "/api/v1/models/nope", None, 404, "MODEL_NOT_FOUND"),
        ("GET", "/nowhere", None, 404, None),
    ],
)
async def test_wrong_requests_are_told_why(
    method: str, path: str, body: Any, status: int, reason: str | None, rest: Rest
) -> None:
    answer = await rest.call(method, path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert reason in (None, error["reason"])
    assert error["reason"]


@pytest.mark.parametrize(
    "parameters",
    [{"max_persons": 17}, {"max_persons": -1}, {"subject": "WHOEVER"}, {"style": {"colors": ["red"]}}, {"x": 1}],
)
async def test_parameters_out_of_range_are_refused(parameters: dict[str, Any], rest: Rest, tmp_path: Path) -> None:
    asset_id = await rest.upload(good(tmp_path))
    body = {"pipeline": "pose", "asset_id": asset_id, "parameters": parameters}
    answer = await rest.call("POST", "/api/v1/jobs", json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["reason"]


async def test_confirm_without_upload_and_with_another_size(rest: Rest, tmp_path: Path) -> None:
    data = good(tmp_path)
    described = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": len(data) + 5}
    created = (await rest.call("POST", "/api/v1/assets", json=described)).json()
    path = f"/api/v1/assets/{created['asset']['asset_id']}/confirm"
    early = await rest.call("POST", path, json={})
    assert (early.status_code, early.json()["error"]["reason"]) == (409, "UPLOAD_MISSING")
    upload = created["upload"]
    (await rest.http.put(upload["url"], content=data, headers=upload["headers"])).raise_for_status()
    answer = await rest.call("POST", path, json={})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "SIZE_MISMATCH")
