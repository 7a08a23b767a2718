"""What the running gateway cannot easily be brought to do."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from kinemesh.errors import DeadlineExceeded, UnsupportedMedia
from kinemesh_gateway.rest.admission import Admission
from kinemesh_gateway.rest.context import Caller
from kinemesh_gateway.rest.middleware import RequestContext
from kinemesh_gateway.rest.multipart import Expected
from kinemesh_gateway.rest.upload import Uploader
from kinemesh_gateway.settings import HttpSettings, RateSettings, UploadSettings

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "path": "/x", "headers": [(b"host", b"localhost")]}
NOBODY = Caller(None, "nobody")  # type: ignore[arg-type]  # whose calls never come to it


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_client_that_falls_silent_is_let_go() -> None:
    scope = {**SCOPE, "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}
    uploader = Uploader(UploadSettings(idle_timeout_s=0.05))
    with pytest.raises(DeadlineExceeded) as refused:
        async with uploader.receive(Request(scope, never), NOBODY):
            pass
    assert refused.value.reason == "UPLOAD_STALLED"


async def test_a_files_name_is_refused_before_the_file_has_come() -> None:
    scope = {**SCOPE, "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}
    begun = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.exe"\r\n\r\nMZ'
    sent: list[Message] = [{"type": "http.request", "body": begun, "more_body": True}]

    async def stalls() -> Message:
        return sent.pop() if sent else await never()

    expected = Expected(suffixes=(".mp4",))
    with pytest.raises(UnsupportedMedia) as refused:
        async with Uploader(UploadSettings()).receive(Request(scope, stalls), NOBODY, expected):
            pass
    assert refused.value.reason == "UNSUPPORTED_CONTAINER"


async def test_an_answer_that_breaks_off_does_not_end_as_if_it_were_whole() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise OSError("storage is gone")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    context = RequestContext(app, HttpSettings(), Admission(None, RateSettings(), (), re.compile("")), re.compile(""))
    with pytest.raises(Exception, match=r"^$") as broken:
        await context(SCOPE, never, send)
    assert "storage" not in str(broken.value)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
