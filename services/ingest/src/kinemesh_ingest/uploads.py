"""Uploads: announced here, sent straight to object storage, and believed only once looked at.

Every upload is a multipart one, a small one with a single part: when it is confirmed or given up the parts are joined
or dropped, and no URL that was given out before can change a byte of what has been looked at.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from google.protobuf.json_format import MessageToDict
from sqlalchemy.ext.asyncio import AsyncEngine

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import in_thread
from kinemesh.serving.status import to_failure
from kinemesh.storage import keys
from kinemesh.storage.multipart import Part
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue import assets, requests, sweeps
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.contents import check_content, check_size, most_bytes
from kinemesh_ingest.domain.validation import check_content_type, check_filename, check_sha256
from kinemesh_ingest.messages import to_asset, to_timestamp
from kinemesh_ingest.quotas import Quotas
from kinemesh_ingest.settings import UploadSettings
from kinemesh_ingest.upload_parts import Cut, arrived, chosen, part_size
from kinemesh_ingest.verifying import Checks, require_checksum

_STREAMED_PART_MB = 8

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Uploads:
    """Takes uploads in.

    :ivar kept: how long an upload that was announced may take.
    """

    engine: AsyncEngine
    store: ObjectStore
    settings: UploadSettings
    decoder: Decoder
    kept: timedelta
    quotas: Quotas
    checks: Checks = field(default_factory=Checks)

    async def announce(self, request: asset_pb2.CreateUploadRequest, owner: str) -> asset_pb2.CreateUploadResponse:
        """Note an upload and answer with where its bytes go.

        :raises InvalidArgument: INVALID_FILENAME, INVALID_CONTENT_TYPE, EMPTY_FILE, UNKNOWN_KIND, INVALID_CHECKSUM.
        :raises TooLarge: FILE_TOO_LARGE.
        :raises ResourceExhausted: QUOTA_EXCEEDED.
        """
        filename, content_type = check_filename(request.filename), check_content_type(request.content_type)
        kind = _kind_of(request.kind)
        if not request.streamed:
            check_size(kind, request.size_bytes, self.settings)
        sha256 = check_sha256("sha256", request.sha256)
        asset_id = uuid.uuid4().hex
        async with self.engine.begin() as connection:
            first = await requests.claim(connection, owner, "CreateUpload", request.request_id, asset_id)
            if first is None:
                row = await assets.add(
                    connection,
                    asset_id=asset_id,
                    owner=owner,
                    filename=filename,
                    content_type=content_type,
                    size_bytes=0 if request.streamed else request.size_bytes,
                    sha256=sha256,
                    kind=kind,
                    upload_id="",
                )
                await self.quotas.require_upload(connection, owner)
            else:
                row = await assets.find(connection, first, owner)
            left = await self.quotas.bytes_left(connection, owner) if request.streamed else None
        if row.state == assets.PENDING:
            row = await self._opened(row)
        response = self._where_to_put(row, ())
        if request.streamed:
            response.most_bytes = most_bytes(kind, self.settings)
            if left is not None:
                response.quota_bytes = left
        return response

    async def state(self, asset_id: str, owner: str) -> asset_pb2.GetUploadResponse:
        """What has arrived of an upload, and where the rest goes."""
        async with self.engine.connect() as connection:
            row = await assets.find(connection, asset_id, owner)
        response = asset_pb2.GetUploadResponse(asset=to_asset(row), checked_bytes=row.checked_bytes)
        if row.state != assets.PENDING:
            response.uploaded_bytes = row.size_bytes if row.state == assets.READY else 0
            return response
        response.expire_time.CopyFrom(to_timestamp(row.create_time + self.kept))
        parts = await self._parts(row)
        if parts is None:
            if (size := await self._joined_size(row)) is not None:
                # The parts have been joined, and the check has not ended: there is only left to confirm.
                response.upload.CopyFrom(self._described(row))
                response.uploaded_bytes = size
                return response
            row, parts = await self._opened(row, instead_of=row.upload_id), ()
        if row.size_bytes:
            parts = arrived(parts, self._cut(row))
        for part in parts:
            response.uploaded.add(part_number=part.number, size_bytes=part.size, etag=part.etag)
        response.uploaded_bytes = sum(part.size or 0 for part in parts)
        response.upload.CopyFrom(self._where_to_put(row, {part.number for part in parts}))
        return response

    async def confirm(self, request: asset_pb2.ConfirmUploadRequest, owner: str) -> AnyRow:
        """Look at what was uploaded. Answers with the asset, READY; a second time it just answers.

        :raises FailedPrecondition: UPLOAD_MISSING, when no bytes are there; PARTS_MISMATCH; ASSET_REJECTED.
        :raises InvalidArgument: SIZE_MISMATCH, CHECKSUM_MISMATCH, or what is wrong with the content. The asset is then
            REJECTED and its bytes are deleted.
        """
        async with self.engine.connect() as connection:
            row = await assets.find(connection, request.asset_id, owner)
        if row.state != assets.PENDING:
            return _settled(row)
        return await self.checks.join(row.asset_id, lambda: self._check_and_settle(row, request))

    async def _check_and_settle(self, row: AnyRow, request: asset_pb2.ConfirmUploadRequest) -> AnyRow:
        refusal: errors.InvalidArgument | None = None
        video: asset_pb2.Video | None = None
        size = row.size_bytes or request.size_bytes
        try:
            video = await self._check(row, size, request)
        except errors.InvalidArgument as error:
            refusal = error
        async with self.engine.begin() as connection:
            row = await assets.find(connection, row.asset_id, row.owner, lock=True)
            if row.state != assets.PENDING:
                return _settled(row)
            if refusal is None:
                described = MessageToDict(video, preserving_proto_field_name=True) if video else None
                settled = await assets.settle(
                    connection, row.asset_id, state=assets.READY, size_bytes=size, video=described
                )
                if not row.size_bytes:
                    await self.quotas.require_storage(connection, row.owner)
                return settled
            failure = MessageToDict(to_failure(refusal), preserving_proto_field_name=True)
            await assets.settle(connection, row.asset_id, state=assets.REJECTED, failure=failure)
            await sweeps.order(connection, keys.asset_prefix(row.asset_id))
        _log.info("upload refused", asset_id=row.asset_id, reason=refusal.reason)
        raise refusal

    async def _check(self, row: AnyRow, size: int, request: asset_pb2.ConfirmUploadRequest) -> asset_pb2.Video | None:
        key = keys.asset_source(row.asset_id)
        check_size(row.kind, size, self.settings)
        await self._join(row, request)
        found = await self._joined_size(row)
        if found is None:
            raise errors.FailedPrecondition(
                "UPLOAD_MISSING", "No bytes have been uploaded for this asset.", asset_id=row.asset_id
            )
        if found != size:
            raise errors.InvalidArgument(
                "SIZE_MISMATCH",
                "The uploaded file has another size than was announced.",
                announced=size,
                uploaded=found,
            )

        async def note(checked: int) -> None:
            async with self.engine.begin() as connection:
                await assets.note_checked(connection, row.asset_id, checked)

        def look() -> asset_pb2.Video | None:
            with self.store.open_range(key) as source:
                return check_content(row.kind, source, self.settings, self.decoder)

        # What it holds is told sooner, and of a file that is none of ours every byte need not be read.
        video = await in_thread(look)
        if row.sha256:
            await require_checksum(self.store, key, row.sha256, note)
        return video

    async def _join(self, row: AnyRow, request: asset_pb2.ConfirmUploadRequest) -> None:
        found = await self._parts(row)
        if found is None:  # joined before, by a check that did not come to its end
            return
        if not found:
            raise errors.FailedPrecondition(
                "UPLOAD_MISSING", "No bytes have been uploaded for this asset.", asset_id=row.asset_id
            )
        claimed = {part.part_number: part.etag.strip('"') for part in request.parts}
        parts = chosen(found, claimed, self._cut(row) if row.size_bytes else None)
        await self.store.multipart.complete(keys.asset_source(row.asset_id), row.upload_id, parts)

    async def _parts(self, row: AnyRow) -> tuple[Part, ...] | None:
        """All that has arrived of an open upload; None if it is not open."""
        if not row.upload_id:
            return None
        try:
            return await self.store.multipart.list_parts(keys.asset_source(row.asset_id), row.upload_id)
        except errors.NotFound:
            return None

    async def _joined_size(self, row: AnyRow) -> int | None:
        try:
            return (await self.store.stat(keys.asset_source(row.asset_id))).size
        except errors.NotFound:
            return None

    async def _opened(self, row: AnyRow, instead_of: str = "") -> AnyRow:
        """The asset with an upload that takes parts: whoever asks first begins it."""
        if row.upload_id != instead_of:
            return row
        key = keys.asset_source(row.asset_id)
        upload_id = await self.store.multipart.create(key, row.content_type)
        async with self.engine.begin() as connection:
            current = await assets.open_upload(connection, row.asset_id, upload_id, instead_of)
        if current is None or current.upload_id != upload_id:
            await self.store.multipart.abort(key, upload_id)
        if current is None:
            raise errors.NotFound("ASSET_NOT_FOUND", "There is no such asset.", asset_id=row.asset_id)
        return current

    def _cut(self, row: AnyRow) -> Cut:
        return Cut(row.size_bytes, part_size(row.size_bytes, self.settings.part_size_mb))

    def _described(self, row: AnyRow) -> asset_pb2.CreateUploadResponse:
        return asset_pb2.CreateUploadResponse(
            asset=to_asset(row), method="PUT", expires_in_sec=self.settings.url_expires_s
        )

    def _where_to_put(self, row: AnyRow, have: set[int] | tuple[()]) -> asset_pb2.CreateUploadResponse:
        """URLs for the parts that are not there yet."""
        response = self._described(row)
        if row.state != assets.PENDING:
            return response
        if not row.size_bytes:
            response.upload_id = row.upload_id
            response.part_size = part_size(most_bytes(row.kind, self.settings), _STREAMED_PART_MB)
            return response
        cut = self._cut(row)
        key = keys.asset_source(row.asset_id)
        expires = timedelta(seconds=self.settings.url_expires_s)
        urls = {
            number: self.store.multipart.presign_part(key, row.upload_id, number, expires)
            for number in range(1, cut.count + 1)
            if number not in have
        }
        if cut.count == 1:
            response.upload_url = urls.get(1, "")
            response.headers["Content-Type"] = row.content_type
            return response
        response.part_size = cut.part_size
        for number, url in urls.items():
            response.parts.add(part_number=number, url=url)
        return response


def _settled(row: AnyRow) -> AnyRow:
    if row.state == assets.REJECTED:
        raise errors.FailedPrecondition("ASSET_REJECTED", "This upload was refused before.", **row.failure)
    return row


def _kind_of(value: asset_pb2.AssetKind.ValueType) -> str:
    if value not in asset_pb2.AssetKind.values():
        raise errors.InvalidArgument("UNKNOWN_KIND", "There is no such kind of asset.", field="kind")
    return asset_pb2.AssetKind.Name(value or asset_pb2.ASSET_KIND_VIDEO).removeprefix("ASSET_KIND_")
