"""ModelService: lists the models, takes users' own, and tries them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kinemesh import errors
from kinemesh.access.identity import LOCAL_OWNER
from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.inference.client import TritonClient
from kinemesh.inference.detector import DEFAULT_THRESHOLD, TASK, Letterbox, detector, find, letterbox, padded, scaled
from kinemesh.inference.embedder import TASK as EMBEDDER
from kinemesh.inference.embedder import crops, embed, embedder
from kinemesh.media.confined import Decoder
from kinemesh.model.v1 import model_pb2, model_pb2_grpc
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_thread
from kinemesh.serving.interceptor import caller
from kinemesh_ingest.catalogue import assets, models, requests
from kinemesh_ingest.catalogue.paging import page_request
from kinemesh_ingest.domain.validation import check_colors, check_labels, check_model_name, check_range, check_text
from kinemesh_ingest.importing import Imports
from kinemesh_ingest.registry import Registry

_BROUGHT = (model_pb2.MODEL_SOURCE_IMPORTED, model_pb2.MODEL_SOURCE_MANIFEST)
_TASKS = {
    model_pb2.MODEL_TASK_UNSPECIFIED: TASK,
    model_pb2.MODEL_TASK_DETECTOR: TASK,
    model_pb2.MODEL_TASK_EMBEDDER: EMBEDDER,
}
_ORDERS = {
    model_pb2.COLOR_ORDER_UNSPECIFIED: "",
    model_pb2.COLOR_ORDER_RGB: "RGB",
    model_pb2.COLOR_ORDER_BGR: "BGR",
}


class ModelRpc(model_pb2_grpc.ModelServiceServicer):
    """Lists the models and takes a user's own."""

    def __init__(
        self,
        engine: AsyncEngine,
        triton: TritonClient,
        registry: Registry,
        imports: Imports,
        decoder: Decoder,
        max_pixels: int,
    ) -> None:
        self._engine = engine
        self._triton = triton
        self._registry = registry
        self._imports = imports
        self._decoder = decoder
        self._max_pixels = max_pixels

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Any) -> model_pb2.ListModelsResponse:  # noqa: N802
        skip = request.skip
        if request.page_token:
            if not request.page_token.isdecimal():
                raise errors.InvalidArgument(
                    "INVALID_PAGE_TOKEN", "page_token is not one that this list gave.", field="page_token"
                )
            skip = int(request.page_token)
        page = page_request(request.page_size, "", skip)
        wanted = [
            model
            for model in await self._registry.all(caller(context))
            if request.task in (model_pb2.MODEL_TASK_UNSPECIFIED, model.task)
            and (not request.states or model.state in request.states)
        ]
        end = page.skip + page.size
        return model_pb2.ListModelsResponse(
            models=wanted[page.skip : end],
            next_page_token=str(end) if end < len(wanted) else "",
            total_size=len(wanted),
        )

    async def GetModel(self, request: model_pb2.GetModelRequest, context: Any) -> model_pb2.GetModelResponse:  # noqa: N802
        return model_pb2.GetModelResponse(model=await self._registry.find(request.model, caller(context)))

    async def ImportModel(  # noqa: N802
        self, request: model_pb2.ImportModelRequest, context: Any
    ) -> model_pb2.ImportModelResponse:
        owner = caller(context)
        name = check_model_name(request.model)
        check_labels(request.labels)
        check_text("license", request.license, 200)
        task = _TASKS.get(request.task)
        if task is None:
            raise errors.InvalidArgument(
                "NOT_AVAILABLE_YET", "Only detectors and embedders can be imported in this version.", field="task"
            )
        if task == EMBEDDER and request.labels:
            raise errors.InvalidArgument("LABELS_NOT_TAKEN", "An embedder has no classes.", field="labels")
        colors = _colors(request, task)
        self._imports.require_program()
        served = await self._triton.loaded()
        async with self._engine.begin() as connection:
            if await requests.claim(connection, owner, "ImportModel", request.request_id, name) is None:
                # The locks keep the assets from being deleted before the import is known to read them.
                weights = await assets.find(connection, request.asset_id, owner, lock=True)
                assets.require_ready(weights, assets.WEIGHTS, "asset_id")
                if request.check_image_asset_id:
                    picture = await assets.find(connection, request.check_image_asset_id, owner, lock=True)
                    assets.require_ready(picture, assets.IMAGE, "check_image_asset_id")
                await _claim(
                    connection,
                    served,
                    name,
                    owner,
                    source=models.IMPORTED,
                    task=task,
                    asset_id=request.asset_id,
                    picture_asset_id=request.check_image_asset_id,
                    labels=list(request.labels),
                    colors=colors,
                    licence=request.license,
                )
        return model_pb2.ImportModelResponse(model=await self._brought(name, owner))

    async def AddModel(self, request: model_pb2.AddModelRequest, context: Any) -> model_pb2.AddModelResponse:  # noqa: N802
        owner = caller(context)
        name = check_model_name(request.model)
        self._imports.require_program()
        served = await self._triton.loaded()
        async with self._engine.begin() as connection:
            if await requests.claim(connection, owner, "AddModel", request.request_id, name) is None:
                await _claim(connection, served, name, owner, source=models.MANIFEST)
        return model_pb2.AddModelResponse(model=await self._brought(name, owner))

    async def DeleteModel(  # noqa: N802
        self, request: model_pb2.DeleteModelRequest, context: Any
    ) -> model_pb2.DeleteModelResponse:
        owner = caller(context)
        async with self._engine.connect() as connection:
            if await requests.is_known(connection, owner, "DeleteModel", request.request_id):
                return model_pb2.DeleteModelResponse()
        model = await self._registry.find(request.model, owner)
        if model.source not in _BROUGHT:
            raise errors.FailedPrecondition(
                "MODEL_EMBEDDED", "This model is part of the mesh and cannot be deleted.", model=model.model
            )
        if model.state == model_pb2.MODEL_STATE_IMPORTING:
            raise errors.FailedPrecondition(
                "MODEL_IMPORTING", "The model is being imported; it can be deleted after that.", model=model.model
            )
        self._imports.require_program()
        async with self._engine.begin() as connection:
            await self._require_own(connection, model.model, owner)
            source = model_pb2.ModelSource.Name(model.source).removeprefix("MODEL_SOURCE_")
            await models.condemn(connection, model.model, owner, source)
            await requests.claim(connection, owner, "DeleteModel", request.request_id, model.model)
        await self._imports.take_away(model.model)
        return model_pb2.DeleteModelResponse()

    async def TestModel(self, request: model_pb2.TestModelRequest, context: Any) -> model_pb2.TestModelResponse:  # noqa: N802
        threshold = request.threshold if request.HasField("threshold") else DEFAULT_THRESHOLD
        check_range("threshold", threshold, 0, 1)
        image = await in_thread(self._decoder.decode_picture, request.frame.data, self._max_pixels)
        model = await self._registry.find(request.model, caller(context))
        task = _TASKS.get(model.task, TASK)
        if model.state == model_pb2.MODEL_STATE_READY and model.task not in _TASKS:
            raise errors.InvalidArgument(
                "NOT_AVAILABLE_YET",
                "Only detectors and embedders can be tried on a picture in this version.",
                field="model",
            )
        await self._registry.require(request.model, caller(context), task)
        if task == EMBEDDER:
            return await self._embedded(request.model, image)
        return await self._detected(request.model, image, threshold)

    async def _embedded(self, name: str, image: Image) -> model_pb2.TestModelResponse:
        """The vector of the whole picture, as of one person."""
        looking = await embedder(self._triton, name)
        height, width = image.shape[:2]
        person = await in_thread(crops, image, np.array([[0, 0, width, height]], np.float64))
        began = time.perf_counter()
        [vector] = await embed(self._triton, looking, person)
        took_ms = (time.perf_counter() - began) * 1000
        return model_pb2.TestModelResponse(embedding=vector.tolist(), inference_ms=took_ms, width=width, height=height)

    async def _detected(self, name: str, image: Image, threshold: float) -> model_pb2.TestModelResponse:
        looking = await detector(self._triton, name)
        height, width = image.shape[:2]
        box = letterbox(looking, width, height)
        fitted = await in_thread(_fitted, image, box)
        began = time.perf_counter()
        boxes = await find(self._triton, looking, box, fitted)
        took_ms = (time.perf_counter() - began) * 1000
        found = [
            tracking_pb2.Detection(
                box=common_pb2.Box(x1=x1, y1=y1, x2=x2, y2=y2), score=score, class_id=kind, label=looking.label(kind)
            )
            for (x1, y1, x2, y2), score, kind in zip(
                boxes.corners.tolist(), boxes.scores.tolist(), boxes.classes.tolist(), strict=True
            )
            if score >= threshold
        ]
        return model_pb2.TestModelResponse(detections=found, inference_ms=took_ms, width=width, height=height)

    async def _brought(self, name: str, owner: str) -> model_pb2.Model:
        model = await self._registry.find(name, owner)
        self._imports.wake.set()
        return model

    async def _require_own(self, connection: AsyncConnection, name: str, owner: str) -> None:
        """What everyone may use is deleted by whoever brought it, or else by the machine's own user."""
        row = await models.find(connection, name)
        if owner != (row.owner if row is not None else LOCAL_OWNER):
            raise errors.PermissionDenied(
                "MODEL_SHARED", "Others may use this model: only who added it can delete it.", model=name
            )


async def _claim(connection: AsyncConnection, served: Iterable[str], name: str, owner: str, **values: Any) -> None:
    if name in served or not await models.claim(connection, name, owner, **values):
        raise errors.AlreadyExists("MODEL_EXISTS", "A model of this name exists.", model=name)


def _colors(request: model_pb2.ImportModelRequest, task: str) -> dict[str, Any]:
    """How an embedder sees pixels, as far as the request says it; nothing for others."""
    given = next((f for f in ("color_order", "mean", "scale") if getattr(request, f)), "")
    if task == EMBEDDER:
        check_colors(request.mean, request.scale)
        if request.color_order not in _ORDERS:
            raise errors.InvalidArgument("INVALID_COLOURS", "color_order is RGB or BGR.", field="color_order")
        return {
            "order": _ORDERS[request.color_order],
            "mean": list(request.mean),
            "scale": list(request.scale),
        }
    if given:
        raise errors.InvalidArgument(
            "INVALID_COLOURS", "How a detector sees pixels is told by its head: say it of embedders only.", field=given
        )
    return {}


def _fitted(image: Image, box: Letterbox) -> Image:
    return padded(scaled(image, box), box)
