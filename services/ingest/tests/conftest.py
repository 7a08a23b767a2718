"""Ingest as it runs: a process of its own beside a real broker, object store and database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from kinemesh.asset.v1 import asset_pb2, asset_pb2_grpc
from kinemesh.bus.connection import Bus, connect
from kinemesh.embedded import Process, Supervisor, free_ports
from kinemesh.embedded.checks import grpc_serving
from kinemesh.embedded.service import service_spec
from kinemesh.job.v1 import job_pb2, job_pb2_grpc, parameters_pb2
from kinemesh.media.synthetic import write_clip
from kinemesh.serving.channel import call, open_channel
from kinemesh.settings import NatsSettings
from kinemesh.testing.fixtures import NatsServer, S3Server


@dataclass(frozen=True)
class Ingest:
    """A running ingest and what talks to it."""

    assets: asset_pb2_grpc.AssetServiceAsyncStub
    jobs: job_pb2_grpc.JobServiceAsyncStub
    bus: Bus
    process: Process

    async def upload(self, data: bytes, owner: str = "ada", announced: int | None = None) -> asset_pb2.Asset:
        """Announce, send and confirm."""
        request = asset_pb2.CreateUploadRequest(filename="clip.mp4", size_bytes=announced or len(data))
        answer = await call(self.assets.CreateUpload, request, owner=owner)
        async with httpx.AsyncClient(timeout=30) as http:
            (await http.put(answer.upload_url, content=data, headers=dict(answer.headers))).raise_for_status()
        confirm = asset_pb2.ConfirmUploadRequest(asset_id=answer.asset.asset_id)
        return (await call(self.assets.ConfirmUpload, confirm, owner=owner)).asset

    async def start_job(self, asset_id: str, owner: str = "ada", **more: Any) -> job_pb2.Job:
        parameters = parameters_pb2.JobParameters(pose=parameters_pb2.PoseParameters(max_persons=2))
        inputs = [job_pb2.JobInput(asset_id=asset_id)]
        request = job_pb2.CreateJobRequest(inputs=inputs, parameters=parameters, **more)
        return (await call(self.jobs.CreateJob, request, owner=owner)).job

    async def get_job(self, job_id: str, owner: str = "ada") -> job_pb2.Job:
        return (await call(self.jobs.GetJob, job_pb2.GetJobRequest(job_id=job_id), owner=owner)).job


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ingest(
    supervisor: Supervisor,
    nats_server: NatsServer,
    s3_server: S3Server,
    postgres_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Ingest]:
    folder = tmp_path_factory.mktemp("ingest")
    (port,) = free_ports(1)
    env = {
        "KINEMESH_GRPC__PORT": str(port),
        "KINEMESH_NATS__URL": nats_server.url,
        "KINEMESH_S3__ENDPOINT": s3_server.settings.endpoint,
        "KINEMESH_S3__ACCESS_KEY": s3_server.settings.access_key,
        "KINEMESH_S3__SECRET_KEY": s3_server.settings.secret_key.get_secret_value(),
        "KINEMESH_S3__BUCKET": s3_server.settings.bucket,
        "KINEMESH_DATABASE__URL": postgres_url,
        "KINEMESH_CONDUCTOR__WORKERS": "2",
        "KINEMESH_CONDUCTOR__MIN_SEGMENT_FRAMES": "10",
        "KINEMESH_CONDUCTOR__WINDOW": "3",
        "KINEMESH_RETENTION__LATE_SWEEP_S": "1",
        "KINEMESH_RETENTION__SWEEP_INTERVAL_S": "0.5",
    }
    address = f"127.0.0.1:{port}"
    spec = service_spec(
        "ingest", env, folder / "log", folder / "scratch", grpc_serving(address), address=address, restarts=5
    )
    await supervisor.start([spec])
    channel = open_channel(address)
    async with connect(NatsSettings(url=nats_server.url), "test") as bus:
        yield Ingest(
            asset_pb2_grpc.AssetServiceStub(channel),
            job_pb2_grpc.JobServiceStub(channel),
            bus,
            supervisor.processes["ingest"],
        )
    await channel.close(None)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP4 of 60 frames."""
    path: Path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, pts=[i * 3000 for i in range(60)])
    return path.read_bytes()
