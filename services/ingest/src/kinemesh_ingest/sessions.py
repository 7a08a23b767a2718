"""SessionService: recorded sessions, and the track of the person who leads them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import ParseDict
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh import errors
from kinemesh.job.v1 import parameters_pb2
from kinemesh.pipelining import in_thread
from kinemesh.serving.interceptor import caller
from kinemesh.session.v1 import session_pb2, session_pb2_grpc
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import assets, attempts, environments, jobs, requests, sessions, sweeps
from kinemesh_ingest.catalogue.owned import belongs_to
from kinemesh_ingest.catalogue.paging import newest_first, page_request
from kinemesh_ingest.catalogue.sessions import Jobs
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.catalogue.tables import sessions as sessions_table
from kinemesh_ingest.creating import JobMaker
from kinemesh_ingest.domain.timeline import Input
from kinemesh_ingest.domain.validation import check_range, check_text
from kinemesh_ingest.downloads import output_download
from kinemesh_ingest.messages import to_session
from kinemesh_ingest.parameters import check_instructor
from kinemesh_ingest.tracks import read_tracking

VIDEO = "video.mp4"
DOCUMENT = "instructor_tracking.json"
_FRAMES = 10_000
_MOST_FRAMES = 50_000
_LONGEST_NAME = 200


class SessionRpc(session_pb2_grpc.SessionServiceServicer):
    """Keeps sessions."""

    def __init__(self, engine: AsyncEngine, store: ObjectStore, maker: JobMaker) -> None:
        self._engine = engine
        self._store = store
        self._maker = maker

    async def CreateSession(  # noqa: N802
        self, request: session_pb2.CreateSessionRequest, context: Any
    ) -> session_pb2.CreateSessionResponse:
        owner = caller(context)
        check_text("display_name", request.display_name, _LONGEST_NAME)
        check_instructor(request.parameters)
        parameters = await self._complete("CreateSession", request.request_id, request.parameters, owner)
        session_id = uuid.uuid4().hex
        async with self._engine.begin() as connection:
            first = await requests.claim(connection, owner, "CreateSession", request.request_id, session_id)
            if first is not None:
                row = await sessions.find(connection, first, owner)
            else:
                asset = await assets.find(connection, request.asset_id, owner, lock=True)
                assets.require_ready(asset, assets.VIDEO, "asset_id")
                row = await sessions.add(
                    connection,
                    session_id=session_id,
                    owner=owner,
                    display_name=request.display_name.strip() or asset.filename,
                    asset_id=asset.asset_id,
                )
                await self._track(connection, row, parameters, uuid.uuid4().hex)
            session = await _describe(connection, row)
        self._maker.conductor.wake()
        return session_pb2.CreateSessionResponse(session=session)

    async def GetSession(  # noqa: N802
        self, request: session_pb2.GetSessionRequest, context: Any
    ) -> session_pb2.GetSessionResponse:
        async with self._engine.connect() as connection:
            row = await sessions.find(connection, request.session_id, caller(context))
            return session_pb2.GetSessionResponse(session=await _describe(connection, row))

    async def ListSessions(  # noqa: N802
        self, request: session_pb2.ListSessionsRequest, context: Any
    ) -> session_pb2.ListSessionsResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        mine = belongs_to(sessions_table, caller(context))
        async with self._engine.connect() as connection:
            page = await newest_first(connection, sessions_table, "session_id", mine, wanted)
            described = await _describe_rows(connection, page.rows)
        return session_pb2.ListSessionsResponse(
            sessions=described, next_page_token=page.next_token, total_size=page.total
        )

    async def UpdateSession(  # noqa: N802
        self, request: session_pb2.UpdateSessionRequest, context: Any
    ) -> session_pb2.UpdateSessionResponse:
        owner = caller(context)
        name = request.session.display_name
        paths = set(request.update_mask.paths) or ({"display_name"} if name else set())
        if paths - {"display_name"}:
            raise errors.InvalidArgument(
                "INVALID_MASK", "Only display_name can be changed.", field="update_mask", paths=",".join(sorted(paths))
            )
        if paths:
            check_text("display_name", name, _LONGEST_NAME, needed=True)
        async with self._engine.begin() as connection:
            row = await sessions.find(connection, request.session.session_id, owner, lock=True)
            first = await requests.claim(connection, owner, "UpdateSession", request.request_id, row.session_id)
            if first is None and paths:
                row = await sessions.change(connection, row.session_id, display_name=name.strip())
            return session_pb2.UpdateSessionResponse(session=await _describe(connection, row))

    async def ProcessSession(  # noqa: N802
        self, request: session_pb2.ProcessSessionRequest, context: Any
    ) -> session_pb2.ProcessSessionResponse:
        owner = caller(context)
        check_instructor(request.parameters)
        asked = request.parameters
        if not request.HasField("parameters"):
            async with self._engine.connect() as connection:
                row = await sessions.find(connection, request.session_id, owner)
                asked = _as_before(await _jobs_of(connection, row))
        parameters = await self._complete("ProcessSession", request.request_id, asked, owner)
        job_id = uuid.uuid4().hex
        async with self._engine.begin() as connection:
            row = await sessions.find(connection, request.session_id, owner, lock=True)
            if await requests.claim(connection, owner, "ProcessSession", request.request_id, job_id) is None:
                before = await _jobs_of(connection, row)
                _require_idle(before)
                await self._drop(connection, [job for job in before.rows if job != before.result])
                await self._track(connection, row, parameters, job_id)
                row = await sessions.change(connection, row.session_id)
            session = await _describe(connection, row)
        self._maker.conductor.wake()
        return session_pb2.ProcessSessionResponse(session=session)

    async def DeleteSession(  # noqa: N802
        self, request: session_pb2.DeleteSessionRequest, context: Any
    ) -> session_pb2.DeleteSessionResponse:
        owner = caller(context)
        async with self._engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteSession", request.request_id):
                return session_pb2.DeleteSessionResponse()
            row = await sessions.find(connection, request.session_id, owner, lock=True)
            await requests.claim(connection, owner, "DeleteSession", request.request_id, row.session_id)
            await self._drop(connection, (await _jobs_of(connection, row)).rows)
            await sessions.remove(connection, row.session_id)
            if not await sessions.reads(connection, row.asset_id) and not await _is_kept(connection, row.asset_id):
                await assets.remove(connection, row.asset_id)
                await sweeps.order(connection, keys.asset_prefix(row.asset_id))
        self._maker.conductor.wake()
        return session_pb2.DeleteSessionResponse()

    async def GetInstructorTracking(  # noqa: N802
        self, request: session_pb2.GetInstructorTrackingRequest, context: Any
    ) -> session_pb2.GetInstructorTrackingResponse:
        check_range("start_frame", request.start_frame, 0, 2**62)
        check_range("max_frames", request.max_frames, 0, _MOST_FRAMES)
        async with self._engine.connect() as connection:
            row = await sessions.find(connection, request.session_id, caller(context))
            job = _result(await _jobs_of(connection, row))
            session = await _describe(connection, row)
        most = request.max_frames or _FRAMES
        with_detections = not request.omit_detections
        read = await in_thread(read_tracking, self._store, job.job_id, request.start_frame, most, with_detections)
        return session_pb2.GetInstructorTrackingResponse(
            version=read.version,
            video=session.video,
            frame_count=read.frame_count,
            track_points=read.points,
            frame_detections=read.detections,
            metrics=read.metrics,
            next_start_frame=read.stop if read.stop < read.frame_count else None,
            document=output_download(self._store, job, DOCUMENT),
        )

    async def CreateSessionDownload(  # noqa: N802
        self, request: session_pb2.CreateSessionDownloadRequest, context: Any
    ) -> session_pb2.CreateSessionDownloadResponse:
        async with self._engine.connect() as connection:
            row = await sessions.find(connection, request.session_id, caller(context))
            job = _result(await _jobs_of(connection, row))
        return session_pb2.CreateSessionDownloadResponse(
            download=output_download(self._store, job, VIDEO), object_key=keys.output(job.job_id, VIDEO)
        )

    async def _complete(
        self, method: str, request_id: str, asked: parameters_pb2.InstructorParameters, owner: str
    ) -> parameters_pb2.JobParameters:
        parameters = parameters_pb2.JobParameters(instructor=asked)
        async with self._engine.connect() as connection:
            if await requests.is_known(connection, owner, method, request_id):
                return parameters
        return await self._maker.complete(parameters, owner)

    async def _track(
        self, connection: AsyncConnection, row: AnyRow, parameters: parameters_pb2.JobParameters, job_id: str
    ) -> None:
        await self._maker.make(
            connection, job_id=job_id, owner=row.owner, inputs=[Input("main", row.asset_id)], parameters=parameters
        )
        await sessions.add_job(connection, row.session_id, job_id)

    async def _drop(self, connection: AsyncConnection, dropped: Iterable[AnyRow]) -> None:
        for row in dropped:
            job = await jobs.find(connection, row.job_id, lock=True)
            await self._maker.conductor.delete(connection, job)


async def _is_kept(connection: AsyncConnection, asset_id: str) -> bool:
    """Whether a video is an environment's or an attempt's as well."""
    return (
        await environments.reading(connection, asset_id) or await attempts.with_video(connection, asset_id)
    ) is not None


def _as_before(before: Jobs) -> parameters_pb2.InstructorParameters:
    if before.latest is None:
        return parameters_pb2.InstructorParameters()
    return ParseDict(before.latest.parameters, parameters_pb2.JobParameters()).instructor


def _require_idle(before: Jobs) -> None:
    if before.latest is not None and before.latest.state not in jobs.ENDED:
        raise errors.FailedPrecondition(
            "SESSION_BUSY", "The session is being processed.", job_id=before.latest.job_id, state=before.latest.state
        )


def _result(of: Jobs) -> AnyRow:
    if of.result is None:
        state = of.latest.state if of.latest is not None else "NONE"
        raise errors.FailedPrecondition("RESULT_NOT_READY", "The session has no result yet.", state=state)
    return of.result


async def _jobs_of(connection: AsyncConnection, row: AnyRow) -> Jobs:
    return (await sessions.jobs_of(connection, [row.session_id])).get(row.session_id, Jobs())


async def _describe(connection: AsyncConnection, row: AnyRow) -> session_pb2.Session:
    return (await _describe_rows(connection, [row]))[0]


async def _describe_rows(connection: AsyncConnection, rows: list[AnyRow]) -> list[session_pb2.Session]:
    of = await sessions.jobs_of(connection, [row.session_id for row in rows])
    videos = await sessions.videos_of(connection, [row.asset_id for row in rows])
    return [to_session(row, of.get(row.session_id, Jobs()), videos.get(row.asset_id) or {}) for row in rows]
