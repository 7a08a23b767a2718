"""The gateway as a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from kinemesh.bus.events import job_event, publish_event
from kinemesh.embedded.ports import free_ports
from kinemesh.event.v1 import event_pb2
from kinemesh.storage import keys

HEAD = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"
MIB = 1024 * 1024
_LIMIT_S = 120  # generous: machines are busy


async def start(environment: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KINEMESH_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kinemesh_gateway",
        *arguments,
        env=inherited | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


def peak_rss(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) * 1024


@pytest.fixture
async def process(gateway: Any) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    port = free_ports(1)[0]
    s3 = gateway.settings.s3
    environment = {
        "KINEMESH_HTTP__PORT": str(port),
        "KINEMESH_UPSTREAMS__INGEST": gateway.settings.upstreams.ingest,
        "KINEMESH_NATS__URL": gateway.settings.nats.url,
        "KINEMESH_S3__ENDPOINT": s3.endpoint,
        "KINEMESH_S3__ACCESS_KEY": s3.access_key,
        "KINEMESH_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "KINEMESH_PITSTOP__MODEL": "person_detector",
        "KINEMESH_PITSTOP__THRESHOLD": "0.3",
        "KINEMESH_PITSTOP__MAX_FILE_SIZE_MB": "1",
    }
    running = await start(environment)
    try:
        assert running.stdout is not None
        async with asyncio.timeout(_LIMIT_S):
            while b"serving http" not in (line := await running.stdout.readline()):
                assert line, "the gateway ended before it served"
        reading = asyncio.create_task(running.stdout.read())
        yield running, f"http://127.0.0.1:{port}"
        if running.returncode is None:
            running.terminate()
        async with asyncio.timeout(_LIMIT_S):
            await reading
            await running.wait()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def test_videos_of_any_size_take_the_same_memory_in_and_out(gateway: Any, process: Any) -> None:
    running, url = process
    size = 400

    async def form(megabytes: int) -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + HEAD
        block = bytes(range(256)) * 4096
        for _ in range(megabytes):
            yield block
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        small = await http.post("/api/v1/analyze", content=form(1), headers=headers)
        assert small.status_code == 202, small.text
        before = peak_rss(running.pid)
        large = await http.post("/api/v1/analyze", content=form(size), headers=headers)
        assert large.status_code == 202, large.text
        asset_id = large.json()["job_id"]
        async with http.stream("GET", f"/api/v1/assets/{asset_id}/content") as answer:
            sent = sum([len(chunk) async for chunk in answer.aiter_raw()])
        grown = peak_rss(running.pid) - before
    assert sent == len(HEAD) + size * MIB
    info = await gateway.catalogue.store.stat(keys.asset_source(asset_id))
    assert info.size == len(HEAD) + size * MIB
    assert grown < 32 * MIB, f"grew by {grown / MIB:.0f} MiB"


async def test_settings_are_what_a_pit_stop_job_gets(gateway: Any, process: Any) -> None:
    _, url = process
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:

        async def post(data: bytes, **fields: str) -> httpx.Response:
            return await http.post("/api/pitstop/jobs", files={"file": ("a.mp4", data)}, data=fields)

        plain = await post(HEAD)
        asked = gateway.catalogue.jobs[plain.json()["job_id"]].parameters.pitstop
        assert (asked.model, asked.threshold) == ("person_detector", 0.3)
        own = await post(HEAD, threshold="0")
        assert gateway.catalogue.jobs[own.json()["job_id"]].parameters.pitstop.threshold == 0
        other = await post(HEAD, model="none")
        assert (other.status_code, other.json()["error"]["reason"]) == (404, "MODEL_NOT_FOUND")
        large = await post(HEAD + bytes(MIB))
        assert (large.status_code, large.json()["error"]["metadata"]) == (400, {"limit_bytes": str(MIB)})


async def test_a_connection_stays_longer_than_clients_keep_it(gateway: Any) -> None:
    to = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(to.hostname, to.port)
    writer.write(f"GET /api/health HTTP/1.1\r\nHost: {to.netloc}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
    kept_s = httpx.Limits().keepalive_expiry
    assert kept_s
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), kept_s + 1)
    writer.close()
    await writer.wait_closed()


async def test_it_ends_when_told_to(gateway: Any, process: Any) -> None:
    running, url = process
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/api/v1/health")).json()["status"] == "ok"
    job_id = await gateway.job()
    async with asyncio.timeout(_LIMIT_S), connect(f"ws{url[4:]}/ws/jobs/{job_id}") as socket:
        await publish_event(gateway.bus, job_event(job_id, state=event_pb2.StateChanged(state="QUEUED")), job_id)
        await socket.recv()
        running.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
        assert await running.wait() == 0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("KINEMESH_HTTP__HOST", "0.0.0.0", "loopback"),
        ("KINEMESH_HTTP__HOST", "example.org", "loopback"),
        ("KINEMESH_HTTP__CORS_ORIGINS", '["*"]', "wildcard"),
    ],
)
async def test_it_does_not_start_open_to_everybody(name: str, value: str, says: str) -> None:
    running = await start({name: value}, "--check-config")
    async with asyncio.timeout(_LIMIT_S):
        output, _ = await running.communicate()
    assert running.returncode == 2
    assert output.decode().startswith(name)
    assert says in output.decode()


async def test_queries_need_the_service_that_answers_them(process: Any) -> None:
    _, url = process
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        answer = await http.post("/api/v1/tracks/query", json={"environment_id": "factory"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "SERVICE_NOT_CONNECTED")
