"""Ingest as it runs: a process of its own beside a real broker, object store and database."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from kinemesh.asset.v1 import asset_pb2, asset_pb2_grpc
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.events import replay
from kinemesh.bus.tasks import Handle, TaskContext, work
from kinemesh.embedded import triton
from kinemesh.embedded.grpc_checks import grpc_serving
from kinemesh.embedded.ports import free_ports
from kinemesh.embedded.process import Process
from kinemesh.embedded.service import service_spec
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.environment.v1 import environment_pb2, environment_pb2_grpc
from kinemesh.inference import TritonSettings
from kinemesh.job.v1 import job_pb2, job_pb2_grpc, parameters_pb2
from kinemesh.media.picture import encode_picture
from kinemesh.media.synthetic import write_clip
from kinemesh.model.v1 import model_pb2_grpc
from kinemesh.route.v1 import catalogue_pb2, route_pb2, route_pb2_grpc
from kinemesh.serving.channel import call, open_channel
from kinemesh.session.v1 import session_pb2_grpc
from kinemesh.settings import NatsSettings
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.fixtures import NatsServer, S3Server, triton_python
from kinemesh.usage.v1 import usage_pb2_grpc

STAGES = (
    "detect",
    "track",
    "refine",
    "associate",
    "resolve",
    "mosaic",
    "pose",
    "stitch",
    "movement",
    "match",
    "retarget",
    "render",
    "finalize",
)


class Workers:
    """Plays the workers of all later stages, and notes what they were given."""

    def __init__(self) -> None:
        self.seen: list[task_pb2.Task] = []
        self.on_task: Callable[[task_pb2.Task], Awaitable[task_pb2.TaskDone | None]] | None = None

    async def handle(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        self.seen.append(task)
        done = await self.on_task(task) if self.on_task else None
        if done is None:
            done = task_pb2.TaskDone(frames=1)
            if task.stage == "finalize":
                done.outputs.add(name="annotated.mp4", content_type="video/mp4", size_bytes=3)
                done.summary.update({"frame_count": 60})
        return done

    def of(self, job_id: str) -> list[str]:
        return [task.task_id.removeprefix(job_id + ".") for task in self.seen if task.job_id == job_id]


@dataclass(frozen=True)
class Ingest:
    """A running ingest and what talks to it."""

    assets: asset_pb2_grpc.AssetServiceAsyncStub
    jobs: job_pb2_grpc.JobServiceAsyncStub
    environments: environment_pb2_grpc.EnvironmentServiceAsyncStub
    models: model_pb2_grpc.ModelServiceAsyncStub
    sessions: session_pb2_grpc.SessionServiceAsyncStub
    routes: route_pb2_grpc.RouteServiceAsyncStub
    usage: usage_pb2_grpc.UsageServiceAsyncStub
    bus: Bus
    process: Process
    repository: Path

    async def upload(
        self, data: bytes, owner: str = "ada", announced: int | None = None, kind: str = "VIDEO"
    ) -> asset_pb2.Asset:
        """Announce, send and confirm."""
        request = asset_pb2.CreateUploadRequest(
            filename="clip.mp4", size_bytes=announced or len(data), kind=asset_pb2.AssetKind.Value(f"ASSET_KIND_{kind}")
        )
        answer = await call(self.assets.CreateUpload, request, owner=owner)
        async with httpx.AsyncClient(timeout=30) as http:
            (await http.put(answer.upload_url, content=data, headers=dict(answer.headers))).raise_for_status()
        confirm = asset_pb2.ConfirmUploadRequest(asset_id=answer.asset.asset_id)
        return (await call(self.assets.ConfirmUpload, confirm, owner=owner)).asset

    async def start_job(
        self,
        asset_id: str,
        owner: str = "ada",
        parameters: parameters_pb2.JobParameters | None = None,
        **more: Any,
    ) -> job_pb2.Job:
        if parameters is None:
            parameters = parameters_pb2.JobParameters(pose=parameters_pb2.PoseParameters(max_persons=2))
        inputs = [job_pb2.JobInput(asset_id=asset_id)]
        request = job_pb2.CreateJobRequest(inputs=inputs, parameters=parameters, **more)
        return (await call(self.jobs.CreateJob, request, owner=owner)).job

    async def keep(self, environment: environment_pb2.Environment, owner: str = "ada") -> environment_pb2.Environment:
        request = environment_pb2.CreateEnvironmentRequest(environment=environment)
        return (await call(self.environments.CreateEnvironment, request, owner=owner)).environment

    async def site(self, clip: bytes, environment_id: str, *cameras: str, **more: Any) -> environment_pb2.Environment:
        """An environment whose cameras have a recording each."""
        environment = environment_pb2.Environment(environment_id=environment_id, **more)
        for name in cameras:
            asset_id = (await self.upload(clip)).asset_id
            environment.cameras.add(camera=name).sub_videos.add(asset_id=asset_id)
        return await self.keep(environment)

    async def start_over(
        self, environment_id: str, owner: str = "ada", request: dict[str, Any] | None = None, **more: Any
    ) -> job_pb2.Job:
        """Start a job over all cameras of an environment."""
        asked = parameters_pb2.MultiCameraParameters(environment_id=environment_id, **more)
        parameters = parameters_pb2.JobParameters(multi_camera=asked)
        whole = job_pb2.CreateJobRequest(parameters=parameters, **(request or {}))
        return (await call(self.jobs.CreateJob, whole, owner=owner)).job

    async def area(self, name: str, owner: str = "ada", request_id: str = "", **more: Any) -> catalogue_pb2.Area:
        area = catalogue_pb2.Area(display_name=name, **more)
        request = route_pb2.CreateAreaRequest(area=area, request_id=request_id)
        return (await call(self.routes.CreateArea, request, owner=owner)).area

    async def route(
        self, area_id: str, name: str, owner: str = "ada", request_id: str = "", **more: Any
    ) -> catalogue_pb2.Route:
        route = catalogue_pb2.Route(area_id=area_id, display_name=name, **more)
        request = route_pb2.CreateRouteRequest(route=route, request_id=request_id)
        return (await call(self.routes.CreateRoute, request, owner=owner)).route

    async def attempt(
        self, route_id: str, asset_id: str, owner: str = "ada", request_id: str = "", **more: Any
    ) -> catalogue_pb2.Attempt:
        attempt = catalogue_pb2.Attempt(route_id=route_id, asset_id=asset_id, **more)
        request = route_pb2.CreateAttemptRequest(attempt=attempt, request_id=request_id)
        return (await call(self.routes.CreateAttempt, request, owner=owner)).attempt

    async def match(self, owner: str = "ada", inputs: Sequence[job_pb2.JobInput] = (), **asked: Any) -> job_pb2.Job:
        """Start a job that draws attempts or bare recordings on a wall."""
        parameters = parameters_pb2.JobParameters(route_match=parameters_pb2.RouteMatchParameters(**asked))
        request = job_pb2.CreateJobRequest(inputs=inputs, parameters=parameters)
        return (await call(self.jobs.CreateJob, request, owner=owner)).job

    async def get_job(self, job_id: str, owner: str = "ada") -> job_pb2.Job:
        return (await call(self.jobs.GetJob, job_pb2.GetJobRequest(job_id=job_id), owner=owner)).job

    async def ended(self, job_id: str, owner: str = "ada") -> job_pb2.Job:
        """The job once it has ended."""
        async with asyncio.timeout(60):
            async for _ in replay(self.bus, job_id):
                pass
        return await self.get_job(job_id, owner)

    @asynccontextmanager
    async def worked_by(self, playing: Workers) -> AsyncIterator[None]:
        stop = asyncio.Event()
        handlers: list[tuple[str, Handle, int]] = [(stage, playing.handle, 2) for stage in STAGES]
        running = asyncio.create_task(work(self.bus, handlers, stop, drain_s=0))
        try:
            yield
        finally:
            stop.set()
            await running


@pytest.fixture
def idle_workers() -> Workers:
    """Workers that have not begun."""
    return Workers()


@pytest.fixture
async def workers(ingest: Ingest, idle_workers: Workers) -> AsyncIterator[Workers]:
    async with ingest.worked_by(idle_workers):
        yield idle_workers


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def model_server(supervisor: Supervisor, tmp_path_factory: pytest.TempPathFactory) -> tuple[TritonSettings, Path]:
    """A model server with one detector, and its repository."""
    folder = tmp_path_factory.mktemp("models")
    repository = folder / "repository"
    program = Path(__file__).with_name("models_program.py")
    added = [sys.executable, str(program), "add", "person_detector", f"--repository={repository}", "--json"]
    adding = await asyncio.create_subprocess_exec(*added, env={"KINEMESH_TEST_SOURCE": "embedded"})
    assert await adding.wait() == 0
    ports = free_ports(triton.PORTS)
    served = triton.TritonModels(triton_python(), repository)
    await supervisor.start([triton.triton_spec(served, folder / "run", folder / "log", ports, name="triton-ingest")])
    return TritonSettings(endpoint=f"127.0.0.1:{ports[0]}"), repository


@pytest.fixture(scope="session")
def models_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose ``kinemesh_models`` is the program of these tests."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "kinemesh_models").mkdir()
    shutil.copy(Path(__file__).with_name("models_program.py"), folder / "kinemesh_models" / "__main__.py")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.fixture(scope="session")
def ingest_environment(
    model_server: tuple[TritonSettings, Path],
    models_python: Path,
    nats_server: NatsServer,
    s3_server: S3Server,
    postgres_url: str,
) -> dict[str, str]:
    """What an ingest of these tests is told, but its port."""
    return {
        "KINEMESH_NATS__URL": nats_server.url,
        "KINEMESH_S3__ENDPOINT": s3_server.settings.endpoint,
        "KINEMESH_S3__ACCESS_KEY": s3_server.settings.access_key,
        "KINEMESH_S3__SECRET_KEY": s3_server.settings.secret_key.get_secret_value(),
        "KINEMESH_S3__BUCKET": s3_server.settings.bucket,
        "KINEMESH_DATABASE__URL": postgres_url,
        "KINEMESH_TRITON__ENDPOINT": model_server[0].endpoint,
        "KINEMESH_MODELS__PYTHON": str(models_python),
        "KINEMESH_MODELS__REPOSITORY": str(model_server[1]),
        "KINEMESH_CONDUCTOR__WORKERS": "2",
        "KINEMESH_CONDUCTOR__MIN_SEGMENT_FRAMES": "10",
        "KINEMESH_CONDUCTOR__WINDOW": "3",
        "KINEMESH_CONDUCTOR__WINDOW_SEC": "2",
        "KINEMESH_RETENTION__LATE_SWEEP_S": "1",
        "KINEMESH_RETENTION__SWEEP_INTERVAL_S": "0.5",
        "KINEMESH_LOG__LEVEL": "DEBUG",
    }


@asynccontextmanager
async def run_ingest(
    supervisor: Supervisor, environment: dict[str, str], folder: Path, name: str = "ingest"
) -> AsyncIterator[Ingest]:
    """Start an ingest, and talk to it."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    env = {**environment, "KINEMESH_GRPC__PORT": str(port)}
    ready = grpc_serving(address)
    spec = service_spec(
        name, env, folder / "log", folder / "scratch", ready, service="ingest", address=address, restarts=5
    )
    await supervisor.start([spec])
    channel = open_channel(address)
    async with connect(NatsSettings(url=env["KINEMESH_NATS__URL"]), "test") as bus:
        yield Ingest(
            asset_pb2_grpc.AssetServiceStub(channel),
            job_pb2_grpc.JobServiceStub(channel),
            environment_pb2_grpc.EnvironmentServiceStub(channel),
            model_pb2_grpc.ModelServiceStub(channel),
            session_pb2_grpc.SessionServiceStub(channel),
            route_pb2_grpc.RouteServiceStub(channel),
            usage_pb2_grpc.UsageServiceStub(channel),
            bus,
            supervisor.processes[name],
            Path(env["KINEMESH_MODELS__REPOSITORY"]),
        )
    await channel.close(None)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ingest(
    supervisor: Supervisor, ingest_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ingest]:
    async with run_ingest(supervisor, ingest_environment, tmp_path_factory.mktemp("ingest")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def twin(
    supervisor: Supervisor, ingest_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ingest]:
    """A second replica, while the tests of a module run."""
    async with run_ingest(supervisor, ingest_environment, tmp_path_factory.mktemp("twin"), "ingest-2") as running:
        yield running
        await running.process.stop()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP4 of 60 frames."""
    path: Path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, pts=[i * 3000 for i in range(60)])
    return path.read_bytes()


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of 160 by 90 pixels."""
    return encode_picture(np.full((90, 160, 3), 200, np.uint8), ".png", 90)
