"""``/api/v1/assets``"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from kinemesh.asset.v1 import asset_pb2
from kinemesh.errors import FailedPrecondition
from kinemesh.storage import keys
from kinemesh_gateway.messages import enum_number, to_json
from kinemesh_gateway.rest.content import CONTENT_RESPONSES, serve_object
from kinemesh_gateway.rest.context import AssetId, Caller, CallerDep, IdempotencyKey, PageDep
from kinemesh_gateway.rest.errors import documented
from kinemesh_gateway.rest.schemas import (
    Announcement,
    Asset,
    AssetConfirm,
    AssetCreate,
    AssetCreated,
    AssetList,
    AssetStateName,
    UploadState,
)

router = APIRouter(prefix="/api/v1/assets", tags=["assets"])


@router.post("", status_code=201, response_model=AssetCreated, responses=documented(400, 413))
async def create_asset(body: AssetCreate, call: CallerDep, key: IdempotencyKey) -> Any:
    """Announce an upload; its bytes then go to storage directly, never through the API."""
    created = await announce(call, body, key, body.kind)
    return {"asset": to_json(created.asset), "upload": where_to_put(created)}


@router.get("/{asset_id}/upload", response_model=UploadState, responses=documented(404))
async def get_upload(asset_id: AssetId, call: CallerDep) -> Any:
    """What of an upload has arrived, and fresh URLs for the rest: to go on after a loss, or when URLs have expired."""
    return upload_state(await find_upload(call, asset_id))


@router.post("/{asset_id}/confirm", response_model=Asset, responses=documented(400, 404, 409, 413, 415))
async def confirm_asset(
    asset_id: AssetId, call: CallerDep, key: IdempotencyKey, body: AssetConfirm | None = None
) -> Any:
    """Say that the bytes are there; they are checked, after which jobs may use the asset."""
    parts = [(part.part_number, part.etag) for part in body.parts] if body else []
    return to_json(await confirm(call, asset_id, parts, key))


@router.get("", response_model=AssetList, responses=documented(400))
async def list_assets(
    call: CallerDep,
    page: PageDep,
    state: Annotated[list[AssetStateName] | None, Query(max_length=3, description="only in one of these")] = None,
) -> Any:
    """Your assets, newest first."""
    request = asset_pb2.ListAssetsRequest(
        page_size=page.limit,
        skip=page.offset,
        page_token=page.token,
        states=[enum_number(asset_pb2.AssetState.DESCRIPTOR, name, "state") for name in state or ()],  # type: ignore[misc]
    )
    found = await call(call.mesh.upstreams.assets.ListAssets, request)
    return {
        "assets": [to_json(asset) for asset in found.assets],
        "total": found.total_size,
        "limit": page.limit,
        "offset": page.offset,
        "next_page_token": found.next_page_token or None,
    }


@router.get("/{asset_id}", response_model=Asset, responses=documented(404))
async def get_asset(asset_id: AssetId, call: CallerDep) -> Any:
    """One asset."""
    return to_json(await find(call, asset_id))


@router.api_route(
    "/{asset_id}/content",
    methods=["GET"],
    response_class=Response,
    responses={**documented(404, 409), **CONTENT_RESPONSES},
)
@router.api_route("/{asset_id}/content", methods=["HEAD"], include_in_schema=False)
async def get_asset_content(asset_id: AssetId, call: CallerDep, request: Request) -> Response:
    """The bytes as they were uploaded. Takes `Range`, `If-Range` and `If-None-Match`; HEAD answers too."""
    asset = await find(call, asset_id)
    if asset.state != asset_pb2.ASSET_STATE_READY:
        state = str(asset_pb2.AssetState.Name(asset.state)).removeprefix("ASSET_STATE_")
        raise FailedPrecondition("ASSET_NOT_READY", "The asset was not accepted (yet).", state=state)
    source = keys.asset_source(asset.asset_id)
    return await serve_object(request, call.mesh.store, source, asset.filename, asset.content_type)


@router.delete("/{asset_id}", status_code=204, responses=documented(404, 409))
async def delete_asset(asset_id: AssetId, call: CallerDep, key: IdempotencyKey) -> None:
    """Delete an asset and its bytes; refused while a job that is not finished reads it."""
    request = asset_pb2.DeleteAssetRequest(asset_id=asset_id, request_id=key)
    await call(call.mesh.upstreams.assets.DeleteAsset, request)


async def find(call: Caller, asset_id: str) -> asset_pb2.Asset:
    """An asset of the caller's."""
    found = await call(call.mesh.upstreams.assets.GetAsset, asset_pb2.GetAssetRequest(asset_id=asset_id))
    asset: asset_pb2.Asset = found.asset
    return asset


async def announce(call: Caller, body: Announcement, key: str, kind: str = "VIDEO") -> asset_pb2.CreateUploadResponse:
    """A new asset, and where its bytes go."""
    request = asset_pb2.CreateUploadRequest(
        filename=body.filename,
        content_type=body.content_type,
        size_bytes=body.size_bytes,
        sha256=body.sha256,
        request_id=key,
        kind=enum_number(asset_pb2.AssetKind.DESCRIPTOR, kind, "kind"),  # type: ignore[arg-type]
    )
    created: asset_pb2.CreateUploadResponse = await call(call.mesh.upstreams.assets.CreateUpload, request)
    return created


def where_to_put(created: asset_pb2.CreateUploadResponse) -> dict[str, Any]:
    """The URLs of an upload, as JSON of :class:`~kinemesh_gateway.rest.schemas.Upload`."""
    return {
        "url": created.upload_url or None,
        "method": created.method,
        "headers": dict(created.headers),
        "expires_in": created.expires_in_sec,
        "parts": [to_json(part) for part in created.parts] or None,
        "part_size": created.part_size or None,
    }


async def find_upload(call: Caller, asset_id: str) -> asset_pb2.GetUploadResponse:
    """How far an upload of the caller's is."""
    request = asset_pb2.GetUploadRequest(asset_id=asset_id)
    found: asset_pb2.GetUploadResponse = await call(call.mesh.upstreams.assets.GetUpload, request)
    return found


def upload_state(found: asset_pb2.GetUploadResponse) -> dict[str, Any]:
    """JSON of :class:`~kinemesh_gateway.rest.schemas.UploadState`."""
    return {
        "asset": to_json(found.asset),
        "upload": where_to_put(found.upload) if found.HasField("upload") else None,
        "uploaded": [to_json(part) for part in found.uploaded],
        "uploaded_bytes": found.uploaded_bytes,
        "checked_bytes": found.checked_bytes,
        "expire_time": found.expire_time.ToJsonString() if found.HasField("expire_time") else None,
    }


async def confirm(call: Caller, asset_id: str, parts: list[tuple[int, str]], key: str = "") -> asset_pb2.Asset:
    """Have an upload checked, with the time that this takes."""
    request = asset_pb2.ConfirmUploadRequest(
        asset_id=asset_id,
        parts=[asset_pb2.CompletedPart(part_number=number, etag=etag) for number, etag in parts],
        request_id=key,
    )
    timeout_s = call.mesh.settings.upstreams.confirm_timeout_s
    confirmed = await call(call.mesh.upstreams.assets.ConfirmUpload, request, timeout_s)
    asset: asset_pb2.Asset = confirmed.asset
    return asset
