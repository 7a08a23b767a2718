"""The whole gateway on a free port, before a real broker and a real store; ingest is kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from grpc_health.v1._async import HealthServicer

from kinemesh.bus.connection import Bus, connect
from kinemesh.embedded.ports import free_ports
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore
from kinemesh_gateway.app import app
from kinemesh_gateway.settings import GatewaySettings, HttpSettings, PitstopSettings, UploadSettings, UpstreamSettings

from .catalogue import Catalogue
from .stand_in import MP4_HEAD, serve_catalogue

ORIGIN = "http://localhost:5173"


@dataclass
class Gateway:
    """The running gateway and what stands behind it."""

    url: str
    settings: GatewaySettings
    catalogue: Catalogue
    ingest_health: HealthServicer
    http: httpx.AsyncClient
    bus: Bus

    @property
    def ws(self) -> str:
        return self.url.replace("http:", "ws:")

    async def asset(
        self, data: bytes, content_type: str = "video/mp4", filename: str = "clip.mp4", kind: str = "VIDEO"
    ) -> str:
        """An asset that was uploaded and accepted."""
        body = {"filename": filename, "content_type": content_type, "size_bytes": len(data), "kind": kind}
        created = (await self.http.post("/api/v1/assets", json=body)).json()
        asset_id: str = created["asset"]["asset_id"]
        upload = created["upload"]
        async with httpx.AsyncClient() as plain:
            (await plain.put(upload["url"], content=data, headers=upload["headers"])).raise_for_status()
        (await self.http.post(f"/api/v1/assets/{asset_id}/confirm")).raise_for_status()
        return asset_id

    async def job(self) -> str:
        """A queued job."""
        asset_id = await self.asset(MP4_HEAD + b"video")
        answer = await self.http.post("/api/v1/jobs", json={"pipeline": "pose", "asset_id": asset_id})
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    async def site(self, cameras: int = 2) -> str:
        """An environment whose cameras have a recording each."""
        asset_id = await self.asset(MP4_HEAD + b"video")
        described = [{"camera": f"c{n:02}", "sub_videos": [{"asset_id": asset_id}]} for n in range(cameras)]
        answer = await self.http.post("/api/v1/environments", json={"cameras": described})
        assert answer.status_code == 201, answer.text
        environment_id: str = answer.json()["environment_id"]
        return environment_id

    async def route(self, **values: str) -> str:
        """A route in an area of its own."""
        number = len(self.catalogue.areas)
        area = await self.http.post("/api/v1/routes/areas", json={"display_name": f"Area {number}"})
        assert area.status_code == 201, area.text
        body = {"area_id": area.json()["area_id"], "display_name": f"Route {number}", **values}
        answer = await self.http.post("/api/v1/routes", json=body)
        assert answer.status_code == 201, answer.text
        route_id: str = answer.json()["route_id"]
        return route_id

    async def attempt(self, route_id: str, **values: Any) -> str:
        """An attempt at a route."""
        asset_id = await self.asset(MP4_HEAD + b"video")
        body = {"asset_id": asset_id, **values}
        answer = await self.http.post(f"/api/v1/routes/{route_id}/attempts", json=body)
        assert answer.status_code == 201, answer.text
        attempt_id: str = answer.json()["attempt_id"]
        return attempt_id

    async def task(self) -> str:
        """A queued processing task."""
        body = {"environment_id": await self.site()}
        answer = await self.http.post("/api/v1/processing-tasks/start", json=body)
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(nats_server: Any, s3_server: Any, s3_store: ObjectStore) -> AsyncIterator[Gateway]:
    catalogue = Catalogue(s3_store)
    async with serve_catalogue(catalogue) as (ingest, health):
        settings = GatewaySettings(
            http=HttpSettings(
                port=free_ports(1)[0], cors_origins=(ORIGIN,), json_limit_kb=64, websocket_send_s=1.0, stalled_s=5.0
            ),
            upstreams=UpstreamSettings(ingest=ingest, detect_track=ingest, timeout_s=5.0),
            uploads=UploadSettings(max_size_mb=64, concurrent=2),
            pitstop=PitstopSettings(max_file_size_mb=2),
            nats=NatsSettings(url=nats_server.url),
            s3=s3_server.settings,
            drain_s=1.0,
        )
        stop = asyncio.Event()
        async with app(settings) as service:
            loops = [asyncio.ensure_future(loop(stop)) for loop in service.loops]
            url = f"http://127.0.0.1:{settings.http.port}"
            async with httpx.AsyncClient(base_url=url, timeout=30) as http, connect(settings.nats, "test") as bus:
                yield Gateway(url, settings, catalogue, health, http, bus)
            stop.set()
            await asyncio.wait_for(asyncio.gather(*loops), 10)


@pytest.fixture
def failing(gateway: Gateway) -> Any:
    """Lets ingest fail with an error for the rest of the test."""

    def fail(error: Exception) -> None:
        gateway.catalogue.fail_with = error

    yield fail
    gateway.catalogue.fail_with = None


Failing = Callable[[Exception], None]
