"""The services behind: their stubs and their health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kinemesh.access.tls import Tls
from kinemesh.access.v1 import access_pb2_grpc
from kinemesh.asset.v1 import asset_pb2_grpc
from kinemesh.detect_track.v1 import detect_track_pb2_grpc
from kinemesh.environment.v1 import environment_pb2_grpc
from kinemesh.job.v1 import job_pb2_grpc
from kinemesh.model.v1 import model_pb2_grpc
from kinemesh.route.v1 import route_pb2_grpc
from kinemesh.serving.channel import open_channel
from kinemesh.serving.health import Check
from kinemesh.session.v1 import session_pb2_grpc
from kinemesh.usage.v1 import usage_pb2_grpc
from kinemesh_gateway.settings import UpstreamSettings

_HEALTH_S = 2.0


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The stubs that routes call, and a check per service.

    :ivar detect_track: None without an address.
    """

    access: Any
    assets: Any
    detect_track: Any
    environments: Any
    jobs: Any
    models: Any
    routes: Any
    sessions: Any
    usage: Any
    checks: Mapping[str, Check]


@asynccontextmanager
async def connect_upstreams(settings: UpstreamSettings, tls: Tls | None = None) -> AsyncIterator[Upstreams]:
    """Channels to all services that have an address; none needs to be there yet."""
    async with AsyncExitStack() as stack:
        channels = {
            name: await stack.enter_async_context(open_channel(address, tls))
            for name, address in settings.model_dump().items()
            if isinstance(address, str) and address
        }
        ingest, detect_track = channels["ingest"], channels.get("detect_track")
        yield Upstreams(
            access=access_pb2_grpc.AccessServiceStub(ingest),
            assets=asset_pb2_grpc.AssetServiceStub(ingest),
            detect_track=detect_track and detect_track_pb2_grpc.DetectTrackServiceStub(detect_track),
            environments=environment_pb2_grpc.EnvironmentServiceStub(ingest),
            jobs=job_pb2_grpc.JobServiceStub(ingest),
            models=model_pb2_grpc.ModelServiceStub(ingest),
            routes=route_pb2_grpc.RouteServiceStub(ingest),
            sessions=session_pb2_grpc.SessionServiceStub(ingest),
            usage=usage_pb2_grpc.UsageServiceStub(ingest),
            checks={name: _serving(channel) for name, channel in channels.items()},
        )


def _serving(channel: grpc.aio.Channel) -> Check:
    stub = health_pb2_grpc.HealthStub(channel)

    async def check() -> bool:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_S)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return check
