"""Keys of a role, which AWS hands out to containers for a while, instead of keys in the settings."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from kinemesh.errors import PermissionDenied, Unavailable
from kinemesh.storage import ObjectStore, S3Settings


@pytest.fixture
def role(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The address at which a container asks for its role's keys; the list is of those who asked."""
    settings = s3_server.settings
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization", ""))
            keys = {
                "AccessKeyId": settings.access_key,
                "SecretAccessKey": settings.secret_key.get_secret_value(),
                "Token": "",
                "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(keys).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{listening.server_port}/role"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of this container")
        yield asked
        listening.shutdown()
        thread.join()


def of_role(settings: S3Settings, **changes: Any) -> S3Settings:
    return settings.model_copy(update={"access_key": "", "secret_key": SecretStr(""), "iam": True, **changes})


async def test_the_roles_keys_are_fetched_once_and_used(s3_server: Any, role: list[str]) -> None:
    async with ObjectStore(of_role(s3_server.settings)) as store:
        await store.put_bytes("role/object", b"by a role")
        assert await store.get_bytes("role/object") == b"by a role"
        assert s3_server.settings.access_key in store.presign_get("role/object")
        await store.delete(["role/object"])
    assert role == ["of this container"]
    async with ObjectStore(
        s3_server.settings.model_copy(update={"access_key": "", "secret_key": SecretStr("")})
    ) as store:
        with pytest.raises(PermissionDenied, match="refused the credentials"):
            await store.get_bytes("role/object")


async def test_who_has_no_role_is_told_so(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/role")
    async with ObjectStore(of_role(s3_server.settings, retries=0, connect_timeout_s=1.0)) as store:
        with pytest.raises(Unavailable):
            await store.get_bytes("role/object")


def test_keys_and_a_role_are_refused_together() -> None:
    with pytest.raises(ValidationError, match="KINEMESH_S3__ACCESS_KEY"):
        S3Settings(iam=True, access_key="key", secret_key=SecretStr("secret"))
