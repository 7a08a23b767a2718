"""``/api/v1/routes/references``: pictures of walls, built in or uploaded, on which attempts are compared."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from kinemesh.route.v1 import reference_pb2
from kinemesh_gateway.domain.files import suffix
from kinemesh_gateway.messages import enum_number, from_json, to_json
from kinemesh_gateway.rest.content import CONTENT_RESPONSES, serve_object
from kinemesh_gateway.rest.context import Caller, CallerDep, IdempotencyKey, PageDep, ReferenceId
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.forms import checked, form_document, is_json, or_json, parsed, short_body
from kinemesh_gateway.rest.incoming import remove
from kinemesh_gateway.rest.listing import listed
from kinemesh_gateway.rest.multipart import Expected
from kinemesh_gateway.rest.route_resources import ReferenceCreate, ReferenceForm, ReferenceImage, ReferenceList

PATH = "/api/v1/routes/references"
router = APIRouter(prefix=PATH, tags=["routes"])

# What the picture is shows when the upload is confirmed: that takes its whole content.
_PICTURE = Expected(check=None, limit_mb=64)
_FORM = form_document(
    "file", display_name="that of the file when empty", route_id="route that it shows and that uses it from then on"
)


@router.post(
    "",
    status_code=201,
    response_model=ReferenceImage,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=or_json(_FORM, {"$ref": "#/components/schemas/ReferenceCreate"}),
)
async def create_reference(request: Request, call: CallerDep, key: IdempotencyKey, response: Response) -> Any:
    """Bring a picture: JPEG, PNG or WebP, as an uploaded asset in JSON, or as a file of at most 64 MB in a form."""
    if is_json(request):
        body = await short_body(request, call.mesh.settings.http.json_limit_kb * 1024)
        created = await _create(call, checked(ReferenceCreate, parsed(body)).model_dump(), key)
    else:
        created = await _from_form(request, call, key)
    response.headers["Location"] = f"{PATH}/{created.reference_id}"
    return _described(created)


@router.get("", response_model=ReferenceList, responses=documented(400, 404))
async def list_references(
    call: CallerDep,
    page: PageDep,
    source: Annotated[str, Query(max_length=16, description="BUILT_IN or UPLOADED")] = "",
    route_id: Annotated[str, Query(max_length=128, description="only images of this route")] = "",
) -> Any:
    """The reference images that you may use, built-in ones first."""
    kind: Any = reference_pb2.ReferenceSource.DESCRIPTOR
    request = reference_pb2.ListReferenceImagesRequest(
        page_size=page.limit,
        skip=page.offset,
        page_token=page.token,
        source=enum_number(kind, source, "source") if source else 0,  # type: ignore[arg-type]
        route_id=route_id,
    )
    found = await call(call.mesh.upstreams.routes.ListReferenceImages, request)
    return listed("references", map(_described, found.reference_images), found, page)


@router.get("/{reference_id}", response_model=ReferenceImage, responses=documented(404))
async def get_reference(reference_id: ReferenceId, call: CallerDep) -> Any:
    """One reference image."""
    request = reference_pb2.GetReferenceImageRequest(reference_id=reference_id)
    return _described((await call(call.mesh.upstreams.routes.GetReferenceImage, request)).reference_image)


@router.delete("/{reference_id}", status_code=204, responses=documented(403, 404, 409))
async def delete_reference(reference_id: ReferenceId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete an uploaded reference image; refused while a route or a job that is not over uses it."""
    request = reference_pb2.DeleteReferenceImageRequest(reference_id=reference_id, request_id=key)
    await call(call.mesh.upstreams.routes.DeleteReferenceImage, request)


@router.api_route(
    "/{reference_id}/image",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404), **CONTENT_RESPONSES},
)
@router.api_route("/{reference_id}/image", methods=["HEAD"], include_in_schema=False)
async def get_reference_picture(reference_id: ReferenceId, call: CallerDep, request: Request) -> Response:
    """The picture. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    wanted = reference_pb2.CreateReferenceImageDownloadRequest(reference_id=reference_id)
    found = await call(call.mesh.upstreams.routes.CreateReferenceImageDownload, wanted)
    kind = found.download.content_type
    return await serve_object(request, call.mesh.store, found.object_key, f"{reference_id}{suffix(kind)}", kind)


async def _from_form(request: Request, call: Caller, key: str) -> reference_pb2.ReferenceImage:
    uploader = request.app.state.uploader
    async with uploader.receive(request, call, _PICTURE, "IMAGE") as form:
        values = checked(ReferenceForm, {name: text for name, text in form.fields.items() if text.strip()})
        asset = await form.asset()
        created = await _create(call, {"asset_id": asset.asset_id, **values.model_dump()}, key)
    if created.asset_id != asset.asset_id:  # a repeated call is answered with the first one's picture
        await remove(call, asset.asset_id)
    return created


async def _create(call: Caller, values: dict[str, Any], key: str) -> reference_pb2.ReferenceImage:
    request = reference_pb2.CreateReferenceImageRequest(request_id=key)
    from_json(request, values, "")
    timeout_s = call.mesh.settings.upstreams.confirm_timeout_s
    created = await call(call.mesh.upstreams.routes.CreateReferenceImage, request, timeout_s)
    image: reference_pb2.ReferenceImage = created.reference_image
    return image


def _described(image: reference_pb2.ReferenceImage) -> dict[str, Any]:
    return {**to_json(image), "image_id": image.reference_id}
