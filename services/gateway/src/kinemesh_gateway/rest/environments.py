"""``/api/v1/environments``: sites, their cameras, recordings and calibration, and whom their galleries know."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import Field

from kinemesh.environment.v1 import calibration_pb2, environment_pb2
from kinemesh.errors import InvalidArgument
from kinemesh_gateway.messages import from_json, to_json
from kinemesh_gateway.rest.context import Caller, CallerDep, EnvironmentId, IdempotencyKey, Name, PageDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.forms import checked, form_document, is_json, or_json, parsed
from kinemesh_gateway.rest.multipart import Expected
from kinemesh_gateway.rest.schemas import Body
from kinemesh_gateway.rest.sites import (
    IMAGE_AXES,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    MAP_AXES,
    MAP_TO_IMAGE,
    VALIDATE_ONLY,
    AxisOrder,
    Calibrated,
    Environment,
    EnvironmentList,
    Forgotten,
    HomographyBody,
    HomographySet,
    IdentityList,
)

PATH = "/api/v1/environments"
router = APIRouter(prefix=PATH, tags=["environments"])

_SERVERS_OWN = frozenset(("environment_id", "owner", "create_time", "update_time"))
_FILE = Expected(check=None, limit_mb=1)
_REFUSED = documented(400, 404, 409, 413, 415)
_AXES = {"image_axes": IMAGE_AXES, "map_axes": MAP_AXES, "validate_only": VALIDATE_ONLY}
_HOMOGRAPHY_FORM = form_document(
    "file", (), **_AXES, map_to_image=MAP_TO_IMAGE, image_width=IMAGE_WIDTH, image_height=IMAGE_HEIGHT
)


class _FormAxes(Body):
    image_axes: AxisOrder | None = None
    map_axes: AxisOrder | None = None
    validate_only: bool = False


class _FormSource(_FormAxes):
    map_to_image: bool = False
    image_width: int = Field(default=0, ge=0, lt=2**31)
    image_height: int = Field(default=0, ge=0, lt=2**31)


@router.post("", status_code=201, response_model=Environment, responses=documented(400, 404, 409))
async def create_environment(body: Environment, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Check a site with its cameras and keep it."""
    request = environment_pb2.CreateEnvironmentRequest(environment=_to_proto(body), request_id=key)
    created = (await call(call.mesh.upstreams.environments.CreateEnvironment, request)).environment
    response.headers["Location"] = f"{PATH}/{created.environment_id}"
    return to_json(created)


