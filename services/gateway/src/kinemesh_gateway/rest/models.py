"""``/api/v1/models``"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from kinemesh.common.v1 import common_pb2
from kinemesh.model.v1 import model_pb2
from kinemesh_gateway.messages import enum_number, to_json
from kinemesh_gateway.rest.context import CallerDep, IdempotencyKey, Name, PageDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.forms import checked, form_document
from kinemesh_gateway.rest.multipart import Expected
from kinemesh_gateway.rest.parameters import Threshold
from kinemesh_gateway.rest.schemas import Body, Failure

PATH = "/api/v1/models"
router = APIRouter(prefix=PATH, tags=["models"])

_PICTURE = Expected(field="image", check=None, limit_mb=16)

TaskName = Literal["DETECTOR", "EMBEDDER", "POSE", "FACE"]
PerChannel = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=3)]
ModelName = Annotated[str, Field(min_length=1, max_length=64, examples=["pitstop"])]


class Model(BaseModel):
    """What the mesh can detect, recognise or estimate with."""

    model: str
    owner: str
    task: TaskName | None
    state: Literal["IMPORTING", "READY", "REJECTED", "MISSING"] | None
    source: Literal["EMBEDDED", "MANIFEST", "IMPORTED"] | None
    description: str
    license: str
    labels: list[str]
    input_width: int
    input_height: int
    embedding_size: int
    runtime: str
    sha256: str
    size_bytes: int
    is_default: bool
    failure: Failure | None = Field(description="once REJECTED")
    create_time: str | None
    update_time: str | None


class ModelList(BaseModel):
    """A page of models, by name."""

    models: list[Model]
    total: int
    limit: int
    offset: int
    next_page_token: str | None


class ModelAdd(Body):
    """Names a model of the manifest."""

    model: ModelName


class ModelImport(Body):
    """Brings weights."""

    asset_id: str = Field(min_length=1, max_length=128, description="asset of the kind WEIGHTS: .onnx or .pt")
    model: ModelName
    task: TaskName = "DETECTOR"
    labels: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        default=[], max_length=10_000, description="of its classes, by class id; needed when the weights hold none"
    )
    color_order: Literal["RGB", "BGR"] | None = Field(
        default=None, description="of the channels of an embedder; other tasks take none of these three"
    )
    mean: PerChannel = Field(
        default=[], description="an embedder sees (pixel - mean) / scale, in the order of its channels"
    )
    scale: PerChannel = Field(default=[], description="without 0")
    license: str = Field(default="", max_length=200)
    check_image_asset_id: str = Field(
        default="", max_length=128, description="picture on which it must find something; a built-in one when empty"
    )


class Corners(BaseModel):
    """A box in pixels of the picture."""

    x1: float
    y1: float
    x2: float
    y2: float


class Found(BaseModel):
    """An object or a face."""

    box: Corners
    score: float
    class_id: int
    label: str


class ModelTest(BaseModel):
    """What a model made of a picture; which list is filled follows from its task."""

    detections: list[Found] = Field(description="best first")
    poses: list[dict[str, Any]]
    embedding: list[float] = Field(description="of the whole picture, which counts as one person")
    inference_ms: float
    width: int
    height: int


class _TestForm(BaseModel):
    threshold: Threshold | None = None


@router.get("", response_model=ModelList, responses=documented(400))
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


@router.post("/import", status_code=202, response_model=Model, responses=documented(400, 404, 409, 413, 415))
async def import_model(body: ModelImport, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Start to convert, check and serve uploaded weights; the model's `state` tells how it goes."""
    request = model_pb2.ImportModelRequest(
        **body.model_dump(exclude={"task", "color_order"}),
        task=enum_number(model_pb2.ModelTask.DESCRIPTOR, body.task, "task"),  # type: ignore[arg-type]
        color_order=_color_order(body.color_order),  # type: ignore[arg-type]
        request_id=key,
    )
    started = await call(call.mesh.upstreams.models.ImportModel, request)
    response.headers["Location"] = f"{PATH}/{started.model.model}"
    return to_json(started.model)


def _color_order(name: str | None) -> int:
    return enum_number(model_pb2.ColorOrder.DESCRIPTOR, name, "color_order") if name else 0


@router.post("/add", status_code=202, response_model=Model, responses=documented(400, 404, 409))
async def add_model(body: ModelAdd, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Start to fetch and serve a model of the manifest; the model's `state` tells how it goes."""
    request = model_pb2.AddModelRequest(model=body.model, request_id=key)
    started = await call(call.mesh.upstreams.models.AddModel, request)
    response.headers["Location"] = f"{PATH}/{started.model.model}"
    return to_json(started.model)


@router.get("/{name}", response_model=Model, responses=documented(404))
async def get_model(name: Name, call: CallerDep) -> Any:
    """One model."""
    found = await call(call.mesh.upstreams.models.GetModel, model_pb2.GetModelRequest(model=name))
    return to_json(found.model)


@router.delete("/{name}", status_code=204, responses=documented(403, 404, 409))
async def delete_model(name: Name, call: CallerDep, key: IdempotencyKey) -> None:
    """Stop serving a model that was imported or added, and delete it; refused while a job that is not over uses it."""
    request = model_pb2.DeleteModelRequest(model=name, request_id=key)
    await call(call.mesh.upstreams.models.DeleteModel, request)


@router.post(
    "/{name}/test",
    response_model=ModelTest,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=form_document("image", threshold="least score, 0 to 1; 0.5"),
)
async def try_model(name: Name, call: CallerDep, request: Request) -> Any:
    """Run a model on one picture: JPEG, PNG or WebP, at most 16 MB."""
    form, data = await request.app.state.uploader.read(request, _PICTURE)
    threshold = checked(_TestForm, {k: v for k, v in form.fields.items() if v}).threshold
    wanted = model_pb2.TestModelRequest(model=name, frame=common_pb2.EncodedFrame(data=data), threshold=threshold)
    return to_json(await call(call.mesh.upstreams.models.TestModel, wanted))
