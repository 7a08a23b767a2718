"""Uploads: announced here, sent straight to object storage, and believed only once looked at."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

import structlog
from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import in_thread
from kinemesh.serving.status import to_failure
from kinemesh.storage import keys
from kinemesh.storage.multipart import MAX_PARTS, Part
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import assets, requests, sweeps
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.contents import check_content, check_size
from kinemesh_ingest.domain.validation import check_filename
from kinemesh_ingest.messages import to_asset
from kinemesh_ingest.settings import UploadSettings

_MIB = 1024 * 1024

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Uploads:
    """Takes uploads in."""

    engine: AsyncEngine
    store: ObjectStore
    settings: UploadSettings
    decoder: Decoder

    async def announce(self, request: asset_pb2.CreateUploadRequest, owner: str) -> asset_pb2.CreateUploadResponse:
        """Note an upload and answer with where its bytes go.

        :raises InvalidArgument: INVALID_FILENAME, EMPTY_FILE, UNKNOWN_KIND.
        :raises TooLarge: FILE_TOO_LARGE.
        """
        filename = check_filename(request.filename)
        kind = _kind_of(request.kind)
        check_size(kind, request.size_bytes, self.settings)
        content_type = request.content_type or "application/octet-stream"
        asset_id = uuid.uuid4().hex
        async with self.engine.begin() as connection:
            first = await requests.claim(connection, owner, "CreateUpload", request.request_id, asset_id)
            if first is None:
                upload_id = ""
                if self._part_count(request.size_bytes) > 1:
                    upload_id = await self.store.multipart.create(keys.asset_source(asset_id), content_type)
                row = await assets.add(
                    connection,
                    asset_id=asset_id,
                    owner=owner,
                    filename=filename,
                    content_type=content_type,
                    size_bytes=request.size_bytes,
                    kind=kind,
                    upload_id=upload_id,
                )
            else:
                row = await assets.find(connection, first, owner)
        return self._where_to_put(row)

    async def confirm(self, request: asset_pb2.ConfirmUploadRequest, owner: str) -> AnyRow:
        """Look at what was uploaded. Answers with the asset, READY; a second time it just answers.

        :raises FailedPrecondition: UPLOAD_MISSING, when no bytes are there.
        :raises InvalidArgument: SIZE_MISMATCH, PARTS_MISMATCH, or what is wrong with the content. The asset is then
            REJECTED and its bytes are deleted.
        """
        async with self.engine.begin() as connection:
            row = await assets.find(connection, request.asset_id, owner, lock=True)
            if row.state == assets.READY:
                return row
            if row.state == assets.REJECTED:
                raise errors.FailedPrecondition("ASSET_REJECTED", "This upload was refused before.", **row.failure)
            try:
                found = await self._check(row, request)
            except errors.InvalidArgument as error:
                refusal = error
                failure = MessageToDict(to_failure(error), preserving_proto_field_name=True)
                await assets.settle(connection, row.asset_id, state=assets.REJECTED, failure=failure)
                await sweeps.order(connection, keys.asset_prefix(row.asset_id))
            else:
                video = MessageToDict(found, preserving_proto_field_name=True) if found else None
                return await assets.settle(connection, row.asset_id, state=assets.READY, video=video)
        _log.info("upload refused", asset_id=row.asset_id, reason=refusal.reason)
        raise refusal

    async def _check(self, row: AnyRow, request: asset_pb2.ConfirmUploadRequest) -> asset_pb2.Video | None:
        key = keys.asset_source(row.asset_id)
        if row.upload_id:
            await self._complete(row, request)
        try:
            found = await self.store.stat(key)
        except errors.NotFound:
            raise errors.FailedPrecondition(
                "UPLOAD_MISSING", "No bytes have been uploaded for this asset.", asset_id=row.asset_id
            ) from None
        if found.size != row.size_bytes:
            raise errors.InvalidArgument(
                "SIZE_MISMATCH",
                "The uploaded file has another size than was announced.",
                announced=row.size_bytes,
                uploaded=found.size,
            )

        def look() -> asset_pb2.Video | None:
            with self.store.open_range(key) as source:
                return check_content(row.kind, source, self.settings, self.decoder)

        return await in_thread(look)

    async def _complete(self, row: AnyRow, request: asset_pb2.ConfirmUploadRequest) -> None:
        key = keys.asset_source(row.asset_id)
        uploaded = await self.store.multipart.list_parts(key, row.upload_id)
        claimed = {part.part_number: part.etag.strip('"') for part in request.parts}
        if claimed and claimed != {part.number: part.etag.strip('"') for part in uploaded}:
            raise errors.InvalidArgument("PARTS_MISMATCH", "The parts are not the ones that were uploaded.")
        if len(uploaded) != self._part_count(row.size_bytes):
            raise errors.FailedPrecondition(
                "UPLOAD_MISSING", "Not all parts have been uploaded.", uploaded=len(uploaded)
            )
        await self.store.multipart.complete(key, row.upload_id, [Part(p.number, p.etag, p.size) for p in uploaded])

    def _part_count(self, size: int) -> int:
        return ceil(size / self._part_size(size))

    def _part_size(self, size: int) -> int:
        """Grows with the file, since there may be no more than 10,000 parts."""
        return max(self.settings.part_size_mb, ceil(size / _MIB / MAX_PARTS)) * _MIB

    def _where_to_put(self, row: AnyRow) -> asset_pb2.CreateUploadResponse:
        key = keys.asset_source(row.asset_id)
        expires = timedelta(seconds=self.settings.url_expires_s)
        response = asset_pb2.CreateUploadResponse(
            asset=to_asset(row), method="PUT", expires_in_sec=self.settings.url_expires_s
        )
        if row.upload_id:
            response.part_size = self._part_size(row.size_bytes)
            for number in range(1, self._part_count(row.size_bytes) + 1):
                url = self.store.multipart.presign_part(key, row.upload_id, number, expires)
                response.parts.add(part_number=number, url=url)
        else:
            response.upload_url = self.store.presign_put(key, expires)
            response.headers["Content-Type"] = row.content_type
        return response


def _kind_of(value: asset_pb2.AssetKind.ValueType) -> str:
    if value not in asset_pb2.AssetKind.values():
        raise errors.InvalidArgument("UNKNOWN_KIND", "There is no such kind of asset.", field="kind")
    return asset_pb2.AssetKind.Name(value or asset_pb2.ASSET_KIND_VIDEO).removeprefix("ASSET_KIND_")
