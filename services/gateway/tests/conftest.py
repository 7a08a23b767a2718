"""The whole gateway on a free port, before a real broker and a real store; ingest is kept in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import grpc
import httpx
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2, asset_pb2_grpc
from kinemesh.bus.connection import Bus, connect
from kinemesh.common.v1 import common_pb2
from kinemesh.embedded import free_ports
from kinemesh.job.v1 import job_pb2, job_pb2_grpc
from kinemesh.model.v1 import model_pb2, model_pb2_grpc
from kinemesh.serving.interceptor import CallInterceptor, caller
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, Part, keys
from kinemesh_gateway.app import app
from kinemesh_gateway.settings import GatewaySettings, HttpSettings, UploadSettings, UpstreamSettings

_FIFTEEN_MINUTES = timedelta(minutes=15)
ORIGIN = "http://localhost:5173"
PART = 5 * 1024 * 1024
MP4_HEAD = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"


def now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


@dataclass
class Catalogue:
    """What ingest would keep in its database.

    :ivar calls: metadata of every call, in order.
    """

    store: ObjectStore
    assets: dict[str, asset_pb2.Asset] = field(default_factory=dict)
    jobs: dict[str, job_pb2.Job] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[job_pb2.JobLog]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ids: Any = field(default_factory=lambda: itertools.count(1))
    fail_with: Exception | None = None
    blocked: asyncio.Event | None = None

    async def heard(self, name: str, context: Any) -> str:
        self.calls.append((name, {str(k): str(v) for k, v in context.invocation_metadata()}))
        if self.blocked is not None:
            await self.blocked.wait()
        if self.fail_with is not None:
            raise self.fail_with
        return caller(context)

    def asset(self, asset_id: str, owner: str) -> asset_pb2.Asset:
        if asset_id not in self.assets or self.assets[asset_id].owner != owner:
            raise errors.NotFound("ASSET_NOT_FOUND", "The asset does not exist.", asset_id=asset_id)
        return self.assets[asset_id]

    def job(self, job_id: str, owner: str) -> job_pb2.Job:
        if job_id not in self.jobs or self.jobs[job_id].owner != owner:
            raise errors.NotFound("JOB_NOT_FOUND", "The job does not exist.", job_id=job_id)
        return self.jobs[job_id]

    async def finish(self, job_id: str, outputs: dict[str, tuple[bytes, str]], **summary: Any) -> None:
        """Let a job succeed."""
        job = self.jobs[job_id]
        for name, (data, content_type) in outputs.items():
            await self.store.put_bytes(keys.output(job_id, name), data, content_type)
            job.outputs.add(name=name, content_type=content_type, size_bytes=len(data))
        job.summary.update(summary)
        job.state = job_pb2.JOB_STATE_SUCCEEDED
        job.progress = 1.0

    def page(self, items: list[Any], request: Any) -> tuple[list[Any], str, int]:
        start = int(request.page_token or request.skip)
        end = start + (request.page_size or 20)
        return items[start:end], str(end) if end < len(items) else "", len(items)


class Assets(asset_pb2_grpc.AssetServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    async def CreateUpload(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateUpload", context)
        if not request.size_bytes:
            raise errors.InvalidArgument("EMPTY_FILE", "size_bytes must be at least 1.", field="size_bytes")
        asset_id = f"asset-{next(self.c.ids)}"
        if request.request_id:
            asset_id = self.c.requests.setdefault(request.request_id, asset_id)
        asset = asset_pb2.Asset(
            asset_id=asset_id,
            owner=owner,
            filename=request.filename,
            content_type=request.content_type,
            size_bytes=request.size_bytes,
            state=asset_pb2.ASSET_STATE_PENDING,
            create_time=now(),
            update_time=now(),
        )
        self.c.assets.setdefault(asset_id, asset)
        response = asset_pb2.CreateUploadResponse(asset=asset, method="PUT", expires_in_sec=900)
        key = keys.asset_source(asset_id)
        if request.size_bytes <= 4 * PART:
            response.upload_url = self.c.store.presign_put(key)
            response.headers["Content-Type"] = request.content_type
            return response
        upload_id = self.c.uploads[asset_id] = await self.c.store.multipart.create(key, request.content_type)
        response.part_size = PART
        for number in range(1, -(-request.size_bytes // PART) + 1):
            url = self.c.store.multipart.presign_part(key, upload_id, number, _FIFTEEN_MINUTES)
            response.parts.add(part_number=number, url=url)
        return response

    async def ConfirmUpload(self, request: Any, context: Any) -> Any:  # noqa: N802
        asset = self.c.asset(request.asset_id, await self.c.heard("ConfirmUpload", context))
        key = keys.asset_source(asset.asset_id)
        if asset.state == asset_pb2.ASSET_STATE_READY:
            return asset_pb2.ConfirmUploadResponse(asset=asset)
        if asset.asset_id in self.c.uploads:
            parts = [Part(part.part_number, part.etag) for part in request.parts]
            await self.c.store.multipart.complete(key, self.c.uploads[asset.asset_id], parts)
        try:
            info = await self.c.store.stat(key)
        except errors.NotFound:
            raise errors.FailedPrecondition("UPLOAD_MISSING", "No bytes have been uploaded for this asset.") from None
        head = b"".join([chunk async for chunk in self.c.store.stream(key, 0, min(32, info.size))])
        error: errors.InvalidArgument | None = None
        if info.size != asset.size_bytes:
            error = errors.InvalidArgument("SIZE_MISMATCH", "The uploaded file has another size.")
        elif not head.startswith(MP4_HEAD[:12]):
            error = errors.UnsupportedMedia("NOT_A_VIDEO", "The file is not a video.")
        if error is not None:
            asset.state = asset_pb2.ASSET_STATE_REJECTED
            asset.failure.CopyFrom(common_pb2.Failure(reason=error.reason, message=error.message, code=error.code))
            raise error
        asset.state = asset_pb2.ASSET_STATE_READY
        asset.video.CopyFrom(asset_pb2.Video(width=1280, height=720, frame_rate=25.0, duration_sec=4.0, codec="h264"))
        return asset_pb2.ConfirmUploadResponse(asset=asset)

    async def GetAsset(self, request: Any, context: Any) -> Any:  # noqa: N802
        return asset_pb2.GetAssetResponse(asset=self.c.asset(request.asset_id, await self.c.heard("GetAsset", context)))

    async def ListAssets(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListAssets", context)
        mine = [asset for asset in reversed(self.c.assets.values()) if asset.owner == owner]
        items, token, total = self.c.page(mine, request)
        return asset_pb2.ListAssetsResponse(assets=items, next_page_token=token, total_size=total)

    async def DeleteAsset(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.c.asset(request.asset_id, await self.c.heard("DeleteAsset", context))
        del self.c.assets[request.asset_id]
        await self.c.store.delete_prefix(keys.asset_prefix(request.asset_id))
        return asset_pb2.DeleteAssetResponse()


class Jobs(job_pb2_grpc.JobServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    async def CreateJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateJob", context)
        job_id = request.job_id or f"job-{next(self.c.ids)}"
        if request.request_id:
            job_id = self.c.requests.setdefault(request.request_id, job_id)
            if job_id in self.c.jobs:
                return job_pb2.CreateJobResponse(job=self.c.jobs[job_id])
        for source in request.inputs:
            if self.c.asset(source.asset_id, owner).state != asset_pb2.ASSET_STATE_READY:
                raise errors.FailedPrecondition("ASSET_NOT_READY", "The asset has not been accepted.")
        if job_id in self.c.jobs:
            raise errors.AlreadyExists("JOB_EXISTS", "A job of this id exists.", job_id=job_id)
        job = job_pb2.Job(
            job_id=job_id,
            owner=owner,
            pipeline=request.parameters.WhichOneof("pipeline"),
            state=job_pb2.JOB_STATE_QUEUED,
            stage="split",
            stages=[job_pb2.StageProgress(stage="split", tasks=1)],
            inputs=request.inputs,
            parameters=request.parameters,
            create_time=now(),
            update_time=now(),
        )
        self.c.jobs[job_id] = job
        return job_pb2.CreateJobResponse(job=job)

    async def GetJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        return job_pb2.GetJobResponse(job=self.c.job(request.job_id, await self.c.heard("GetJob", context)))

    async def ListJobs(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListJobs", context)
        wanted = [
            job
            for job in reversed(self.c.jobs.values())
            if job.owner == owner
            and (not request.pipeline or job.pipeline == request.pipeline)
            and (not request.states or job.state in request.states)
        ]
        items, token, total = self.c.page(wanted, request)
        return job_pb2.ListJobsResponse(jobs=items, next_page_token=token, total_size=total)

    async def CancelJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        job = self.c.job(request.job_id, await self.c.heard("CancelJob", context))
        if job.state == job_pb2.JOB_STATE_SUCCEEDED:
            raise errors.FailedPrecondition("JOB_ENDED", "The job has ended.", state="SUCCEEDED")
        job.state = job_pb2.JOB_STATE_CANCELLED
        return job_pb2.CancelJobResponse(job=job)

    async def DeleteJob(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.c.job(request.job_id, await self.c.heard("DeleteJob", context))
        del self.c.jobs[request.job_id]
        return job_pb2.DeleteJobResponse()

    async def ListJobLogs(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.c.job(request.job_id, await self.c.heard("ListJobLogs", context))
        lines = self.c.logs.get(request.job_id, [])
        start = int(request.page_token or 0)
        end = start + request.page_size
        token = str(end) if end < len(lines) else ""
        return job_pb2.ListJobLogsResponse(logs=lines[start:end], next_page_token=token, total_size=len(lines))

    async def CreateOutputDownload(self, request: Any, context: Any) -> Any:  # noqa: N802
        job = self.c.job(request.job_id, await self.c.heard("CreateOutputDownload", context))
        if job.state != job_pb2.JOB_STATE_SUCCEEDED:
            raise errors.FailedPrecondition("JOB_NOT_SUCCEEDED", "The job has no outputs yet.")
        for output in job.outputs:
            if output.name == request.name:
                key = keys.output(job.job_id, request.name)
                download = common_pb2.Download(content_type=output.content_type, size_bytes=output.size_bytes)
                return job_pb2.CreateOutputDownloadResponse(download=download, object_key=key)
        raise errors.NotFound("OUTPUT_NOT_FOUND", "The job made no such output.", name=request.name)

    async def ListPipelines(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.c.heard("ListPipelines", context)
        stage = job_pb2.PipelineStage(stage="pose", service="pose", unit="segment", after=["split"])
        pipeline = job_pb2.Pipeline(pipeline="pose", description="Poses of a clip.", stages=[stage])
        return job_pb2.ListPipelinesResponse(pipelines=[pipeline], total_size=1)


class Models(model_pb2_grpc.ModelServiceServicer):
    model = model_pb2.Model(
        model="blazepose",
        task=model_pb2.MODEL_TASK_POSE,
        state=model_pb2.MODEL_STATE_READY,
        source=model_pb2.MODEL_SOURCE_EMBEDDED,
        license="Apache-2.0",
        is_default=True,
    )

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = [self.model] if request.task in (0, self.model.task) else []
        return model_pb2.ListModelsResponse(models=found, total_size=len(found))

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.model != self.model.model:
            raise errors.NotFound("MODEL_NOT_FOUND", "There is no such model.", model=request.model)
        return model_pb2.GetModelResponse(model=self.model)


@asynccontextmanager
async def serve_catalogue(catalogue: Catalogue) -> AsyncIterator[tuple[str, HealthServicer]]:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    # Methods that the gateway never calls are left unimplemented.
    assets, jobs, models = cast(tuple[Any, Any, Any], (Assets, Jobs, Models))
    asset_pb2_grpc.add_AssetServiceServicer_to_server(assets(catalogue), server)
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs(catalogue), server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(models(), server)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield f"127.0.0.1:{port}", health
    finally:
        await server.stop(0)


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

    async def asset(self, data: bytes, content_type: str = "video/mp4", filename: str = "clip.mp4") -> str:
        """An asset that was uploaded and accepted."""
        body = {"filename": filename, "content_type": content_type, "size_bytes": len(data)}
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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(nats_server: Any, s3_server: Any, s3_store: ObjectStore) -> AsyncIterator[Gateway]:
    catalogue = Catalogue(s3_store)
    async with serve_catalogue(catalogue) as (ingest, health):
        settings = GatewaySettings(
            http=HttpSettings(port=free_ports(1)[0], cors_origins=(ORIGIN,), json_limit_kb=64, websocket_send_s=1.0),
            upstreams=UpstreamSettings(ingest=ingest, timeout_s=5.0),
            uploads=UploadSettings(max_size_mb=64, concurrent=2),
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
