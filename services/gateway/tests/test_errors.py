"""Failures, ids, health, and what browsers may do."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from grpc_health.v1 import health_pb2

from kinemesh import errors

KINDS = [
    errors.InvalidArgument,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.NotFound,
    errors.FailedPrecondition,
    errors.TooLarge,
    errors.UnsupportedMedia,
    errors.ResourceExhausted,
    errors.Unimplemented,
    errors.Unavailable,
    errors.DeadlineExceeded,
]


def check(answer: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"detail", "error"}
    assert set(body["error"]) == {"status", "reason", "metadata", "request_id"}
    assert body["error"]["reason"] == reason
    assert body["error"]["request_id"] == answer.headers["x-request-id"]
    assert isinstance(body["detail"], str)
    found: dict[str, Any] = body
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_errors_of_services_arrive_whole(gateway: Any, failing: Any, kind: type[errors.KinemeshError]) -> None:
    failing(kind("SOME_REASON", "Something is so.", fact=7))
    answer = await gateway.http.get("/api/v1/jobs/any")
    body = check(answer, kind.http_status, "SOME_REASON")
    assert body["detail"] == "Something is so."
    assert body["error"]["status"] == kind.code
    assert body["error"]["metadata"] == {"fact": "7"}
    assert ("retry-after" in answer.headers) == (kind.http_status in (429, 503))


async def test_nothing_internal_leaks(gateway: Any, failing: Any) -> None:
    failing(RuntimeError("password=hunter2"))
    answer = await gateway.http.get("/api/v1/jobs/any")
    check(answer, 500, "INTERNAL")
    assert "hunter2" not in answer.text


async def test_our_own_mistakes_look_the_same(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("kinemesh_gateway.rest.jobs.job_json", broken)
    with structlog.testing.capture_logs() as logs:
        answer = await gateway.http.get(
            f"/api/v1/jobs/{await _job_id(gateway)}", headers={"Origin": "http://localhost:5173"}
        )
    assert "hunter2" in str(next(entry["exc_info"] for entry in logs if entry["log_level"] == "error"))
    check(answer, 500, "INTERNAL")
    assert "hunter2" not in answer.text
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"


async def _job_id(gateway: Any) -> str:
    asset_id = await gateway.asset(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2")
    await gateway.http.post("/api/v1/jobs", json={"pipeline": "pose", "asset_id": asset_id})
    return str(next(reversed(gateway.catalogue.jobs)))


async def test_paths_and_methods_that_do_not_exist(gateway: Any) -> None:
    check(await gateway.http.get("/api/v1/nothing"), 404, "ROUTE_NOT_FOUND")
    answer = await gateway.http.put("/api/v1/jobs")
    check(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{", "body"),
        ("[]", "body"),
        ('{"filename": "a.mp4", "content_type": "video/mp4"}', "size_bytes"),
        ('{"filename": "", "content_type": "video/mp4", "size_bytes": 1}', "filename"),
        ('{"filename": "a", "content_type": "a\\r\\nb", "size_bytes": 1}', "content_type"),
        ('{"filename": "a", "content_type": "b", "size_bytes": 1e30}', "size_bytes"),
    ],
)
async def test_bodies_that_make_no_sense(gateway: Any, body: str, field: str) -> None:
    answer = await gateway.http.post("/api/v1/assets", content=body, headers={"Content-Type": "application/json"})
    assert check(answer, 422, "VALIDATION_FAILED")["error"]["metadata"]["field"] == field
    assert field in answer.json()["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "limit=x"])
async def test_pages_that_make_no_sense(gateway: Any, query: str) -> None:
    body = check(await gateway.http.get(f"/api/v1/jobs?{query}"), 422, "VALIDATION_FAILED")
    assert body["error"]["metadata"]["field"] == query.split("=")[0]


async def test_ids_and_owners_that_make_no_sense(gateway: Any) -> None:
    check(await gateway.http.get("/api/v1/jobs/..%2f..%2fsecret"), 404, "ROUTE_NOT_FOUND")
    check(await gateway.http.get("/api/v1/jobs/a%00b"), 422, "VALIDATION_FAILED")
    check(await gateway.http.get("/api/v1/jobs", headers={"X-Kinemesh-Owner": "a b"}), 400, "OWNER_INVALID")


async def test_bodies_have_a_limit(gateway: Any) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 4096

    headers = {"Content-Type": "application/json"}
    declared = await gateway.http.post("/api/v1/jobs", content=b" " * (65 * 1024), headers=headers)
    check(declared, 413, "BODY_TOO_LARGE")
    check(await gateway.http.post("/api/v1/jobs", content=endless(), headers=headers), 413, "BODY_TOO_LARGE")


async def test_request_ids_and_traces_go_along(gateway: Any) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"X-Request-ID": "my-id-1", "X-Kinemesh-Owner": "ann", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = await gateway.http.get("/api/v1/jobs", headers=headers)
    assert answer.headers["x-request-id"] == "my-id-1"
    name, metadata = gateway.catalogue.calls[-1]
    assert name == "ListJobs"
    assert metadata["x-request-id"] == "my-id-1"
    assert metadata["x-kinemesh-owner"] == "ann"
    assert metadata["traceparent"].split("-")[1] == trace
    odd = await gateway.http.get("/api/v1/jobs", headers={"X-Request-ID": "<script>"})
    assert odd.headers["x-request-id"] != "<script>"


async def test_a_service_that_hangs_ends_in_a_timeout(gateway: Any) -> None:
    gateway.catalogue.blocked = asyncio.Event()
    try:
        check(await gateway.http.get("/api/v1/jobs"), 504, "DEADLINE_EXCEEDED")
    finally:
        gateway.catalogue.blocked.set()
        gateway.catalogue.blocked = None


async def test_health_names_every_part(gateway: Any) -> None:
    answer = await gateway.http.get("/api/v1/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert set(answer.json()["services"]) == {"detect_track", "ingest", "nats", "s3"}
    await gateway.ingest_health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    try:
        answer = await gateway.http.get("/api/v1/health")
        check(await gateway.http.get("/api/health"), 503, "PART_DOWN")
    finally:
        await gateway.ingest_health.set("", health_pb2.HealthCheckResponse.SERVING)
    assert (answer.status_code, answer.json()["status"]) == (503, "down")
    assert answer.json()["services"]["ingest"]["status"] == "down"
    assert answer.json()["services"]["s3"]["status"] == "ok"


async def test_pages_of_other_origins_may_change_nothing(gateway: Any) -> None:
    evil = {"Origin": "http://evil.example"}
    check(await gateway.http.post("/api/v1/jobs/x/cancel", headers=evil), 403, "ORIGIN_NOT_ALLOWED")
    listed = await gateway.http.get("/api/v1/jobs", headers=evil)
    assert "access-control-allow-origin" not in listed.headers
    same = await gateway.http.post("/api/v1/jobs/x/cancel", headers={"Origin": gateway.url})
    check(same, 404, "JOB_NOT_FOUND")
    check(await gateway.http.get("/api/v1/jobs", headers={"Host": "evil.example"}), 400, "HOST_NOT_ALLOWED")


async def test_listed_origins_may(gateway: Any) -> None:
    ours = {"Origin": "http://localhost:5173"}
    preflight = await gateway.http.options(
        "/api/v1/jobs",
        headers={
            **ours,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,range",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ours["Origin"]
    answer = await gateway.http.post("/api/v1/jobs/x/cancel", headers=ours)
    check(answer, 404, "JOB_NOT_FOUND")
    assert answer.headers["access-control-allow-origin"] == ours["Origin"]
    assert "Content-Range" in answer.headers["access-control-expose-headers"]


async def test_answers_restrain_browsers(gateway: Any) -> None:
    for path in ("/api/v1/jobs", "/api/v1/nothing"):
        headers = (await gateway.http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert (await gateway.http.get(path)).status_code == 200
