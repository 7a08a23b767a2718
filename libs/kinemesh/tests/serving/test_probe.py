"""The probe of containers, against a real service and a real HTTP server."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from kinemesh.embedded.ports import free_ports
from kinemesh.serving.probe import near
from kinemesh.testing.certificates import certificate, write_tls
from kinemesh.testing.waiting import until


async def probe(**variables: str) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KINEMESH_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kinemesh.serving.probe"),
        env={**clean, **{f"KINEMESH_{name}": value for name, value in variables.items()}},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, said.decode().strip()


async def test_it_follows_the_health_of_the_service(start: Any) -> None:
    (port,) = free_ports(1)
    environment = {"GRPC__HOST": "127.0.0.1", "GRPC__PORT": str(port)}
    running = await start(**environment)
    await running.becomes("SERVING")
    assert await probe(**environment) == (0, "")
    (running.folder / "down").touch()
    await running.becomes("NOT_SERVING")
    assert await probe(**environment) == (1, f"gRPC on 127.0.0.1:{port}: NOT_SERVING")
    running.process.kill()
    await running.process.wait()
    assert (await probe(**environment))[0] == 1
    assert await probe() == (1, "KINEMESH_GRPC__PORT is not set: a service on a free port cannot be asked")


async def test_who_serves_http_must_answer_there_too(start: Any) -> None:
    grpc_port, http_port = free_ports(2)
    running = await start(GRPC__PORT=str(grpc_port))
    await running.becomes("SERVING")
    status = "200 OK"
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    # Other settings of the service's groups are none of the probe's business.
    environment = {
        "GRPC__PORT": str(grpc_port),
        "GRPC__MAX_MESSAGE_MB": "8",
        "HTTP__HOST": "0.0.0.0",
        "HTTP__PORT": str(http_port),
        "HTTP__ALLOWED_HOSTS": '["mesh.example.com"]',
    }
    async with await asyncio.start_server(answer, "127.0.0.1", http_port):
        assert await probe(**environment) == (0, "")
        assert asked[0].startswith(b"GET /api/health ")
        assert b"\r\nHost: mesh.example.com\r\n" in asked[0]
        status = "503 Service Unavailable"
        assert await probe(**environment) == (1, f"HTTP on 127.0.0.1:{http_port}: 503")
    assert (await probe(**environment)) == (1, f"HTTP on 127.0.0.1:{http_port}: ConnectionRefusedError")


async def test_a_service_with_certificates_is_asked_with_them(start: Any, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    authority = trustme.CA()
    written = write_tls(tmp_path, certificate(authority, "pose", "localhost"))
    files = {name.removeprefix("KINEMESH_"): path for name, path in written.items()}
    running = await start(GRPC__PORT=str(port), **files)
    await running.says("serving")

    async def serves() -> bool:
        return await probe(GRPC__PORT=str(port), **files) == (0, "")

    await until(serves)
    assert (await probe(GRPC__PORT=str(port)))[0] == 1
    (tmp_path / "key.pem").unlink()
    status, said = await probe(GRPC__PORT=str(port), **files)
    assert status == 1
    assert "KINEMESH_TLS__KEY_FILE" in said


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("[::1]", "[::1]"), ("10.0.0.7", "10.0.0.7"), ("pose", "pose")],
)
def test_a_listener_is_reached_from_its_own_machine(host: str, reached: str) -> None:
    assert near(host) == reached
