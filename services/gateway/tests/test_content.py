"""Objects over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY

from kinemesh.storage import keys
from kinemesh.testing.waiting import until

DATA = bytes(range(256)) * 4096  # a megabyte: several chunks of the store


@pytest.fixture
async def output(gateway: Any) -> str:
    job_id = await gateway.job()
    outputs = {
        "annotated.mp4": (DATA, "video/mp4"),
        "empty.json": (b"", "application/json"),
        "page.json": (b"<x>", "text/html"),
    }
    await gateway.catalogue.finish(job_id, outputs)
    return f"/api/v1/jobs/{job_id}/outputs/annotated.mp4"


async def test_the_whole(gateway: Any, output: str) -> None:
    answer = await gateway.http.get(output)
    assert answer.status_code == 200
    assert answer.content == DATA
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == 'inline; filename="annotated.mp4"'
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=300000-799999", 300000, 800000),
        ("bytes=-5", -5, None),
        ("bytes=1048570-", -6, None),
    ],
)
async def test_a_range(gateway: Any, output: str, header: str, start: int, end: int | None) -> None:
    answer = await gateway.http.get(output, headers={"Range": header})
    assert answer.status_code == 206
    assert answer.content == DATA[start:end]
    first = start % len(DATA)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_a_range_outside(gateway: Any, output: str) -> None:
    answer = await gateway.http.get(output, headers={"Range": f"bytes={len(DATA)}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    assert answer.json()["error"]["reason"] == "RANGE_NOT_SATISFIABLE"


async def test_several_ranges_get_the_whole(gateway: Any, output: str) -> None:
    answer = await gateway.http.get(output, headers={"Range": "bytes=0-1,5-6"})
    assert (answer.status_code, len(answer.content)) == (200, len(DATA))


async def test_head(gateway: Any, output: str) -> None:
    whole = await gateway.http.get(output)
    answer = await gateway.http.head(output, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "accept-ranges", "last-modified"):
        assert answer.headers[name] == whole.headers[name]


async def test_a_copy_that_is_current_is_not_sent_again(gateway: Any, output: str) -> None:
    etag = (await gateway.http.head(output)).headers["etag"]
    for method in ("GET", "HEAD"):
        answer = await gateway.http.request(method, output, headers={"If-None-Match": f'"other", {etag}'})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await gateway.http.get(output, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_if_range(gateway: Any, output: str) -> None:
    head = (await gateway.http.head(output)).headers
    for validator in (head["etag"], head["last-modified"]):
        answer = await gateway.http.get(output, headers={"Range": "bytes=0-9", "If-Range": validator})
        assert answer.status_code == 206, validator
    answer = await gateway.http.get(output, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (answer.status_code, len(answer.content)) == (200, len(DATA))


async def test_nothing_at_all(gateway: Any, output: str) -> None:
    empty = output.replace("annotated.mp4", "empty.json")
    answer = await gateway.http.get(empty)
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await gateway.http.get(empty, headers={"Range": "bytes=0-"})).status_code == 416


async def test_a_page_is_not_shown_as_one(gateway: Any, output: str) -> None:
    answer = await gateway.http.get(output.replace("annotated.mp4", "page.json"))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_outputs_that_are_not_there(gateway: Any, output: str) -> None:
    missing = await gateway.http.get(output.replace("annotated", "other"))
    assert (missing.status_code, missing.json()["error"]["reason"]) == (404, "OUTPUT_NOT_FOUND")
    early = await gateway.http.get(f"/api/v1/jobs/{await gateway.job()}/outputs/annotated.mp4")
    assert (early.status_code, early.json()["error"]["reason"]) == (409, "JOB_NOT_SUCCEEDED")
    await gateway.catalogue.store.delete([keys.output(output.split("/")[4], "annotated.mp4")])
    lost = await gateway.http.get(output)
    assert (lost.status_code, lost.json()["error"]["reason"]) == (404, "OBJECT_NOT_FOUND")


async def test_who_takes_nothing_is_let_go(gateway: Any) -> None:
    def served() -> float:
        labels = {"method": "GET", "route": "/api/v1/jobs/{job_id}/outputs/{name}", "status": "200"}
        return REGISTRY.get_sample_value("kinemesh_http_seconds_count", labels) or 0.0

    job_id = await gateway.job()
    size = 24 * len(DATA)  # more than all the buffers on the way hold
    await gateway.catalogue.finish(job_id, {"annotated.mp4": (24 * DATA, "video/mp4")})
    before = served()
    where = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=1024)
    try:
        writer.write(
            f"GET /api/v1/jobs/{job_id}/outputs/annotated.mp4 HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
        )

        async def let_go() -> bool:
            return served() > before

        await until(let_go, 120)
        received = 0
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(2**16):
                received += len(part)
        assert received < size
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_content_of_assets(gateway: Any) -> None:
    data = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + DATA
    asset_id = await gateway.asset(data, filename="dör.mp4")
    path = f"/api/v1/assets/{asset_id}/content"
    answer = await gateway.http.get(path, headers={"Range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"ftyp")
    assert "filename*=UTF-8''d%C3%B6r.mp4" in answer.headers["content-disposition"]
    assert (await gateway.http.head(path)).headers["content-length"] == str(len(data))
    body = {"filename": "run.mp4", "content_type": "video/mp4", "size_bytes": 10}
    pending = (await gateway.http.post("/api/v1/assets", json=body)).json()["asset"]["asset_id"]
    early = await gateway.http.get(f"/api/v1/assets/{pending}/content")
    assert (early.status_code, early.json()["error"]["metadata"]["state"]) == (409, "PENDING")
