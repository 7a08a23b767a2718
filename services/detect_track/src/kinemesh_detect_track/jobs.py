"""Jobs and sites as ingest tells them, in the caller's name: what belongs to others is not there."""

from __future__ import annotations

from typing import Any, Final

import grpc

from kinemesh.environment.v1 import environment_pb2, environment_pb2_grpc
from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh.job.v1 import job_pb2, job_pb2_grpc
from kinemesh.serving.channel import call

PIPELINE: Final = "multi_camera"
_PAGE: Final = 100


class Jobs:
    """Asks ingest."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._jobs: Any = job_pb2_grpc.JobServiceStub(channel)
        self._environments: Any = environment_pb2_grpc.EnvironmentServiceStub(channel)
        self._timeout_s = timeout_s

    async def job(self, job_id: str, owner: str) -> job_pb2.Job:
        """A job over several cameras.

        :raises NotFound: JOB_NOT_FOUND
        :raises InvalidArgument: WRONG_PIPELINE
        """
        request = job_pb2.GetJobRequest(job_id=job_id)
        answer = await call(self._jobs.GetJob, request, owner=owner, timeout_s=self._timeout_s)
        job: job_pb2.Job = answer.job
        if job.pipeline != PIPELINE:
            raise InvalidArgument(
                "WRONG_PIPELINE",
                f"The job is of the pipeline {job.pipeline}; only those of {PIPELINE} know who was where.",
                job_id=job_id,
                pipeline=job.pipeline,
            )
        return job

    async def finished_job(self, job_id: str, owner: str) -> job_pb2.Job:
        """The same of a job that has its results.

        :raises FailedPrecondition: JOB_NOT_SUCCEEDED
        """
        job = await self.job(job_id, owner)
        if job.state != job_pb2.JOB_STATE_SUCCEEDED:
            raise FailedPrecondition(
                "JOB_NOT_SUCCEEDED",
                "The job has no results yet.",
                job_id=job_id,
                state=job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_"),
            )
        return job

    async def finished_jobs(self, environment_id: str, owner: str) -> list[job_pb2.Job]:
        """All jobs of a site that have their results."""
        found: list[job_pb2.Job] = []
        request = job_pb2.ListJobsRequest(page_size=_PAGE, pipeline=PIPELINE, states=[job_pb2.JOB_STATE_SUCCEEDED])
        while True:
            page = await call(self._jobs.ListJobs, request, owner=owner, timeout_s=self._timeout_s)
            found += [job for job in page.jobs if job.parameters.multi_camera.environment_id == environment_id]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def environment(self, environment_id: str, owner: str) -> environment_pb2.Environment:
        """A site as it is now.

        :raises NotFound: ENVIRONMENT_NOT_FOUND
        """
        request = environment_pb2.GetEnvironmentRequest(environment_id=environment_id)
        answer = await call(self._environments.GetEnvironment, request, owner=owner, timeout_s=self._timeout_s)
        environment: environment_pb2.Environment = answer.environment
        return environment
