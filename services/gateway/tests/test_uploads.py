"""Uploads that go on after a loss, forms that break off, and what one may use."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from kinemesh.errors import ResourceExhausted
from kinemesh.storage import keys
from kinemesh.testing.waiting import until

from .held import HeldUpload
from .stand_in import MP4_HEAD, PART

DATA = MP4_HEAD + bytes(range(256)) * (5 * PART // 256)


async def announced(gateway: Any, data: bytes = DATA, **more: Any) -> dict[str, Any]:
    body = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": len(data), **more}
    answer = await gateway.http.post("/api/v1/assets", json=body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def put(upload: dict[str, Any], data: bytes, *numbers: int) -> None:
    urls = {part["part_number"]: part["url"] for part in upload["parts"]}
    async with httpx.AsyncClient(timeout=60) as plain:
        for number in numbers:
            start = (number - 1) * upload["part_size"]
            piece = data[start : start + upload["part_size"]]
            (await plain.put(urls[number], content=piece)).raise_for_status()


@pytest.mark.parametrize("path", ["/api/v1/assets/{}/upload", "/api/v1/analyze/{}/upload"])
async def test_an_upload_goes_on(gateway: Any, path: str) -> None:
    created = await announced(gateway, sha256="ab" * 32)
    asset_id = created["asset"]["asset_id"]
    await put(created["upload"], DATA, 2, 4)
    found = (await gateway.http.get(path.format(asset_id))).json()
    assert set(found) == {"asset", "upload", "uploaded", "uploaded_bytes", "checked_bytes", "expire_time"}
    assert [(part["part_number"], part["size_bytes"]) for part in found["uploaded"]] == [(2, PART), (4, PART)]
    assert (found["asset"]["sha256"], found["uploaded_bytes"]) == ("ab" * 32, 2 * PART)
    missing = [part["part_number"] for part in found["upload"]["parts"]]
    assert missing == [1, 3, 5, 6]
    await put(found["upload"], DATA, *missing)
    found = (await gateway.http.get(path.format(asset_id))).json()
    done = [{"part_number": part["part_number"], "etag": part["etag"]} for part in found["uploaded"]]
    confirmed = await gateway.http.post(f"/api/v1/assets/{asset_id}/confirm", json={"parts": done})
    assert confirmed.json()["state"] == "READY"
    assert (await gateway.http.get(path.format(asset_id))).json()["upload"] is None


async def test_an_analysis_is_given_up_before_it_begins(gateway: Any) -> None:
    asset_id = (await announced(gateway))["asset"]["asset_id"]
    path = f"/api/v1/analyze/{asset_id}/upload"
    assert (await gateway.http.delete(path)).status_code == 204
    assert (await gateway.http.get(path)).status_code == 404
    assert not await gateway.catalogue.store.multipart.list_uploads(keys.asset_prefix(asset_id))
    ready = await gateway.asset(MP4_HEAD + b"video")
    answer = await gateway.http.delete(f"/api/v1/analyze/{ready}/upload")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "UPLOAD_CONFIRMED")


@pytest.mark.parametrize("sha256", ["abc", "xy" * 32, 7])
async def test_a_checksum_that_is_none(gateway: Any, sha256: Any) -> None:
    body = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 1, "sha256": sha256}
    answer = await gateway.http.post("/api/v1/assets", json=body)
    assert (answer.status_code, answer.json()["error"]["metadata"]["field"]) == (422, "sha256")


async def test_assets_are_listed_by_state(gateway: Any) -> None:
    pending = (await announced(gateway))["asset"]["asset_id"]
    ready = await gateway.asset(MP4_HEAD + b"video")
    listed = (await gateway.http.get("/api/v1/assets?state=PENDING&limit=100")).json()["assets"]
    assert pending in {asset["asset_id"] for asset in listed}
    assert ready not in {asset["asset_id"] for asset in listed}
    assert (await gateway.http.get("/api/v1/assets?state=LOST")).status_code == 422


async def test_a_client_that_leaves_leaves_nothing(gateway: Any) -> None:
    before = set(gateway.catalogue.assets)
    held = await HeldUpload.begin(gateway.url + "/api/v1/analyze", "file", DATA)

    async def has_begun() -> bool:
        return bool(set(gateway.catalogue.assets) - before)

    await until(has_begun)
    (asset_id,) = set(gateway.catalogue.assets) - before
    await held.leave()
    prefix, store = keys.asset_prefix(asset_id), gateway.catalogue.store

    async def is_gone() -> bool:
        unfinished = await store.multipart.list_uploads(prefix)
        return asset_id not in gateway.catalogue.assets and not unfinished and not await store.list_objects(prefix)

    await until(is_gone)


@pytest.mark.parametrize(
    ("room", "status", "reason"),
    [({"most_bytes": 12 * 1024 * 1024}, 413, "FILE_TOO_LARGE"), ({"quota_bytes": 100}, 429, "QUOTA_EXCEEDED")],
)
async def test_a_form_ends_where_there_is_no_room(
    gateway: Any, monkeypatch: Any, room: dict[str, int], status: int, reason: str
) -> None:
    for name, value in room.items():
        monkeypatch.setattr(gateway.catalogue, name, value)
    before = set(gateway.catalogue.assets)
    answer = await gateway.http.post("/api/v1/analyze", files={"file": ("a.mp4", DATA)})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)
    assert set(gateway.catalogue.assets) == before


async def test_a_quota_says_when_to_ask_again(gateway: Any, failing: Any) -> None:
    facts = {"quota": "active_jobs", "used": 5, "limit": 4, "retry_after_s": 10}
    failing(ResourceExhausted("QUOTA_EXCEEDED", "That would be 5 jobs.", **facts))
    body = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 1}
    answer = await gateway.http.post("/api/v1/assets", json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    assert answer.json()["error"]["metadata"]["limit"] == "4"


async def test_usage_is_told(gateway: Any) -> None:
    answer = await gateway.http.get("/api/v1/usage")
    assert answer.json()["stored_bytes"] == {"used": 7, "limit": 1000}
    assert answer.json()["active_jobs"] == {"used": 0, "limit": None}
