"""Attempts over REST, and what is kept with them."""

from __future__ import annotations

from typing import Any

import pytest

from kinemesh.route.v1 import catalogue_pb2
from kinemesh.storage import keys

from .routes_stand_in import attempt_prefix
from .stand_in import MP4_HEAD

PATH = "/api/v1/routes/attempts"
OTHER = {"X-Kinemesh-Owner": "somebody-else"}
DATA = bytes(range(256)) * 64
PARQUET = "application/vnd.apache.parquet"
ONE_ATTEMPT = {
    *("attempt_id", "route_id", "area_id", "owner", "display_name", "notes", "asset_id", "attempt_time", "topped"),
    *("has_poses", "has_features", "job_id", "metrics", "create_time", "update_time"),
}


async def test_an_attempt_is_kept_changed_and_deleted(gateway: Any) -> None:
    route_id = await gateway.route()
    asset_id = await gateway.asset(MP4_HEAD + DATA)
    body = {
        "asset_id": asset_id,
        "display_name": "Third go",
        "notes": "Cold.\nDry.",
        "attempt_time": "2026-03-01T08:00:00Z",
        "topped": True,
    }
    created = await gateway.http.post(f"/api/v1/routes/{route_id}/attempts", json=body)
    assert created.status_code == 201, created.text
    attempt = created.json()
    assert set(attempt) == ONE_ATTEMPT
    assert {name: attempt[name] for name in body} == body
    assert (attempt["route_id"], attempt["metrics"], attempt["has_poses"]) == (route_id, None, False)
    url = created.headers["location"]
    assert url == f"{PATH}/{attempt['attempt_id']}"
    assert (await gateway.http.get(url)).json() == attempt
    changes = {"display_name": None, "topped": False, "attempt_time": "2026-03-01T09:30:00+01:00"}
    changed = (await gateway.http.patch(url, json=changes)).json()
    assert (changed["display_name"], changed["topped"], changed["notes"]) == ("", False, body["notes"])
    assert changed["attempt_time"] == "2026-03-01T08:30:00Z"
    kept = gateway.catalogue.attempts[attempt["attempt_id"]]
    kept.metrics.CopyFrom(catalogue_pb2.ClimbMetrics(time_on_route_sec=31.5, moves=14, straightness=0.8))
    assert (await gateway.http.get(url)).json()["metrics"] == {
        "time_on_route_sec": 31.5, "moves": 14, "pauses": 0, "pause_sec": 0.0, "path_length": 0.0,
        "straightness": 0.8, "holds_touched": 0,
    }  # fmt: skip
    for method, how in (("GET", {}), ("PATCH", {"json": {"topped": True}}), ("DELETE", {})):
        answer = await gateway.http.request(method, url, headers=OTHER, **how)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "ATTEMPT_NOT_FOUND")
    assert (await gateway.http.delete(url)).status_code == 204
    assert (await gateway.http.get(url)).status_code == 404


async def test_attempts_are_listed_by_route_and_by_age(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "climber"}
    gateway.http.headers.update(mine)
    try:
        routes = [await gateway.route() for _ in range(2)]
        attempts = [await gateway.attempt(route_id) for route_id in (routes[0], routes[1], routes[0])]
    finally:
        del gateway.http.headers["X-Kinemesh-Owner"]
    at_first = (await gateway.http.get(f"/api/v1/routes/{routes[0]}/attempts", headers=mine)).json()
    assert [attempt["attempt_id"] for attempt in at_first["attempts"]] == [attempts[2], attempts[0]]
    assert (at_first["total"], at_first["limit"], at_first["offset"], at_first["next_page_token"]) == (2, 20, 0, None)
    recent = (await gateway.http.get(f"{PATH}/recent?limit=2", headers=mine)).json()
    assert [attempt["attempt_id"] for attempt in recent["attempts"]] == attempts[:0:-1]
    assert (recent["total"], recent["next_page_token"]) == (3, "2")
    assert set(recent["attempts"][0]) == {*ONE_ATTEMPT, "route_name", "area_name"}
    route = gateway.catalogue.routes[routes[0]]
    area = gateway.catalogue.areas[route.area_id]
    named = recent["attempts"][0]
    assert (named["route_name"], named["area_name"]) == (route.display_name, area.display_name)
    rest = (await gateway.http.get(f"{PATH}/recent?page_token=2", headers=mine)).json()
    assert [attempt["attempt_id"] for attempt in rest["attempts"]] == attempts[:1]
    assert (await gateway.http.get(f"{PATH}/recent", headers={"X-Kinemesh-Owner": "nobody"})).json()["total"] == 0


