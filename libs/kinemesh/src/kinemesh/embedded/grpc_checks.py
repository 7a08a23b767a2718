"""Ways to ask a server how it is by gRPC; apart, because commands that only name a server need not wait for it."""

from __future__ import annotations

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemesh.access.tls import Tls
from kinemesh.embedded.checks import ASK_S, Check
from kinemesh.serving.channel import open_channel


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
