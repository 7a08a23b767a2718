"""ModelService: what the model server serves, described by what the model builder wrote into each model's config."""

from __future__ import annotations

from typing import Any

from kinemesh import errors
from kinemesh.inference.client import TritonClient
from kinemesh.model.v1 import model_pb2, model_pb2_grpc
from kinemesh_ingest.catalogue.paging import page_request

_TASKS = {
    "detector": model_pb2.MODEL_TASK_DETECTOR,
    "embedder": model_pb2.MODEL_TASK_EMBEDDER,
    "pose": model_pb2.MODEL_TASK_POSE,
    "face": model_pb2.MODEL_TASK_FACE,
}


class ModelRpc(model_pb2_grpc.ModelServiceServicer):
    """Lists the models. Importing and testing them answer UNIMPLEMENTED with a reason."""

    def __init__(self, triton: TritonClient) -> None:
        self._triton = triton

    async def ListModels(self, request: model_pb2.ListModelsRequest, _context: Any) -> model_pb2.ListModelsResponse:  # noqa: N802
        skip = request.skip
        if request.page_token:
            if not request.page_token.isdecimal():
                raise errors.InvalidArgument("INVALID_PAGE_TOKEN", "page_token is not one that this list gave.")
            skip = int(request.page_token)
        page = page_request(request.page_size, "", skip)
        models = [await self._describe(name, ready) for name, ready in sorted((await self._triton.loaded()).items())]
        wanted = [
            model
            for model in models
            if request.task in (model_pb2.MODEL_TASK_UNSPECIFIED, model.task)
            and (not request.states or model.state in request.states)
        ]
        end = page.skip + page.size
        return model_pb2.ListModelsResponse(
            models=wanted[page.skip : end],
            next_page_token=str(end) if end < len(wanted) else "",
            total_size=len(wanted),
        )

    async def GetModel(self, request: model_pb2.GetModelRequest, _context: Any) -> model_pb2.GetModelResponse:  # noqa: N802
        loaded = await self._triton.loaded()
        if request.model not in loaded:
            raise errors.NotFound("MODEL_NOT_FOUND", "There is no such model.", model=request.model)
        return model_pb2.GetModelResponse(model=await self._describe(request.model, loaded[request.model]))

    async def _describe(self, name: str, ready: bool) -> model_pb2.Model:
        state = model_pb2.MODEL_STATE_READY if ready else model_pb2.MODEL_STATE_MISSING
        if not ready:
            return model_pb2.Model(model=name, state=state)
        config = await self._triton.config(name)
        facts = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
        dims = [int(size) for size in config["input"][0]["dims"]]
        return model_pb2.Model(
            model=name,
            state=state,
            task=_TASKS.get(facts.get("task", ""), model_pb2.MODEL_TASK_UNSPECIFIED),
            source=model_pb2.MODEL_SOURCE_EMBEDDED,
            description=facts.get("description", ""),
            license=facts.get("licence", ""),
            labels=[label for label in facts.get("labels", "").split(",") if label],
            input_height=dims[0],
            input_width=dims[1],
            runtime=facts.get("runtime", ""),
            sha256=facts.get("sha256", ""),
            size_bytes=int(facts.get("size_bytes") or 0),
            is_default=True,
        )