@pytest.mark.parametrize(
    ("body", "status", "reason", "field"),
    [
        ({}, 422, "VALIDATION_FAILED", "asset_id"),
        ({"asset_id": "a", "who": 1}, 422, "VALIDATION_FAILED", "who"),
        ({"asset_id": "a", "topped": "perhaps"}, 422, "VALIDATION_FAILED", "topped"),
        ({"asset_id": "a", "attempt_time": "yesterday"}, 400, "FIELD_INVALID", "attempt_time"),
        ({"asset_id": "a", "attempt_time": 7}, 422, "VALIDATION_FAILED", "attempt_time"),
        ({"asset_id": "a", "notes": "\u0000"}, 400, "FIELD_INVALID", "notes"),
        ({"asset_id": "nothing"}, 404, "ASSET_NOT_FOUND", None),
    ],
)
async def test_wrong_attempts_name_the_field(
    gateway: Any, body: dict[str, Any], status: int, reason: str, field: str | None
) -> None:
    answer = await gateway.http.post(f"/api/v1/routes/{await gateway.route()}/attempts", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"].get("field")) == (reason, field)


async def test_attempts_that_cannot_be(gateway: Any) -> None:
    url = f"/api/v1/routes/{await gateway.route()}/attempts"
    announced = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 10}
    pending = (await gateway.http.post("/api/v1/assets", json=announced)).json()["asset"]["asset_id"]
    early = await gateway.http.post(url, json={"asset_id": pending})
    error = early.json()["error"]
    assert (early.status_code, error["reason"], error["metadata"]["field"]) == (409, "ASSET_NOT_READY", "asset_id")
    for method, how in (("POST", {"json": {"asset_id": pending}}), ("GET", {})):
        answer = await gateway.http.request(method, "/api/v1/routes/nowhere/attempts", **how)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "ROUTE_NOT_FOUND")
    attempt_id = await gateway.attempt(await gateway.route())
    empty = await gateway.http.patch(f"{PATH}/{attempt_id}", json={})
    assert (empty.status_code, empty.json()["error"]["metadata"]["field"]) == (400, "body")
    for name in ("topped", "attempt_time"):
        answer = await gateway.http.patch(f"{PATH}/{attempt_id}", json={name: None})
        assert (answer.status_code, answer.json()["error"]["metadata"]["field"]) == (422, name)


async def test_a_repeated_call_adds_one_attempt(gateway: Any) -> None:
    url = f"/api/v1/routes/{await gateway.route()}/attempts"
    body = {"asset_id": await gateway.asset(MP4_HEAD + DATA)}
    headers = {"Idempotency-Key": "attempt-once"}
    answers = [await gateway.http.post(url, json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert (await gateway.http.get(url)).json()["total"] == 1


async def read(gateway: Any, attempt_id: str) -> None:
    """Let a job have read an attempt."""
    attempt = gateway.catalogue.attempts[attempt_id]
    prefix = attempt_prefix(attempt)
    await gateway.catalogue.store.put_bytes(keys.attempt_poses(prefix), DATA, PARQUET)
    await gateway.catalogue.store.put_bytes(keys.attempt_features(prefix), DATA[::-1], PARQUET)
    attempt.has_poses = attempt.has_features = True


@pytest.mark.parametrize(
    ("what", "content", "kind", "name"),
    [
        ("video", MP4_HEAD + b"video", "video/mp4", ".mp4"),
        ("poses", DATA, PARQUET, "-poses.parquet"),
        ("features", DATA[::-1], PARQUET, "-features.parquet"),
    ],
)
async def test_what_is_kept_with_an_attempt(gateway: Any, what: str, content: bytes, kind: str, name: str) -> None:
    attempt_id = await gateway.attempt(await gateway.route())
    url = f"{PATH}/{attempt_id}/{what}"
    if what != "video":
        for method in ("GET", "HEAD"):
            assert (await gateway.http.request(method, url)).status_code == 409
        early = await gateway.http.get(url)
        assert early.json()["error"]["reason"] == f"NO_{what.upper()}"
    await read(gateway, attempt_id)
    whole = await gateway.http.get(url)
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["content-type"] == kind
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-disposition"] == f'inline; filename="{attempt_id}{name}"'
    part = await gateway.http.get(url, headers={"Range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, content[4:10])
    assert part.headers["content-range"] == f"bytes 4-9/{len(content)}"
    head = await gateway.http.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))
    assert head.headers["etag"] == whole.headers["etag"]
    for method in ("GET", "HEAD"):
        known = await gateway.http.request(method, url, headers={"If-None-Match": whole.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
    resumed = await gateway.http.get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert (resumed.status_code, resumed.content) == (200, content)
    outside = await gateway.http.get(url, headers={"Range": f"bytes={len(content)}-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{len(content)}")
    assert outside.json()["error"]["reason"] == "RANGE_NOT_SATISFIABLE"
    for method in ("GET", "HEAD"):
        assert (await gateway.http.request(method, url, headers=OTHER)).status_code == 404
        assert (await gateway.http.request(method, f"{PATH}/nothing/{what}")).status_code == 404
