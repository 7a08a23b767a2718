"""Ingest and detect_track as the gateway sees them, over real gRPC, with a database in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2, asset_pb2_grpc
from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.job.v1 import job_pb2, job_pb2_grpc, parameters_pb2
from kinemesh.model.v1 import model_pb2, model_pb2_grpc
from kinemesh.serving.interceptor import CallInterceptor
from kinemesh.session.v1 import session_pb2, session_pb2_grpc
from kinemesh.storage import Part, keys
from kinemesh.usage.v1 import usage_pb2, usage_pb2_grpc

from .catalogue import Catalogue, now
from .routes_stand_in import add_match, add_routes
from .sites_stand_in import add_sites

_FIFTEEN_MINUTES = timedelta(minutes=15)
PART = 5 * 1024 * 1024
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
MP4_HEAD = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"


class Assets(asset_pb2_grpc.AssetServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    async def CreateUpload(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateUpload", context)
        if not request.size_bytes and not request.streamed:
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
            kind=request.kind,
            sha256=request.sha256,
            state=asset_pb2.ASSET_STATE_PENDING,
            create_time=now(),
            update_time=now(),
        )
        self.c.assets.setdefault(asset_id, asset)
        response = asset_pb2.CreateUploadResponse(asset=asset, method="PUT", expires_in_sec=900)
        key = keys.asset_source(asset_id)
        if request.streamed:
            upload_id = self.c.uploads[asset_id] = await self.c.store.multipart.create(key, request.content_type)
            response.upload_id, response.part_size, response.most_bytes = upload_id, PART, self.c.most_bytes
            if self.c.quota_bytes is not None:
                response.quota_bytes = self.c.quota_bytes
            return response
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

    async def GetUpload(self, request: Any, context: Any) -> Any:  # noqa: N802
        asset = self.c.asset(request.asset_id, await self.c.heard("GetUpload", context))
        response = asset_pb2.GetUploadResponse(asset=asset)
        if asset.state != asset_pb2.ASSET_STATE_PENDING:
            return response
        key, upload_id = keys.asset_source(asset.asset_id), self.c.uploads[asset.asset_id]
        response.expire_time.CopyFrom(asset.create_time)
        response.upload.CopyFrom(asset_pb2.CreateUploadResponse(method="PUT", expires_in_sec=900, part_size=PART))
        parts = await self.c.store.multipart.list_parts(key, upload_id)
        for part in parts:
            response.uploaded.add(part_number=part.number, size_bytes=part.size, etag=part.etag)
        response.uploaded_bytes = sum(part.size or 0 for part in parts)
        for number in set(range(1, -(-asset.size_bytes // PART) + 1)) - {part.number for part in parts}:
            url = self.c.store.multipart.presign_part(key, upload_id, number, _FIFTEEN_MINUTES)
            response.upload.parts.add(part_number=number, url=url)
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
        asset.size_bytes = asset.size_bytes or request.size_bytes
        head = b"".join([chunk async for chunk in self.c.store.stream(key, 0, min(32, info.size))])
        error: errors.InvalidArgument | None = None
        if info.size != asset.size_bytes:
            error = errors.InvalidArgument("SIZE_MISMATCH", "The uploaded file has another size.")
        elif asset.kind == asset_pb2.ASSET_KIND_VIDEO and not head.startswith(MP4_HEAD[:12]):
            error = errors.UnsupportedMedia("NOT_A_VIDEO", "The file is not a video.")
        elif asset.kind == asset_pb2.ASSET_KIND_IMAGE and not head.startswith(PNG_HEAD):
            error = errors.UnsupportedMedia("NOT_A_PICTURE", "The file is not a JPEG, PNG or WebP picture.")
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
        mine = [asset for asset in mine if not request.states or asset.state in request.states]
        items, token, total = self.c.page(mine, request)
        return asset_pb2.ListAssetsResponse(assets=items, next_page_token=token, total_size=total)

    async def DeleteAsset(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.c.asset(request.asset_id, await self.c.heard("DeleteAsset", context))
        del self.c.assets[request.asset_id]
        await self.c.store.delete_prefix(keys.asset_prefix(request.asset_id))
        return asset_pb2.DeleteAssetResponse()


class Usage(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    async def GetUsage(self, _request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetUsage", context)
        pending = [a for a in self.c.assets.values() if (a.owner, a.state) == (owner, asset_pb2.ASSET_STATE_PENDING)]
        return usage_pb2.GetUsageResponse(
            stored_bytes=usage_pb2.Measure(used=7, limit=1000),
            pending_uploads=usage_pb2.Measure(used=len(pending)),
            active_jobs=usage_pb2.Measure(),
        )


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
        if request.parameters.HasField("multi_camera"):
            if request.inputs:
                raise errors.InvalidArgument("INPUTS_NOT_TAKEN", "The environment has the recordings.", field="inputs")
            return job_pb2.CreateJobResponse(job=self.c.add_tracking(job_id, owner, request.parameters))
        if request.parameters.HasField("route_match"):
            return job_pb2.CreateJobResponse(job=add_match(self.c, job_id, owner, request))
        job = self.c.add_job(job_id, owner, request.inputs[0].asset_id, request.parameters)
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
        if job.state in (job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED):
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
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.c.heard("ListModels", context)
        wanted = [
            model
            for model in self.c.models.values()
            if request.task in (0, model.task) and (not request.states or model.state in request.states)
        ]
        items, token, total = self.c.page(wanted, request)
        return model_pb2.ListModelsResponse(models=items, next_page_token=token, total_size=total)

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.c.heard("GetModel", context)
        return model_pb2.GetModelResponse(model=self.c.model(request.model))

    def _begin(self, name: str, **values: Any) -> model_pb2.Model:
        if name in self.c.models:
            raise errors.AlreadyExists("MODEL_EXISTS", "A model of this name exists.", model=name)
        state = model_pb2.MODEL_STATE_IMPORTING
        self.c.models[name] = model_pb2.Model(model=name, state=state, create_time=now(), update_time=now(), **values)
        return self.c.models[name]

    async def ImportModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ImportModel", context)
        if self.c.asset(request.asset_id, owner).kind != asset_pb2.ASSET_KIND_WEIGHTS:
            raise errors.InvalidArgument("WRONG_ASSET_KIND", "asset_id takes weights.", field="asset_id")
        model = self._begin(
            request.model,
            owner=owner,
            task=request.task,
            source=model_pb2.MODEL_SOURCE_IMPORTED,
            labels=request.labels,
            license=request.license,
        )
        self.c.imports[request.model] = request
        return model_pb2.ImportModelResponse(model=model)

    async def AddModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.c.heard("AddModel", context)
        return model_pb2.AddModelResponse(model=self._begin(request.model, source=model_pb2.MODEL_SOURCE_MANIFEST))

    async def DeleteModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.c.heard("DeleteModel", context)
        if self.c.model(request.model).source == model_pb2.MODEL_SOURCE_EMBEDDED:
            raise errors.FailedPrecondition("MODEL_EMBEDDED", "This model is part of the mesh.", model=request.model)
        del self.c.models[request.model]
        return model_pb2.DeleteModelResponse()

    async def TestModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.c.heard("TestModel", context)
        model = self.c.model(request.model)
        if not request.frame.data.startswith(b"\xff\xd8"):
            raise errors.UnsupportedMedia("NOT_A_PICTURE", "The data is not a picture.")
        if model.state != model_pb2.MODEL_STATE_READY:
            raise errors.FailedPrecondition("MODEL_NOT_READY", "The model is not served.", field="model")
        told: Any = {"inference_ms": 1.5, "width": len(request.frame.data), "height": 7}
        if model.task == model_pb2.MODEL_TASK_EMBEDDER:
            return model_pb2.TestModelResponse(embedding=[0.5, -0.25], **told)
        found = tracking_pb2.Detection(
            box=common_pb2.Box(x1=1, y1=2, x2=3, y2=4),
            score=request.threshold if request.HasField("threshold") else 0.5,
            class_id=0,
            label=model.labels[0],
        )
        return model_pb2.TestModelResponse(detections=[found], **told)


class Sessions(session_pb2_grpc.SessionServiceServicer):
    def __init__(self, catalogue: Catalogue) -> None:
        self.c = catalogue

    def _queue(self, session: session_pb2.Session, parameters: parameters_pb2.InstructorParameters) -> None:
        job_id = f"job-{next(self.c.ids)}"
        wanted = parameters_pb2.JobParameters(instructor=parameters)
        self.c.add_job(job_id, session.owner, session.asset_id, wanted).session_id = session.session_id
        session.job_id = job_id

    async def CreateSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("CreateSession", context)
        asset = self.c.asset(request.asset_id, owner)
        session = session_pb2.Session(
            session_id=f"session-{next(self.c.ids)}",
            owner=owner,
            display_name=request.display_name or asset.filename,
            asset_id=asset.asset_id,
            video=asset.video,
            create_time=now(),
            update_time=now(),
        )
        self._queue(session, request.parameters)
        self.c.sessions[session.session_id] = session
        return session_pb2.CreateSessionResponse(session=session)

    async def GetSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("GetSession", context)
        return session_pb2.GetSessionResponse(session=self.c.session(request.session_id, owner))

    async def ListSessions(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("ListSessions", context)
        mine = [session for session in reversed(self.c.sessions.values()) if session.owner == owner]
        items, token, total = self.c.page(mine, request)
        return session_pb2.ListSessionsResponse(sessions=items, next_page_token=token, total_size=total)

    async def UpdateSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        owner = await self.c.heard("UpdateSession", context)
        session = self.c.session(request.session.session_id, owner)
        assert list(request.update_mask.paths) == ["display_name"]
        session.display_name = request.session.display_name
        return session_pb2.UpdateSessionResponse(session=session)

    async def ProcessSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        session = self.c.session(request.session_id, await self.c.heard("ProcessSession", context))
        before = self.c.jobs[session.job_id]
        if before.state in (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_RUNNING):
            raise errors.FailedPrecondition("SESSION_BUSY", "The session is being processed.")
        parameters = request.parameters if request.HasField("parameters") else before.parameters.instructor
        self._queue(session, parameters)
        return session_pb2.ProcessSessionResponse(session=session)

    async def DeleteSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        session = self.c.session(request.session_id, await self.c.heard("DeleteSession", context))
        del self.c.sessions[session.session_id], self.c.assets[session.asset_id]
        for job_id in [job.job_id for job in self.c.jobs.values() if job.inputs[0].asset_id == session.asset_id]:
            del self.c.jobs[job_id]
        return session_pb2.DeleteSessionResponse()

    async def CreateSessionDownload(self, request: Any, context: Any) -> Any:  # noqa: N802
        session = self.c.session(request.session_id, await self.c.heard("CreateSessionDownload", context))
        if not session.result_job_id:
            raise errors.FailedPrecondition("VIDEO_NOT_READY", "The session's video is not ready yet.")
        key = keys.output(session.result_job_id, "video.mp4")
        download = common_pb2.Download(content_type="video/mp4")
        return session_pb2.CreateSessionDownloadResponse(download=download, object_key=key)


@asynccontextmanager
async def serve_catalogue(catalogue: Catalogue) -> AsyncIterator[tuple[str, HealthServicer]]:
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    # Methods that the gateway never calls are left unimplemented.
    assets, jobs, models, sessions = cast(tuple[Any, Any, Any, Any], (Assets, Jobs, Models, Sessions))
    asset_pb2_grpc.add_AssetServiceServicer_to_server(assets(catalogue), server)
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs(catalogue), server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(models(catalogue), server)
    session_pb2_grpc.add_SessionServiceServicer_to_server(sessions(catalogue), server)
    usage_pb2_grpc.add_UsageServiceServicer_to_server(cast(Any, Usage)(catalogue), server)
    add_sites(catalogue, server)
    add_routes(catalogue, server)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield f"127.0.0.1:{port}", health
    finally:
        await server.stop(0)
