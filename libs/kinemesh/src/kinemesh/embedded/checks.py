"""Ways to ask a server how it is. Each answers within a second or two and never raises for a plain "no"."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemesh.access.tls import Tls
from kinemesh.serving.channel import open_channel

Check = Callable[[], Awaitable[bool]]
ASK_S = 2.0


def http_ok(host: str, port: int, path: str) -> Check:
    """Ready once ``GET path`` answers 200."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode()

    async def ask() -> bool:
        try:
            async with asyncio.timeout(ASK_S):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(request)
                    await writer.drain()
                    status = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return status.split()[1:2] == [b"200"]

    return ask


def grpc_serving(address: str, service: str = "", *, tls: Tls | None = None) -> Check:
    """Ready once ``grpc.health.v1`` says SERVING."""

    async def ask() -> bool:
        return await _health(address, service, tls) == int(health_pb2.HealthCheckResponse.SERVING)

    return ask


def grpc_answers(address: str) -> Check:
    """Alive as long as ``grpc.health.v1`` says anything, be it that the server is not ready."""

    async def ask() -> bool:
        return await _health(address, "", None) is not None

    return ask


async def _health(address: str, service: str, tls: Tls | None) -> int | None:
    try:
        async with open_channel(address, tls) as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=ASK_S)
    except grpc.aio.AioRpcError:
        return None
    return int(answer.status)
