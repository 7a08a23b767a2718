"""``/api/v1/pipelines``"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from kinemesh.job.v1 import job_pb2
from kinemesh_gateway.domain.paging import DEFAULT_LIMIT, MAX_LIMIT
from kinemesh_gateway.messages import to_json
from kinemesh_gateway.rest.context import CallerDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.schemas import PipelineList

router = APIRouter(prefix="/api/v1/pipelines", tags=["pipelines"])


@router.get("", response_model=PipelineList, responses=documented(400))
async def list_pipelines(
    call: CallerDep,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    page_token: Annotated[str, Query(max_length=1000)] = "",
) -> Any:
    """The pipelines with their stages."""
    request = job_pb2.ListPipelinesRequest(page_size=limit, page_token=page_token)
    found = await call(call.mesh.upstreams.jobs.ListPipelines, request)
    return {
        "pipelines": [to_json(pipeline) for pipeline in found.pipelines],
        "total": found.total_size,
        "limit": limit,
        "next_page_token": found.next_page_token or None,
    }
