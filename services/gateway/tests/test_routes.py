"""The route catalogue over REST: areas, routes, and ways through them."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from kinemesh.route.v1 import catalogue_pb2

from .routes_stand_in import BUILT_IN

PATH = "/api/v1/routes"
OTHER = {"X-Kinemesh-Owner": "somebody-else"}
ONE_AREA = {"area_id", "owner", "display_name", "description", "route_count", "create_time", "update_time"}
ONE_ROUTE = {
    *("route_id", "area_id", "owner", "display_name", "description", "grade", "reference_id", "attempt_count"),
    *("create_time", "update_time"),
}


async def test_an_area_is_kept_changed_and_deleted(gateway: Any) -> None:
    body = {"display_name": "Frankenjura", "description": "First line.\nSecond line."}
    created = await gateway.http.post(f"{PATH}/areas", json=body)
    assert created.status_code == 201, created.text
    area = created.json()
    assert set(area) == ONE_AREA
    assert (area["display_name"], area["description"], area["owner"]) == (*body.values(), "local")
    url = created.headers["location"]
    assert url == f"{PATH}/areas/{area['area_id']}"
    assert (await gateway.http.get(url)).json() == area
    renamed = await gateway.http.patch(url, json={"display_name": "Fränkische"})
    assert renamed.status_code == 200
    assert renamed.json() == {**area, "display_name": "Fränkische", "update_time": renamed.json()["update_time"]}
    assert (await gateway.http.patch(url, json={"description": None})).json()["description"] == ""
    for method, how in (("GET", {}), ("PATCH", {"json": {"display_name": "Mine"}}), ("DELETE", {})):
        answer = await gateway.http.request(method, url, headers=OTHER, **how)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "AREA_NOT_FOUND")
    assert (await gateway.http.delete(url)).status_code == 204
    assert (await gateway.http.get(url)).status_code == 404


async def test_a_route_is_kept_changed_and_deleted(gateway: Any) -> None:
    area_id = (await gateway.http.post(f"{PATH}/areas", json={"display_name": "Kochel"})).json()["area_id"]
    body = {"area_id": area_id, "display_name": "Keltenwand", "grade": "6b+", "reference_id": BUILT_IN}
    created = await gateway.http.post(PATH, json=body)
    assert created.status_code == 201, created.text
    route = created.json()
    assert set(route) == ONE_ROUTE
    assert {name: route[name] for name in body} == body
    url = created.headers["location"]
    assert url == f"{PATH}/{route['route_id']}"
    assert (await gateway.http.get(url)).json() == route
    changed = (await gateway.http.patch(url, json={"grade": "6c", "reference_id": None})).json()
    assert (changed["grade"], changed["reference_id"], changed["display_name"]) == ("6c", "", "Keltenwand")
    for method, how in (("GET", {}), ("PATCH", {"json": {"grade": "1"}}), ("DELETE", {})):
        answer = await gateway.http.request(method, url, headers=OTHER, **how)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "ROUTE_NOT_FOUND")
    assert (await gateway.http.delete(url)).status_code == 204
    assert (await gateway.http.get(url)).status_code == 404


async def test_lists_come_in_pages(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "lister-of-routes"}
    areas = [
        (await gateway.http.post(f"{PATH}/areas", json={"display_name": name}, headers=mine)).json()["area_id"]
        for name in "abc"
    ]
    routes = [
        (await gateway.http.post(PATH, json={"area_id": areas[n > 2], "display_name": str(n)}, headers=mine)).json()
        for n in range(4)
    ]
    first = (await gateway.http.get(f"{PATH}/areas?limit=2", headers=mine)).json()
    assert [area["area_id"] for area in first["areas"]] == areas[:2]
    assert (first["total"], first["limit"], first["offset"]) == (3, 2, 0)
    by_token = {"limit": 2, "page_token": first["next_page_token"]}
    rest = (await gateway.http.get(f"{PATH}/areas", params=by_token, headers=mine)).json()
    assert rest["areas"] == (await gateway.http.get(f"{PATH}/areas?offset=2", headers=mine)).json()["areas"]
    assert ([area["area_id"] for area in rest["areas"]], rest["next_page_token"]) == (areas[2:], None)
    found = (await gateway.http.get(f"{PATH}?area_id={areas[0]}&limit=1&offset=1", headers=mine)).json()
    assert (found["routes"], found["total"], found["offset"]) == ([routes[1]], 3, 1)
    assert (await gateway.http.get(PATH, headers=mine)).json()["total"] == 4
    assert (await gateway.http.get(PATH, headers=mine)).json()["limit"] == 20


@pytest.mark.parametrize(
    "path", ["areas", "", "search?q=a", "attempts/recent", "references", "route-1/attempts"], ids=str
)
async def test_pages_that_make_no_sense(gateway: Any, path: str) -> None:
    url = f"{PATH}/{path}".rstrip("/")
    for name, value in (("limit", "0"), ("limit", "101"), ("offset", "-1"), ("offset", "1000001"), ("limit", "x")):
        answer = await gateway.http.get(url, params={"q": "a", name: value})
        error = answer.json()["error"]
        assert (answer.status_code, error["reason"], error["metadata"]["field"]) == (422, "VALIDATION_FAILED", name)
    both = await gateway.http.get(url, params={"q": "a", "offset": "1", "page_token": "1"})
    assert (both.status_code, both.json()["error"]["metadata"]["field"]) == (400, "page_token")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason", "field"),
    [
        ("POST", "/areas", {}, 422, "VALIDATION_FAILED", "display_name"),
        ("POST", "/areas", {"display_name": ""}, 422, "VALIDATION_FAILED", "display_name"),
        ("POST", "/areas", {"display_name": "x" * 201}, 422, "VALIDATION_FAILED", "display_name"),
        ("POST", "/areas", {"display_name": "x", "colour": 1}, 422, "VALIDATION_FAILED", "colour"),
        ("POST", "/areas", {"display_name": "a\u0007"}, 400, "FIELD_INVALID", "display_name"),
        ("POST", "/areas", {"display_name": "x", "description": "\u0000"}, 400, "FIELD_INVALID", "description"),
        ("PATCH", "/areas/some", {}, 400, "NOTHING_TO_CHANGE", "body"),
        ("PATCH", "/areas/some", {"display_name": None}, 422, "VALIDATION_FAILED", "display_name"),
        ("PATCH", "/areas/some", {"owner": "me"}, 422, "VALIDATION_FAILED", "owner"),
        ("POST", "", {"display_name": "x"}, 422, "VALIDATION_FAILED", "area_id"),
        ("POST", "", {"area_id": "a", "display_name": "x", "grade": "9" * 33}, 422, "VALIDATION_FAILED", "grade"),
        ("POST", "", {"area_id": "a", "display_name": "x", "grade": "6\n"}, 400, "FIELD_INVALID", "grade"),
        ("POST", "", [], 422, "VALIDATION_FAILED", "body"),
        ("PATCH", "/some", {}, 400, "NOTHING_TO_CHANGE", "body"),
        ("PATCH", "/some", {"attempt_count": 7}, 422, "VALIDATION_FAILED", "attempt_count"),
        ("GET", "/search", None, 422, "VALIDATION_FAILED", "q"),
        ("GET", "/search?q=", None, 422, "VALIDATION_FAILED", "q"),
        ("GET", "/some/compare?attempt_id=a", None, 422, "VALIDATION_FAILED", "attempt_id"),
        ("GET", "/some/compare?" + "attempt_id=a&" * 9, None, 422, "VALIDATION_FAILED", "attempt_id"),
        ("GET", "/some/compare", None, 422, "VALIDATION_FAILED", "attempt_id"),
        ("DELETE", "/temporary?older_than_sec=-1", None, 422, "VALIDATION_FAILED", "older_than_sec"),
        ("DELETE", "/temporary?older_than_sec=nan", None, 422, "VALIDATION_FAILED", "older_than_sec"),
        ("DELETE", "/temporary?dry_run=maybe", None, 422, "VALIDATION_FAILED", "dry_run"),
        ("GET", "/areas/a%00b", None, 422, "VALIDATION_FAILED", "area_id"),
        ("GET", "/a%00b", None, 422, "VALIDATION_FAILED", "route_id"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_names_the_field(
    gateway: Any, method: str, path: str, body: Any, status: int, reason: str, field: str
) -> None:
    answer = await gateway.http.request(method, f"{PATH}{path}", **({} if body is None else {"json": body}))
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["reason"], error["metadata"]["field"]) == (reason, field)


async def test_what_is_missing_and_what_conflicts(gateway: Any) -> None:
    nowhere = await gateway.http.post(PATH, json={"area_id": "nowhere", "display_name": "x"})
    assert (nowhere.status_code, nowhere.json()["error"]["reason"]) == (404, "AREA_NOT_FOUND")
    body = {"display_name": "Ith"}
    headers = {"Idempotency-Key": "area-once"}
    answers = [await gateway.http.post(f"{PATH}/areas", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    again = await gateway.http.post(f"{PATH}/areas", json=body)
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "AREA_EXISTS")
    route = {"area_id": answers[0].json()["area_id"], "display_name": "Twice"}
    assert (await gateway.http.post(PATH, json=route)).status_code == 201
    again = await gateway.http.post(PATH, json=route)
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "ROUTE_EXISTS")
    too_large = await gateway.http.post(f"{PATH}/areas", json={"display_name": "x", "description": "y" * 70_000})
    assert (too_large.status_code, too_large.json()["error"]["reason"]) == (413, "BODY_TOO_LARGE")
    wrong = await gateway.http.put(f"{PATH}/areas", json=body)
    assert (wrong.status_code, wrong.json()["error"]["reason"]) == (405, "METHOD_NOT_ALLOWED")


async def test_the_tree_is_sent_again_only_when_it_has_changed(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "tree-lover"}
    area_id = (await gateway.http.post(f"{PATH}/areas", json={"display_name": "Áà"}, headers=mine)).json()["area_id"]
    body = {"area_id": area_id, "display_name": "Crack", "grade": "V4"}
    route_id = (await gateway.http.post(PATH, json=body, headers=mine)).json()["route_id"]
    tree = await gateway.http.get(f"{PATH}/tree", headers=mine)
    assert (tree.status_code, tree.headers["content-type"]) == (200, "application/json")
    assert tree.headers["cache-control"] == "private, no-cache"
    route = {"route_id": route_id, "display_name": "Crack", "grade": "V4", "attempt_count": 0}
    assert tree.json() == {"areas": [{"area_id": area_id, "display_name": "Áà", "routes": [route]}]}
    etag = tree.headers["etag"]
    again = await gateway.http.get(f"{PATH}/tree", headers=mine)
    assert (again.status_code, again.content, again.headers["etag"]) == (200, tree.content, etag)
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        same = await gateway.http.get(f"{PATH}/tree", headers={**mine, "If-None-Match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag), known
    for known in ('"other"', etag.strip('"') + "x", "é" * 500):
        sent = await gateway.http.get(f"{PATH}/tree", headers=[*mine.items(), (b"If-None-Match", known.encode())])
        assert sent.status_code == 200, known
    await gateway.http.patch(f"{PATH}/{route_id}", json={"grade": "V5"}, headers=mine)
    changed = await gateway.http.get(f"{PATH}/tree", headers={**mine, "If-None-Match": etag})
    assert (changed.status_code, changed.json()["areas"][0]["routes"][0]["grade"]) == (200, "V5")
    assert (await gateway.http.get(f"{PATH}/tree", headers=mine)).content == changed.content
    assert (await gateway.http.get(f"{PATH}/tree", headers={"X-Kinemesh-Owner": "nobody"})).json() == {"areas": []}


async def test_search_finds_all_kinds(gateway: Any) -> None:
    mine = {"X-Kinemesh-Owner": "searcher"}
    area = (await gateway.http.post(f"{PATH}/areas", json={"display_name": "Silver"}, headers=mine)).json()
    body = {"area_id": area["area_id"], "display_name": "Silver Line"}
    route = (await gateway.http.post(PATH, json=body, headers=mine)).json()
    found = (await gateway.http.get(f"{PATH}/search?q=silver", headers=mine)).json()
    assert found["hits"] == [
        {"type": "area", "path": "Somewhere / Silver", "area": area, "route": None, "attempt": None},
        {"type": "route", "path": "Somewhere / Silver Line", "area": None, "route": route, "attempt": None},
    ]
    assert (found["total"], found["limit"], found["offset"], found["next_page_token"]) == (2, 20, 0, None)
    second = (await gateway.http.get(f"{PATH}/search?q=silver&limit=1&offset=1", headers=mine)).json()
    assert second["hits"] == found["hits"][1:]
    assert (await gateway.http.get(f"{PATH}/search?q=silver")).json()["hits"] == []


async def test_attempts_side_by_side(gateway: Any) -> None:
    route_id = await gateway.route()
    attempts = [await gateway.attempt(route_id) for _ in range(2)]
    metrics = catalogue_pb2.ClimbMetrics(path_length=1.5, moves=12)
    gateway.catalogue.attempts[attempts[0]].metrics.CopyFrom(metrics)
    url = f"{PATH}/{route_id}/compare"
    compared = await gateway.http.get(url, params={"attempt_id": attempts})
    assert compared.status_code == 200, compared.text
    assert [attempt["attempt_id"] for attempt in compared.json()["attempts"]] == attempts
    assert compared.json()["rows"] == [
        {"metric": "path_length", "unit": "heights", "values": [1.5, None]},
        {"metric": "moves", "unit": "", "values": [12.0, None]},
    ]
    missing = await gateway.http.get(url, params={"attempt_id": [attempts[0], "none"]})
    assert (missing.status_code, missing.json()["error"]["reason"]) == (404, "ATTEMPT_NOT_FOUND")
    twice = await gateway.http.get(url, params={"attempt_id": [attempts[0]] * 2})
    assert (twice.status_code, twice.json()["error"]["metadata"]["field"]) == (400, "attempt_id")
    elsewhere = await gateway.http.get(f"{PATH}/{await gateway.route()}/compare", params={"attempt_id": attempts})
    error = elsewhere.json()["error"]
    assert (elsewhere.status_code, error["reason"], error["metadata"]["field"]) == (
        400, "DIFFERENT_ROUTES", "attempt_id",
    )  # fmt: skip
    assert (await gateway.http.get(url, params={"attempt_id": attempts}, headers=OTHER)).status_code == 404


async def test_temporary_files_are_counted_and_deleted(gateway: Any) -> None:
    url = f"{PATH}/temporary"
    assert (await gateway.http.delete(url)).json() == {"files": 1, "bytes": 0}
    counted = await gateway.http.delete(url, params={"older_than_sec": 1.5, "dry_run": True})
    assert (counted.status_code, counted.json()) == (200, {"files": 2, "bytes": 1500})


async def test_nothing_internal_leaks(gateway: Any, failing: Any) -> None:
    failing(RuntimeError("password=hunter2"))
    paths = (f"{PATH}/areas", PATH, f"{PATH}/tree", f"{PATH}/attempts/a/video", f"{PATH}/references/a/image")
    for path in (*paths, "/api/v1/match/a", "/api/v1/match/a/frames"):
        with structlog.testing.capture_logs():  # the traces of all of them would take long to be written
            answer = await gateway.http.get(path)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (500, "INTERNAL"), path
        assert "hunter2" not in answer.text
