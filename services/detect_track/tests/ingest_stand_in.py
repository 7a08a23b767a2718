"""Ingest as this service sees it, over real gRPC: jobs and sites that a test puts there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from kinemesh import errors
from kinemesh.environment.v1 import environment_pb2, environment_pb2_grpc
from kinemesh.job.v1 import job_pb2, job_pb2_grpc, parameters_pb2
from kinemesh.serving.interceptor import caller
from kinemesh.testing.serving import served
from kinemesh_detect_track.jobs import Jobs

_PAGE = 3  # however large a page is asked for, so that several are


class Ingest(job_pb2_grpc.JobServiceServicer, environment_pb2_grpc.EnvironmentServiceServicer):
    """Answers from two dictionaries."""

    def __init__(self) -> None:
        self.jobs: dict[str, job_pb2.Job] = {}
        self.environments: dict[str, environment_pb2.Environment] = {}

    def add_job(
        self,
        job_id: str,
        environment: environment_pb2.Environment,
        owner: str = "local",
        state: job_pb2.JobState.ValueType = job_pb2.JOB_STATE_SUCCEEDED,
        pipeline: str = "multi_camera",
    ) -> None:
        parameters = parameters_pb2.JobParameters()
        parameters.multi_camera.environment_id = environment.environment_id
        parameters.multi_camera.environment.CopyFrom(environment)
        self.jobs[job_id] = job_pb2.Job(
            job_id=job_id, owner=owner, state=state, pipeline=pipeline, parameters=parameters, progress=1.0
        )

    async def GetJob(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the proto
        job = self.jobs.get(request.job_id)
        if job is None or job.owner != caller(context):
            raise errors.NotFound("JOB_NOT_FOUND", "There is no such job.", job_id=request.job_id)
        return job_pb2.GetJobResponse(job=job)

    async def ListJobs(self, request: Any, context: Any) -> Any:  # noqa: N802
        mine = [
            job
            for job in self.jobs.values()
            if job.owner == caller(context) and job.state in request.states and request.pipeline in ("", job.pipeline)
        ]
        start = int(request.page_token or 0)
        token = str(start + _PAGE) if start + _PAGE < len(mine) else ""
        return job_pb2.ListJobsResponse(jobs=mine[start : start + _PAGE], next_page_token=token)

    async def GetEnvironment(self, request: Any, context: Any) -> Any:  # noqa: N802
        environment = self.environments.get(request.environment_id)
        if environment is None or environment.owner != caller(context):
            raise errors.NotFound("ENVIRONMENT_NOT_FOUND", "There is no such environment.")
        return environment_pb2.GetEnvironmentResponse(environment=environment)


@asynccontextmanager
async def ingest_and_jobs() -> AsyncIterator[tuple[Ingest, Jobs]]:
    """The stand-in, and a client of it."""
    ingest: Ingest = cast(Any, Ingest)()  # whose other methods nobody calls
    channel_to = served(
        ingest,
        job_pb2_grpc.add_JobServiceServicer_to_server,
        environment_pb2_grpc.add_EnvironmentServiceServicer_to_server,
    )
    async with channel_to as channel:
        yield ingest, Jobs(channel, timeout_s=10)
