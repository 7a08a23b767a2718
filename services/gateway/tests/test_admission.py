"""Who may ask what, how often, and how a browser's elements show who asks; without anything behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from kinemesh.access.identity import SCOPES, Identity, Limits
from kinemesh.access.tokens import Tokens
from kinemesh.settings import AuthSettings
from kinemesh_gateway.domain.rates import Buckets
from kinemesh_gateway.domain.scopes import scope_of
from kinemesh_gateway.rest.api import create_api
from kinemesh_gateway.settings import GatewaySettings, HttpSettings, RateSettings

SECRET = "0123456789abcdef" * 2
TOKENS = Tokens(SECRET)
ORIGIN = "http://localhost:5173"
URL = "http://127.0.0.1:8080"


def settings(**more: Any) -> GatewaySettings:
    http = HttpSettings(cors_origins=(ORIGIN,), trusted_proxies=("10.0.0.0/8",))
    return GatewaySettings(auth=AuthSettings(secret=SecretStr(SECRET)), http=http, **more)


def token(*scopes: str, valid_s: int = 60, **more: Any) -> str:
    return TOKENS.issue(Identity("ada", frozenset(scopes), **more), valid_s)


def client(app: FastAPI, address: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 1), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=URL)


@pytest.fixture(scope="module")
def api() -> FastAPI:
    return create_api(settings())


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "TOKEN_MISSING"),
        ("Basic YWRhOmFkYQ==", "TOKEN_MISSING"),
        ("Bearer garbage", "TOKEN_INVALID"),
        (f"Bearer {token('read', valid_s=-60)}", "TOKEN_EXPIRED"),
        (f"Bearer {Tokens('x' * 32).issue(Identity('ada', frozenset(SCOPES)), 60)}", "TOKEN_INVALID"),
    ],
)
async def test_nobody_gets_in_without_a_token(api: FastAPI, authorization: str | None, reason: str) -> None:
    headers = {"X-Kinemesh-Owner": "ada", **({"Authorization": authorization} if authorization else {})}
    async with client(api) as http:
        for method, path in (("GET", "/api/v1/auth/me"), ("POST", "/api/v1/analyze"), ("GET", "/no/such/path")):
            answer = await http.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["reason"]) == (401, reason), path
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_token_says_who_asks(api: FastAPI) -> None:
    mine = token("read", "write", key_id="k1", limits=Limits(active_jobs=3))
    async with client(api) as http:
        headers = {"Authorization": f"bearer {mine}", "X-Kinemesh-Owner": "eve"}
        said = (await http.get("/api/v1/auth/me", headers=headers)).json()
    assert (said["owner"], said["scopes"], said["key_id"]) == ("ada", ["read", "write"], "k1")
    assert said["limits"] == {"requests_per_minute": None, "storage_bytes": None, "active_jobs": 3}
    assert said["expire_time"].endswith("Z")


async def test_without_a_secret_the_header_is_believed() -> None:
    async with client(create_api(GatewaySettings())) as http:
        answer = await http.get("/api/v1/auth/me", headers={"X-Kinemesh-Owner": "eve"})
        assert (answer.json()["owner"], answer.json()["expire_time"]) == ("eve", None)
        assert answer.json()["scopes"] == list(SCOPES)
        assert "RateLimit-Limit" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/v1/jobs", "read"),
        ("HEAD", "/api/v1/assets/a/content", "read"),
        ("WEBSOCKET", "/ws/jobs/j", "read"),
        ("POST", "/api/v1/tracks/query", "read"),
        ("POST", "/api/v1/jobs", "write"),
        ("DELETE", "/sessions/s", "write"),
        ("PATCH", "/api/v1/environments/e", "write"),
        ("POST", "/api/v1/models/m/test", "write"),
        ("POST", "/api/v1/models/import", "models"),
        ("POST", "/api/v1/models/add", "models"),
        ("DELETE", "/api/v1/models/m", "models"),
        ("GET", "/api/v1/auth/keys", "admin"),
        ("GET", "/api/v1/auth/keys/", "admin"),
        ("POST", "/api/v1/auth/keys/k/revoke", "admin"),
        ("GET", "/api/v1/auth/me", ""),
        ("POST", "/api/v1/auth/token", None),
        ("GET", "/api/v1/health", None),
        ("GET", "/docs", None),
        ("GET", "/docs/../api/v1/jobs", "read"),
        ("GET", "/api/v1/health/", "read"),
    ],
)
def test_what_requests_need(method: str, path: str, scope: str | None) -> None:
    assert scope_of(method, path) == scope


async def test_a_scope_is_asked_for_before_a_body_is_read(api: FastAPI) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"--x\r\n"

    async with client(api) as http:
        headers = {"Authorization": f"Bearer {token('read')}", "Content-Type": "multipart/form-data; boundary=x"}
        answer = await http.post("/api/v1/analyze", headers=headers, content=body())
        assert (answer.json()["error"]["metadata"], read) == ({"scope": "write"}, [])
        assert (answer.status_code, answer.json()["error"]["reason"]) == (403, "SCOPE_MISSING")


async def test_media_take_a_token_in_the_query_and_nothing_else_does(api: FastAPI) -> None:
    mine = token("write")
    async with client(api) as http:
        for path in ("/api/v1/jobs/j/outputs/annotated.mp4", "/sessions/s/video", "/api/v1/assets/a/content"):
            answer = await http.get(f"{path}?access_token={mine}")
            assert answer.json()["error"]["reason"] == "SCOPE_MISSING", path
        for method, path in (("GET", "/api/v1/jobs"), ("GET", "/api/v1/auth/me"), ("POST", "/api/v1/jobs")):
            answer = await http.request(method, f"{path}?access_token={mine}")
            assert answer.json()["error"]["reason"] == "TOKEN_MISSING", path


async def closing(api: FastAPI, query: str = "", protocols: str = "", authorization: str = "") -> tuple[int, str]:
    """How a WebSocket ends that is opened so; it must have been accepted, or a browser could not tell its page."""
    given = {"host": "127.0.0.1", "sec-websocket-protocol": protocols, "authorization": authorization}
    scope = {
        "type": "websocket",
        "path": "/ws/jobs/j",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
        "subprotocols": [one.strip() for one in protocols.split(",") if one],
        "client": ("127.0.0.1", 1),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await api(scope, receive, send)
    accepted, closed = sent
    assert accepted["type"] == "websocket.accept"
    assert accepted.get("subprotocol") == ("kinemesh.bearer" if protocols else None)
    return closed["code"], closed["reason"]


@pytest.mark.parametrize("how", ["query", "protocols", "authorization"])
async def test_websockets_say_why_they_are_refused(api: FastAPI, how: str) -> None:
    for given, ending in (
        ("garbage", (4401, "TOKEN_INVALID")),
        (token("write"), (4403, "SCOPE_MISSING")),
        (token("read", valid_s=-60), (4401, "TOKEN_EXPIRED")),
    ):
        value = {"query": "since=3&access_token=", "protocols": "kinemesh.bearer, ", "authorization": "Bearer "}[how]
        assert await closing(api, **{how: value + given}) == ending
    assert await closing(api) == (4401, "TOKEN_MISSING")


async def test_browsers_ask_first_without_a_token_and_read_refusals(api: FastAPI) -> None:
    async with client(api) as http:
        asking = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        answer = await http.options("/api/v1/jobs", headers=asking)
        assert answer.status_code == 200
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
        refused = await http.get("/api/v1/jobs", headers={"Origin": ORIGIN})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
        assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]


async def test_a_token_is_written_down_nowhere(api: FastAPI) -> None:
    mine = token("write")
    with structlog.testing.capture_logs() as logs:
        async with client(api) as http:
            await http.get(f"/sessions/s/video?access_token={mine}")
            await http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {mine}"})
    assert len(logs) >= 2
    assert mine not in json.dumps(logs, default=str)


async def test_each_key_has_a_limit_of_its_own() -> None:
    api = create_api(settings(rates=RateSettings(requests_per_minute=3)))
    async with client(api) as http:

        async def ask(mine: str) -> httpx.Response:
            return await http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {mine}"})

        one = token(key_id="k1")
        answers = [await ask(one) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert answers[-1].json()["error"]["reason"] == "RATE_LIMITED"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 20
        assert (await ask(token(key_id="k2"))).status_code == 200
        generous = token(key_id="k3", limits=Limits(requests_per_minute=100))
        assert (await ask(generous)).headers["RateLimit-Limit"] == "100"


async def test_addresses_behind_a_trusted_proxy_are_told_apart() -> None:
    api = create_api(settings(rates=RateSettings(requests_per_minute=1)))
    for hop, forwarded, status in (
        ("10.1.1.1", "203.0.113.1", 200),
        ("10.1.1.1", "203.0.113.1", 429),
        ("10.1.1.1", "203.0.113.2", 200),
        ("10.1.1.1", "198.51.100.9, 203.0.113.2", 429),  # what a client says of itself does not count
        ("192.0.2.1", "203.0.113.3", 200),
        ("192.0.2.1", "203.0.113.4", 429),  # this one is not trusted
    ):
        async with client(api, hop) as http:
            assert (await http.get("/docs", headers={"X-Forwarded-For": forwarded})).status_code == status


def test_buckets_fill_evenly_and_are_bounded() -> None:
    buckets = Buckets(most=2)
    assert [buckets.take("a", 60, 0.0).retry_s for _ in range(61)] == [0] * 60 + [1]
    assert buckets.take("a", 60, 1.0).retry_s == 0
    assert buckets.take("a", 60, 1.0).retry_s == 1
    assert buckets.take("a", 60, 500.0).remaining == 59
    assert buckets.look("a", 60, 500.0).remaining == 59
    for name in "bcd":
        buckets.take(name, 60, 500.0)
    assert len(buckets._levels) == 2


async def test_who_is_refused_and_what_would_change_something_is_noted(api: FastAPI) -> None:
    mine = token("read", key_id="k1")
    with structlog.testing.capture_logs() as logs:
        async with client(api, "192.0.2.7") as http:
            headers = {"Authorization": f"Bearer {mine}", "X-Request-ID": "r1"}
            await http.get("/api/v1/auth/me", headers=headers)
            await http.delete("/sessions/s", headers=headers)
            await http.get("/api/v1/jobs")
            await http.post("/no/such/path", headers={"Authorization": f"Bearer {token('write')}"})
    noted = [(one["action"], one["outcome"], one["owner"], one["key_id"]) for one in logs if one["event"] == "audit"]
    assert noted == [
        ("DELETE /sessions/s", "SCOPE_MISSING", "ada", "k1"),
        ("GET /api/v1/jobs", "TOKEN_MISSING", "", ""),
        ("POST /no/such/path", "HTTP_404", "ada", ""),
    ]
    assert {one["address"] for one in logs if one["event"] == "audit"} == {"192.0.2.7"}
