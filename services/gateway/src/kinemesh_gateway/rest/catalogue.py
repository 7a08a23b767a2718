"""``/api/v1/pipelines`` and ``/api/v1/models``"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from kinemesh.job.v1 import job_pb2
from kinemesh.model.v1 import model_pb2
from kinemesh_gateway.domain.paging import DEFAULT_LIMIT, MAX_LIMIT
from kinemesh_gateway.messages import enum_number, to_json
from kinemesh_gateway.rest.context import CallerDep, Name, PageDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.schemas import Model, ModelList, PipelineList

router = APIRouter(prefix="/api/v1", tags=["pipelines and models"])


@router.get("/pipelines", response_model=PipelineList, responses=documented(400))
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


@router.get("/models", response_model=ModelList, responses=documented(400))
async def list_models(
    call: CallerDep,
    page: PageDep,
    task: Annotated[str, Query(max_length=32, description="DETECTOR, EMBEDDER, POSE or FACE")] = "",
    state: Annotated[list[str] | None, Query(max_length=4, description="only models in one of these states")] = None,
) -> Any:
    """The models that you may use, by name."""
    request = model_pb2.ListModelsRequest(
        page_size=page.limit,
        skip=page.offset,
        page_token=page.token,
        task=enum_number(model_pb2.ModelTask.DESCRIPTOR, task, "task") if task else 0,  # type: ignore[arg-type]
        states=[enum_number(model_pb2.ModelState.DESCRIPTOR, name, "state") for name in state or ()],  # type: ignore[misc]
    )
    found = await call(call.mesh.upstreams.models.ListModels, request)
    return {
        "models": [to_json(model) for model in found.models],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.get("/models/{name}", response_model=Model, responses=documented(404))
async def get_model(name: Name, call: CallerDep) -> Any:
    """One model."""
    found = await call(call.mesh.upstreams.models.GetModel, model_pb2.GetModelRequest(model=name))
    return to_json(found.model)
