"""``/api/v1/jobs``"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from kinemesh.errors import AlreadyExists, InvalidArgument, NotFound
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh_gateway.domain.paging import DEFAULT_LIMIT
from kinemesh_gateway.messages import enum_number, from_json, job_json, to_json
from kinemesh_gateway.rest.content import CONTENT_RESPONSES, serve_object
from kinemesh_gateway.rest.context import Caller, CallerDep, IdempotencyKey, JobId, Name, PageDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.schemas import Job, JobCreate, JobList, JobLogList

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

_MOST_LOG_LINES = 1000


@router.post("", status_code=202, response_model=Job, responses=documented(400, 404, 409))
async def create_job(body: JobCreate, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Check the parameters and queue a job."""
    inputs = [("main", body.asset_id)] if body.asset_id else [(i.camera, i.asset_id) for i in body.inputs or ()]
    job = await create(call, job_parameters(body.pipeline, body.parameters), inputs, key)
    response.headers["Location"] = f"{router.prefix}/{job.job_id}"
    return job_json(job)


@router.get("", response_model=JobList, responses=documented(400))
async def list_jobs(
    call: CallerDep,
    page: PageDep,
    pipeline: Annotated[str, Query(max_length=64, description="only jobs of this pipeline")] = "",
    state: Annotated[list[str] | None, Query(max_length=5, description="only jobs in one of these states")] = None,
) -> Any:
    """Your jobs, newest first."""
    states = [enum_number(job_pb2.JobState.DESCRIPTOR, name, "state") for name in state or ()]
    request = job_pb2.ListJobsRequest(
        page_size=page.limit,
        skip=page.offset,
        page_token=page.token,
        pipeline=pipeline,
        states=states,  # type: ignore[arg-type]
    )
    found = await call(call.mesh.upstreams.jobs.ListJobs, request)
    return {
        "jobs": [job_json(job) for job in found.jobs],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.get("/{job_id}", response_model=Job, responses=documented(404))
async def get_job(job_id: JobId, call: CallerDep) -> Any:
    """One job."""
    return job_json(await find(call, job_id))


@router.post("/{job_id}/cancel", response_model=Job, responses=documented(404, 409))
async def cancel_job(job_id: JobId, call: CallerDep, key: IdempotencyKey) -> Any:
    """Stop a job: queued tasks at once, running ones within a second or two. What was written is removed."""
    return job_json(await cancel(call, job_id, key))


@router.delete("/{job_id}", status_code=204, responses=documented(404))
async def delete_job(job_id: JobId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete a job with all its results, cancelling it first if needed."""
    await remove(call, job_id, key)


@router.get("/{job_id}/logs", response_model=JobLogList, responses=documented(400, 404))
async def list_job_logs(
    job_id: JobId,
    call: CallerDep,
    limit: Annotated[int, Query(ge=1, le=_MOST_LOG_LINES, description="most lines to answer with")] = DEFAULT_LIMIT,
    page_token: Annotated[str, Query(max_length=1000, description="`next_page_token` of the page before")] = "",
) -> Any:
    """The job's log, oldest line first."""
    request = job_pb2.ListJobLogsRequest(job_id=job_id, page_size=limit, page_token=page_token)
    found = await call(call.mesh.upstreams.jobs.ListJobLogs, request)
    return {
        "logs": [to_json(line) for line in found.logs],
        "total": found.total_size,
        "limit": limit,
        "next_page_token": found.next_page_token or None,
    }


@router.api_route(
    "/{job_id}/outputs/{name}",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route("/{job_id}/outputs/{name}", methods=["HEAD"], include_in_schema=False)
async def get_job_output(job_id: JobId, name: Name, call: CallerDep, request: Request) -> Response:
    """A file that a succeeded job made. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    return await serve_output(call, request, job_id, name)


async def find(call: Caller, job_id: str, pipeline: str = "") -> job_pb2.Job:
    """A job of the caller's, and of a pipeline if one is given.

    :raises NotFound: ``JOB_NOT_FOUND``.
    """
    found = await call(call.mesh.upstreams.jobs.GetJob, job_pb2.GetJobRequest(job_id=job_id))
    job: job_pb2.Job = found.job
    if pipeline not in ("", job.pipeline):
        raise NotFound("JOB_NOT_FOUND", "The job does not exist.", job_id=job_id)
    return job


async def create(
    call: Caller, parameters: parameters_pb2.JobParameters, inputs: Iterable[tuple[str, str]] = (), key: str = ""
) -> job_pb2.Job:
    """A new job over ``(camera, asset_id)``; the same one when asked for again with the same key."""
    request = job_pb2.CreateJobRequest(
        inputs=[job_pb2.JobInput(camera=camera, asset_id=asset_id) for camera, asset_id in inputs],
        parameters=parameters,
        request_id=key,
    )
    job: job_pb2.Job = (await call(call.mesh.upstreams.jobs.CreateJob, request)).job
    return job


async def start(call: Caller, asset_id: str, parameters: parameters_pb2.JobParameters) -> job_pb2.Job:
    """The job over an asset that was made for it, so that both have one id; made once, however often asked for."""
    request = job_pb2.CreateJobRequest(
        inputs=[job_pb2.JobInput(camera="main", asset_id=asset_id)], parameters=parameters, job_id=asset_id
    )
    try:
        job: job_pb2.Job = (await call(call.mesh.upstreams.jobs.CreateJob, request)).job
    except AlreadyExists:
        job = await find(call, asset_id)
    return job


async def serve_output(call: Caller, request: Request, job_id: str, name: str, filename: str = "") -> Response:
    """Answer GET or HEAD with a file that a job made.

    :param filename: what it shall be called when saved; ``name`` when empty.
    """
    wanted = job_pb2.CreateOutputDownloadRequest(job_id=job_id, name=name)
    found = await call(call.mesh.upstreams.jobs.CreateOutputDownload, wanted)
    return await serve_object(request, call.mesh.store, found.object_key, filename or name, found.download.content_type)


async def cancel(call: Caller, job_id: str, key: str = "") -> job_pb2.Job:
    """Stop a job."""
    request = job_pb2.CancelJobRequest(job_id=job_id, request_id=key)
    job: job_pb2.Job = (await call(call.mesh.upstreams.jobs.CancelJob, request)).job
    return job


async def remove(call: Caller, job_id: str, key: str = "") -> None:
    """Delete a job with all its results."""
    await call(call.mesh.upstreams.jobs.DeleteJob, job_pb2.DeleteJobRequest(job_id=job_id, request_id=key))


def job_parameters(pipeline: str, values: Mapping[str, Any], path: str = "parameters") -> parameters_pb2.JobParameters:
    """The parameters of a pipeline from JSON.

    :param path: where they stand in the request.
    :raises InvalidArgument: ``UNKNOWN_PIPELINE``, ``FIELD_UNKNOWN``, ``FIELD_INVALID``.
    """
    parameters = parameters_pb2.JobParameters()
    names = [field.name for field in parameters.DESCRIPTOR.fields]
    if pipeline not in names:
        raise InvalidArgument(
            "UNKNOWN_PIPELINE", "There is no such pipeline; /api/v1/pipelines lists them.", field="pipeline"
        )
    chosen = getattr(parameters, pipeline)
    chosen.SetInParent()
    from_json(chosen, values, path)
    return parameters
