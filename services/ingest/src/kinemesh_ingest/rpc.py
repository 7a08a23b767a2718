"""AssetService and JobService: protobuf in, catalogue and storage, protobuf out."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from sqlalchemy import and_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2, asset_pb2_grpc
from kinemesh.bus.connection import Bus
from kinemesh.bus.events import replay
from kinemesh.common.v1 import common_pb2
from kinemesh.job.v1 import job_pb2, job_pb2_grpc
from kinemesh.serving.interceptor import caller
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import assets, jobs, requests, sessions, sweeps
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.paging import newest_first, page_request
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.catalogue.tables import assets as assets_table
from kinemesh_ingest.catalogue.tables import jobs as jobs_table
from kinemesh_ingest.climbing.matching import bare_inputs
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.creating import JobMaker
from kinemesh_ingest.domain.pipelines import PIPELINES
from kinemesh_ingest.domain.timeline import Input
from kinemesh_ingest.domain.validation import check_id
from kinemesh_ingest.downloads import DOWNLOAD_S, output_download
from kinemesh_ingest.messages import names_of, to_asset, to_job, to_pipeline, to_timestamp
from kinemesh_ingest.parameters import check_parameters
from kinemesh_ingest.uploads import Uploads


class AssetRpc(asset_pb2_grpc.AssetServiceServicer):
    """Stores and checks media."""

    def __init__(self, engine: AsyncEngine, store: ObjectStore, uploads: Uploads, conductor: Conductor) -> None:
        self._engine = engine
        self._store = store
        self._uploads = uploads
        self._conductor = conductor

    async def CreateUpload(  # noqa: N802
        self, request: asset_pb2.CreateUploadRequest, context: Any
    ) -> asset_pb2.CreateUploadResponse:
        return await self._uploads.announce(request, caller(context))

    async def GetUpload(  # noqa: N802
        self, request: asset_pb2.GetUploadRequest, context: Any
    ) -> asset_pb2.GetUploadResponse:
        return await self._uploads.state(request.asset_id, caller(context))

    async def ConfirmUpload(  # noqa: N802
        self, request: asset_pb2.ConfirmUploadRequest, context: Any
    ) -> asset_pb2.ConfirmUploadResponse:
        row = await self._uploads.confirm(request, caller(context))
        self._conductor.swept.set()
        return asset_pb2.ConfirmUploadResponse(asset=to_asset(row))

    async def GetAsset(  # noqa: N802
        self, request: asset_pb2.GetAssetRequest, context: Any
    ) -> asset_pb2.GetAssetResponse:
        async with self._engine.connect() as connection:
            row = await assets.find(connection, request.asset_id, caller(context))
        return asset_pb2.GetAssetResponse(asset=to_asset(row))

    async def ListAssets(  # noqa: N802
        self, request: asset_pb2.ListAssetsRequest, context: Any
    ) -> asset_pb2.ListAssetsResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        mine = belongs_to(assets_table, caller(context))
        if request.states:
            names = names_of(asset_pb2.AssetState, request.states, "ASSET_STATE_", "states")
            mine = and_(mine, assets_table.c.state.in_(names))
        async with self._engine.connect() as connection:
            page = await newest_first(connection, assets_table, "asset_id", mine, wanted)
        return asset_pb2.ListAssetsResponse(
            assets=[to_asset(row) for row in page.rows], next_page_token=page.next_token, total_size=page.total
        )

    async def DeleteAsset(  # noqa: N802
        self, request: asset_pb2.DeleteAssetRequest, context: Any
    ) -> asset_pb2.DeleteAssetResponse:
        owner = caller(context)
        async with self._engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteAsset", request.request_id):
                return asset_pb2.DeleteAssetResponse()
            row = await assets.find(connection, request.asset_id, owner, lock=True)
            await assets.remove(connection, row.asset_id)
            # A part that was on its way, or a check that was joining them, may come later than the first sweep.
            late = (self._conductor.late_sweep_s,) if row.state == assets.PENDING else ()
            await sweeps.order(connection, keys.asset_prefix(row.asset_id), delays_s=(0.0, *late))
            await requests.claim(connection, owner, "DeleteAsset", request.request_id, row.asset_id)
        self._conductor.swept.set()
        return asset_pb2.DeleteAssetResponse()

    async def CreateAssetDownload(  # noqa: N802
        self, request: asset_pb2.CreateAssetDownloadRequest, context: Any
    ) -> asset_pb2.CreateAssetDownloadResponse:
        async with self._engine.connect() as connection:
            row = await assets.find(connection, request.asset_id, caller(context))
        assets.require_accepted(row)
        download = common_pb2.Download(
            url=self._store.presign_get(keys.asset_source(row.asset_id)),
            expires_in_sec=DOWNLOAD_S,
            content_type=row.content_type,
            size_bytes=row.size_bytes,
        )
        return asset_pb2.CreateAssetDownloadResponse(download=download)


class JobRpc(job_pb2_grpc.JobServiceServicer):
    """Runs pipelines over assets."""

    def __init__(
        self, engine: AsyncEngine, store: ObjectStore, bus: Bus, conductor: Conductor, maker: JobMaker
    ) -> None:
        self._engine = engine
        self._store = store
        self._bus = bus
        self._conductor = conductor
        self._maker = maker

    async def CreateJob(  # noqa: N802
        self, request: job_pb2.CreateJobRequest, context: Any
    ) -> job_pb2.CreateJobResponse:
        owner = caller(context)
        check_parameters(request.parameters)
        inputs = _check_inputs(request)
        job_id = check_id("job_id", request.job_id) if request.job_id else uuid.uuid4().hex
        parameters = request.parameters
        async with self._engine.connect() as connection:
            is_new = not await requests.is_known(connection, owner, "CreateJob", request.request_id)
        if is_new:
            parameters = await self._maker.complete(parameters, owner)
        async with self._engine.begin() as connection:
            first = await requests.claim(connection, owner, "CreateJob", request.request_id, job_id)
            if first is not None:
                return job_pb2.CreateJobResponse(job=await self._describe(connection, first, owner))
            await _require_unused(connection, job_id)
            await self._maker.make(connection, job_id=job_id, owner=owner, inputs=inputs, parameters=parameters)
            job = await self._describe(connection, job_id, owner)
        self._conductor.published.set()
        return job_pb2.CreateJobResponse(job=job)

    async def GetJob(self, request: job_pb2.GetJobRequest, context: Any) -> job_pb2.GetJobResponse:  # noqa: N802
        async with self._engine.connect() as connection:
            return job_pb2.GetJobResponse(job=await self._describe(connection, request.job_id, caller(context)))

    async def ListJobs(self, request: job_pb2.ListJobsRequest, context: Any) -> job_pb2.ListJobsResponse:  # noqa: N802
        wanted = page_request(request.page_size, request.page_token, request.skip)
        condition = belongs_to(jobs_table, caller(context))
        if request.pipeline:
            condition = and_(condition, jobs_table.c.pipeline == request.pipeline)
        if request.states:
            names = names_of(job_pb2.JobState, request.states, "JOB_STATE_", "states")
            condition = and_(condition, jobs_table.c.state.in_(names))
        async with self._engine.connect() as connection:
            page = await newest_first(connection, jobs_table, "job_id", condition, wanted)
            described = await _describe_rows(connection, page.rows)
        return job_pb2.ListJobsResponse(jobs=described, next_page_token=page.next_token, total_size=page.total)

    async def CancelJob(self, request: job_pb2.CancelJobRequest, context: Any) -> job_pb2.CancelJobResponse:  # noqa: N802
        row = await self._conductor.cancel(request.job_id, caller(context))
        async with self._engine.connect() as connection:
            return job_pb2.CancelJobResponse(job=(await _describe_rows(connection, [row]))[0])

    async def DeleteJob(self, request: job_pb2.DeleteJobRequest, context: Any) -> job_pb2.DeleteJobResponse:  # noqa: N802
        owner = caller(context)
        async with self._engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteJob", request.request_id):
                return job_pb2.DeleteJobResponse()
            row = await jobs.find(connection, request.job_id, owner, lock=True)
            await requests.claim(connection, owner, "DeleteJob", request.request_id, row.job_id)
            await self._conductor.delete(connection, row)
        self._conductor.wake()
        return job_pb2.DeleteJobResponse()

    async def WatchJob(  # noqa: N802
        self, request: job_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[job_pb2.WatchJobResponse]:
        sequence = request.after_sequence
        while True:
            async with self._engine.connect() as connection:
                job = await jobs.find(connection, request.job_id, caller(context))
            async with aclosing(replay(self._bus, request.job_id, sequence)) as events:
                async for sequence, event in events:
                    yield job_pb2.WatchJobResponse(sequence=sequence, event=event)
            # The history of a job that goes on can end early: its first event may still be in the outbox.
            if job.state in jobs.ENDED:
                return

    async def ListJobLogs(  # noqa: N802
        self, request: job_pb2.ListJobLogsRequest, context: Any
    ) -> job_pb2.ListJobLogsResponse:
        wanted = page_request(request.page_size, "", most=1000)
        if request.page_token and not request.page_token.isdecimal():
            raise errors.InvalidArgument("INVALID_PAGE_TOKEN", "page_token is not one that this list gave.")
        async with self._engine.connect() as connection:
            await jobs.find(connection, request.job_id, caller(context))
            rows, total = await jobs.logs(connection, request.job_id, int(request.page_token or 0), wanted.size + 1)
        more = len(rows) > wanted.size
        rows = rows[: wanted.size]
        return job_pb2.ListJobLogsResponse(
            logs=[job_pb2.JobLog(time=to_timestamp(row.time), level=row.level, text=row.text) for row in rows],
            next_page_token=str(rows[-1].log_id) if more else "",
            total_size=total,
        )

    async def CreateOutputDownload(  # noqa: N802
        self, request: job_pb2.CreateOutputDownloadRequest, context: Any
    ) -> job_pb2.CreateOutputDownloadResponse:
        async with self._engine.connect() as connection:
            row = await jobs.find(connection, request.job_id, caller(context))
        if row.state != jobs.SUCCEEDED:
            raise errors.FailedPrecondition("JOB_NOT_SUCCEEDED", "The job has no outputs yet.", state=row.state)
        download = output_download(self._store, row, request.name)
        return job_pb2.CreateOutputDownloadResponse(download=download, object_key=keys.output(row.job_id, request.name))

    async def ListPipelines(  # noqa: N802
        self, request: job_pb2.ListPipelinesRequest, _context: Any
    ) -> job_pb2.ListPipelinesResponse:
        # There are a handful; a page always holds them all.
        page_request(request.page_size, "")
        described = [to_pipeline(pipeline) for pipeline in PIPELINES.values()]
        return job_pb2.ListPipelinesResponse(pipelines=described, total_size=len(described))

    async def _describe(self, connection: AsyncConnection, job_id: str, owner: str) -> job_pb2.Job:
        return (await _describe_rows(connection, [await jobs.find(connection, job_id, owner)]))[0]


async def _describe_rows(connection: AsyncConnection, rows: list[AnyRow]) -> list[job_pb2.Job]:
    ids = [row.job_id for row in rows]
    inputs = await jobs.inputs_of(connection, ids)
    counts = await jobs.stage_counts(connection, ids)
    of = await sessions.of_jobs(connection, ids)
    return [
        to_job(
            row,
            inputs.get(row.job_id, []),
            [count for count in counts if count.job_id == row.job_id],
            of.get(row.job_id, ""),
        )
        for row in rows
    ]


def _check_inputs(request: job_pb2.CreateJobRequest) -> list[Input]:
    if request.parameters.WhichOneof("pipeline") == "multi_camera":
        if request.inputs:
            raise errors.InvalidArgument(
                "INPUTS_NOT_TAKEN", "This pipeline reads what its environment names.", field="inputs"
            )
        return []
    if request.parameters.WhichOneof("pipeline") == "route_match":
        return bare_inputs(request.parameters.route_match, request.inputs)
    if len(request.inputs) != 1:
        raise errors.InvalidArgument("WRONG_INPUTS", "This pipeline reads exactly one asset.", field="inputs")
    return [Input(check_id("camera", source.camera or "main"), source.asset_id) for source in request.inputs]


async def _require_unused(connection: AsyncConnection, job_id: str) -> None:
    try:
        await jobs.find(connection, job_id)
    except errors.NotFound:
        return
    raise errors.AlreadyExists("JOB_EXISTS", "A job of this id exists.", job_id=job_id)