@router.get("", response_model=EnvironmentList, responses=documented(400))
async def list_environments(call: CallerDep, page: PageDep) -> Any:
    """Your sites, by name."""
    request = environment_pb2.ListEnvironmentsRequest(page_size=page.limit, skip=page.offset, page_token=page.token)
    found = await call(call.mesh.upstreams.environments.ListEnvironments, request)
    return {
        "environments": [to_json(environment) for environment in found.environments],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.get("/{environment_id}", response_model=Environment, responses=documented(404))
async def get_environment(environment_id: EnvironmentId, call: CallerDep) -> Any:
    """One site."""
    request = environment_pb2.GetEnvironmentRequest(environment_id=environment_id)
    return to_json((await call(call.mesh.upstreams.environments.GetEnvironment, request)).environment)


@router.patch("/{environment_id}", response_model=Environment, responses=documented(400, 404, 409))
async def update_environment(
    environment_id: EnvironmentId,
    body: Environment,
    call: CallerDep,
    key: IdempotencyKey,
    update_mask: Annotated[
        str, Query(max_length=1000, description="fields to change, with commas between; those of the body when empty")
    ] = "",
) -> Any:
    """Change the fields that the body has, lists as a whole; null takes a value away. Jobs keep the site as it was."""
    if body.environment_id not in ("", environment_id):
        raise InvalidArgument("FIELD_INVALID", "A site keeps its id.", field="environment_id")
    named = [path.strip() for path in update_mask.split(",") if path.strip()]
    paths = named or sorted(body.model_fields_set - _SERVERS_OWN)
    if not paths:
        raise InvalidArgument("NOTHING_TO_CHANGE", "The body has no field to change.", field="body")
    environment = _to_proto(body)
    environment.environment_id = environment_id
    request = environment_pb2.UpdateEnvironmentRequest(
        environment=environment, update_mask=FieldMask(paths=paths), request_id=key
    )
    return to_json((await call(call.mesh.upstreams.environments.UpdateEnvironment, request)).environment)


@router.delete("/{environment_id}", status_code=204, responses=documented(404, 409))
async def delete_environment(environment_id: EnvironmentId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete a site and its gallery; refused while a job that is not over uses it. Recordings and jobs stay."""
    request = environment_pb2.DeleteEnvironmentRequest(environment_id=environment_id, request_id=key)
    await call(call.mesh.upstreams.environments.DeleteEnvironment, request)


@router.put(
    "/{environment_id}/cameras/{camera}/homography",
    response_model=HomographySet,
    responses=_REFUSED,
    openapi_extra=or_json(_HOMOGRAPHY_FORM, {"$ref": "#/components/schemas/HomographyBody"}),
)
async def put_homography(
    environment_id: EnvironmentId,
    camera: Name,
    call: CallerDep,
    key: IdempotencyKey,
    request: Request,
    validate_only: Annotated[bool, Query(description=VALIDATE_ONLY)] = False,
) -> Any:
    """Check a homography, report its errors, and give it to a camera: points or matrix as JSON, or a file in a form."""
    source = calibration_pb2.HomographySource()
    if is_json(request):
        body = checked(HomographyBody, parsed(await request.body()))
        from_json(source, body.model_dump(exclude_unset=True, exclude={"validate_only"}), "")
        validate_only |= body.validate_only
        return await _set_homography(call, environment_id, camera, source, validate_only, key)
    return await _from_form(request, call, environment_id, camera, validate_only, key)


@router.delete("/{environment_id}/cameras/{camera}/homography", status_code=204, responses=documented(404))
async def delete_homography(environment_id: EnvironmentId, camera: Name, call: CallerDep, key: IdempotencyKey) -> None:
    """Take a camera's homography away; its tracks then have no positions on the map."""
    request = environment_pb2.DeleteHomographyRequest(environment_id=environment_id, camera=camera, request_id=key)
    await call(call.mesh.upstreams.environments.DeleteHomography, request)


@router.post(
    "/{environment_id}/homographies", response_model=HomographySet, responses=_REFUSED, openapi_extra=_HOMOGRAPHY_FORM
)
async def post_homography(
    environment_id: EnvironmentId,
    call: CallerDep,
    key: IdempotencyKey,
    request: Request,
    validate_only: Annotated[bool, Query(description=VALIDATE_ONLY)] = False,
) -> Any:
    """The same for the camera that the file's name has, as in `homography_points_c09_scene_s10.npz`."""
    return await _from_form(request, call, environment_id, "", validate_only, key)


@router.post(
    "/{environment_id}/calibration",
    response_model=Calibrated,
    responses=_REFUSED,
    openapi_extra=or_json(form_document("file", (), **_AXES), {"type": "object"}),
)
async def import_calibration(
    environment_id: EnvironmentId,
    call: CallerDep,
    key: IdempotencyKey,
    request: Request,
    image_axes: Annotated[AxisOrder | None, Query(description=IMAGE_AXES)] = None,
    map_axes: Annotated[AxisOrder | None, Query(description=MAP_AXES)] = None,
    validate_only: Annotated[bool, Query(description=VALIDATE_ONLY)] = False,
) -> Any:
    """Calibrate several cameras and the ground plane with one document, as JSON or as a file in a form; all or none."""
    wanted = environment_pb2.ImportCalibrationRequest(environment_id=environment_id, request_id=key)
    if is_json(request):
        file = calibration_pb2.CalibrationFile(filename="calibration.json", data=await request.body())
        options = _FormAxes()
    else:
        file, fields = await _file(request)
        options = checked(_FormAxes, fields)
    axes = {"image_axes": options.image_axes or image_axes, "map_axes": options.map_axes or map_axes}
    from_json(wanted, axes, "")
    wanted.file.CopyFrom(file)
    wanted.validate_only = validate_only or options.validate_only
    return to_json(await call(call.mesh.upstreams.environments.ImportCalibration, wanted))


@router.get("/{environment_id}/identities", response_model=IdentityList, responses=documented(400, 404))
async def list_identities(environment_id: EnvironmentId, call: CallerDep, page: PageDep) -> Any:
    """The persons whom the site's gallery knows, last seen first."""
    request = environment_pb2.ListIdentitiesRequest(
        environment_id=environment_id, page_size=page.limit, skip=page.offset, page_token=page.token
    )
    found = await call(call.mesh.upstreams.environments.ListIdentities, request)
    return {
        "identities": [to_json(identity) for identity in found.identities],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.delete("/{environment_id}/identities/{global_id}", response_model=Forgotten, responses=documented(404))
async def delete_identity(environment_id: EnvironmentId, global_id: Name, call: CallerDep, key: IdempotencyKey) -> Any:
    """Delete one person's data: the gallery's entry, and the person's rows in the results of finished jobs."""
    request = environment_pb2.DeleteIdentityRequest(environment_id=environment_id, global_id=global_id, request_id=key)
    timeout_s = call.mesh.settings.upstreams.confirm_timeout_s
    return to_json(await call(call.mesh.upstreams.environments.DeleteIdentity, request, timeout_s))


def _to_proto(body: Environment) -> environment_pb2.Environment:
    environment = environment_pb2.Environment()
    from_json(environment, body.model_dump(exclude_unset=True, exclude={"create_time", "update_time"}), "")
    return environment


async def _from_form(
    request: Request, call: Caller, environment_id: str, camera: str, validate_only: bool, key: str
) -> dict[str, Any]:
    file, fields = await _file(request)
    options = checked(_FormSource, fields)
    source = calibration_pb2.HomographySource(file=file)
    from_json(source, options.model_dump(exclude_unset=True, exclude={"validate_only"}), "")
    return await _set_homography(call, environment_id, camera, source, validate_only or options.validate_only, key)


async def _set_homography(
    call: Caller,
    environment_id: str,
    camera: str,
    source: calibration_pb2.HomographySource,
    validate_only: bool,
    key: str,
) -> dict[str, Any]:
    request = environment_pb2.SetHomographyRequest(
        environment_id=environment_id, camera=camera, source=source, validate_only=validate_only, request_id=key
    )
    return to_json(await call(call.mesh.upstreams.environments.SetHomography, request))


async def _file(request: Request) -> tuple[calibration_pb2.CalibrationFile, dict[str, str]]:
    """The file of a form, and the fields that are not empty."""
    form, data = await request.app.state.uploader.read(request, _FILE)
    fields = {name: text for name, value in form.fields.items() if (text := value.strip())}
    return calibration_pb2.CalibrationFile(filename=form.filename[:255], data=data), fields
