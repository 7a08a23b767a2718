"""Reference images of the route catalogue, as RouteService keeps them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.common.v1 import common_pb2
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import in_thread
from kinemesh.route.v1 import reference_pb2
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import areas, assets, references, requests
from kinemesh_ingest.catalogue.owned import is_open_to
from kinemesh_ingest.catalogue.paging import by_name, page_request
from kinemesh_ingest.catalogue.tables import reference_images
from kinemesh_ingest.climbing.areas import LONGEST_NAME
from kinemesh_ingest.climbing.messages import to_reference
from kinemesh_ingest.climbing.removal import remove_asset
from kinemesh_ingest.conductor import Conductor
from kinemesh_ingest.domain.validation import check_text
from kinemesh_ingest.downloads import DOWNLOAD_S
from kinemesh_ingest.settings import UploadSettings

_MIB: Final = 1024 * 1024
_TYPES: Final = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture is like: upright, as its orientation says."""

    content_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class References:
    """Keeps reference images."""

    engine: AsyncEngine
    store: ObjectStore
    conductor: Conductor
    settings: UploadSettings
    decoder: Decoder

    async def create(
        self, request: reference_pb2.CreateReferenceImageRequest, owner: str
    ) -> reference_pb2.CreateReferenceImageResponse:
        check_text("display_name", request.display_name, LONGEST_NAME)
        method, reference_id = "CreateReferenceImage", uuid.uuid4().hex
        async with self.engine.connect() as connection:
            is_known = await requests.is_known(connection, owner, method, request.request_id)
            if not is_known:
                asset = await assets.find(connection, request.asset_id, owner)
                assets.require_ready(asset, assets.IMAGE, "asset_id")
        picture = None if is_known else await self._look(request.asset_id)
        async with self.engine.begin() as connection:
            first = await requests.claim(connection, owner, method, request.request_id, reference_id)
            if first is not None or picture is None:
                row = await references.find(connection, first or reference_id, owner)
                return reference_pb2.CreateReferenceImageResponse(reference_image=to_reference(row))
            if request.route_id:
                await areas.find_route(connection, request.route_id, owner, lock=True)
            asset = await assets.find(connection, request.asset_id, owner, lock=True)
            row = await references.add(
                connection,
                reference_id=reference_id,
                owner=owner,
                display_name=request.display_name.strip() or asset.filename,
                asset_id=asset.asset_id,
                route_id=request.route_id or None,
                content_type=picture.content_type,
                width=picture.width,
                height=picture.height,
            )
            if request.route_id:
                await areas.change_route(connection, request.route_id, reference_id=reference_id)
        return reference_pb2.CreateReferenceImageResponse(reference_image=to_reference(row))

    async def get(
        self, request: reference_pb2.GetReferenceImageRequest, owner: str
    ) -> reference_pb2.GetReferenceImageResponse:
        async with self.engine.connect() as connection:
            row = await references.find(connection, request.reference_id, owner)
        return reference_pb2.GetReferenceImageResponse(reference_image=to_reference(row))

    async def list(
        self, request: reference_pb2.ListReferenceImagesRequest, owner: str
    ) -> reference_pb2.ListReferenceImagesResponse:
        wanted = page_request(request.page_size, request.page_token, request.skip)
        condition = is_open_to(reference_images, owner)
        if request.source:
            if request.source not in reference_pb2.ReferenceSource.values():
                raise errors.InvalidArgument(
                    "UNKNOWN_VALUE", "There is no such source.", field="source", value=request.source
                )
            name = reference_pb2.ReferenceSource.Name(request.source).removeprefix("REFERENCE_SOURCE_")
            condition = and_(condition, reference_images.c.source == name)
        async with self.engine.connect() as connection:
            if request.route_id:
                await areas.find_route(connection, request.route_id, owner)
                condition = and_(condition, reference_images.c.route_id == request.route_id)
            order = ("source", "display_name", "reference_id")
            page = await by_name(connection, reference_images, order, condition, wanted)
        return reference_pb2.ListReferenceImagesResponse(
            reference_images=[to_reference(row) for row in page.rows],
            next_page_token=page.next_token,
            total_size=page.total,
        )

    async def delete(
        self, request: reference_pb2.DeleteReferenceImageRequest, owner: str
    ) -> reference_pb2.DeleteReferenceImageResponse:
        async with self.engine.begin() as connection:
            if await requests.is_known(connection, owner, "DeleteReferenceImage", request.request_id):
                return reference_pb2.DeleteReferenceImageResponse()
            row = await references.find(connection, request.reference_id, owner)
            if row.source == references.BUILT_IN:
                raise errors.PermissionDenied(
                    "REFERENCE_BUILT_IN", "This image comes with the product.", reference_id=row.reference_id
                )
            row = await references.find(connection, request.reference_id, owner, lock=True)
            await requests.claim(connection, owner, "DeleteReferenceImage", request.request_id, row.reference_id)
            await references.remove(connection, row.reference_id)
            await remove_asset(connection, row.asset_id, owner)
        self.conductor.swept.set()
        return reference_pb2.DeleteReferenceImageResponse()

    async def download(
        self, request: reference_pb2.CreateReferenceImageDownloadRequest, owner: str
    ) -> reference_pb2.CreateReferenceImageDownloadResponse:
        async with self.engine.connect() as connection:
            row = await references.find(connection, request.reference_id, owner)
        key = keys.asset_source(row.asset_id)
        download = common_pb2.Download(
            url=self.store.presign_get(key),
            expires_in_sec=DOWNLOAD_S,
            content_type=row.content_type,
            size_bytes=(await self.store.stat(key)).size,
        )
        return reference_pb2.CreateReferenceImageDownloadResponse(download=download, object_key=key)

    async def _look(self, asset_id: str) -> Picture:
        """What an accepted picture is like."""
        data = await self.store.get_bytes(keys.asset_source(asset_id), limit=self.settings.max_picture_mb * _MIB)
        image = await in_thread(self.decoder.decode_picture, data, self.settings.max_pixels)
        content_type = next(name for head, name in _TYPES if data.startswith(head))
        return Picture(content_type, image.shape[1], image.shape[0])
