"""``python -m kinemesh.serving.probe``: how the service is whose environment this is, for health checks of containers.

Status 0 if it serves, else 1 with a line that says why. It asks ``grpc.health.v1``, which follows what the service
depends on; with certificates where the service has some, which then must hold the name localhost too. A service that
serves HTTP (``KINEMESH_HTTP__PORT`` is set) must answer there as well.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import BaseModel, ConfigDict
from pydantic_settings import BaseSettings, SettingsConfigDict

from kinemesh.access.tls import read_tls
from kinemesh.errors import KinemeshError
from kinemesh.serving.channel import open_channel
from kinemesh.settings import TlsSettings

_ASK_S = 4.0


class Listening(BaseModel):
    """Where something listens; of a group with more settings the others are of no interest here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = 0
    allowed_hosts: tuple[str, ...] = ("localhost",)


class ProbeSettings(BaseSettings):
    """As much of a service's settings as it takes to ask it."""

    model_config = SettingsConfigDict(
        env_prefix="KINEMESH_", env_nested_delimiter="__", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    grpc: Listening = Listening()
    http: Listening = Listening()
    tls: TlsSettings = TlsSettings()


def main() -> int:
    settings = ProbeSettings()
    reasons = [reason for reason in (asyncio.run(asked_by_grpc(settings)), asked_by_http(settings)) if reason]
    sys.stdout.writelines(f"{reason}\n" for reason in reasons)
    return 1 if reasons else 0


async def asked_by_grpc(settings: ProbeSettings) -> str:
    """Why the service does not serve gRPC; empty if it does. Takes 4 s at most."""
    if not settings.grpc.port:
        return "KINEMESH_GRPC__PORT is not set: a service on a free port cannot be asked"
    try:
        tls = read_tls(settings.tls)
    except KinemeshError as error:
        return error.message
    address = f"{'localhost' if tls else near(settings.grpc.host)}:{settings.grpc.port}"
    try:
        async with open_channel(address, tls) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_ASK_S, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        return f"gRPC on {address}: {error.code().name}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if answer.status == health_pb2.HealthCheckResponse.SERVING else f"gRPC on {address}: {name}"


def asked_by_http(settings: ProbeSettings) -> str:
    """Why the service does not serve HTTP; empty if it does, or need not. Takes 4 s at most."""
    if not settings.http.port:
        return ""
    address = f"{near(settings.http.host)}:{settings.http.port}"
    connection = http.client.HTTPConnection(address, timeout=_ASK_S)
    try:
        connection.request("GET", "/api/health", headers={"Host": next(iter(settings.http.allowed_hosts), "localhost")})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"HTTP on {address}: {type(error).__name__}"
    finally:
        connection.close()
    return "" if status == http.client.OK else f"HTTP on {address}: {status}"


def near(host: str) -> str:
    """The address of this machine by which a listener on ``host`` is reached."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    if address.is_unspecified:
        return "[::1]" if address.version == 6 else "127.0.0.1"
    return f"[{address}]" if address.version == 6 else str(address)


if __name__ == "__main__":
    sys.exit(main())
