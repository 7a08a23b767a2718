"""A file on its way from a form to storage: one part in memory while the part before it is sent.

Neither disk nor memory of the gateway grows with the file. Storage gets it under the key of an asset that ingest knows
of from the first part on, so that whatever becomes of this process, what it leaves is swept.
"""

from __future__ import annotations

import asyncio

import structlog

from kinemesh.asset.v1 import asset_pb2
from kinemesh.errors import FailedPrecondition, InvalidArgument, KinemeshError, NotFound, ResourceExhausted, TooLarge
from kinemesh.pipelining import settled
from kinemesh.storage import Part, keys
from kinemesh_gateway.messages import enum_number
from kinemesh_gateway.rest.context import Caller
from kinemesh_gateway.rest.multipart import Form

_MIB = 1024 * 1024
_FIRST = 8 * _MIB

_log = structlog.get_logger()


class Incoming:
    """Takes the bytes of a form's file and makes an asset of them.

    :param kind: of the asset: VIDEO, IMAGE or WEIGHTS.
    """

    def __init__(self, call: Caller, form: Form, kind: str) -> None:
        self._call = call
        self._form = form
        self._kind = kind
        self._buffer = bytearray()
        self._taken = 0
        self._created: asset_pb2.CreateUploadResponse | None = None
        self._parts: list[Part] = []
        self._sending: asyncio.Future[Part] | None = None

    async def take(self, data: bytearray) -> None:
        """Add bytes to the file; returns when there is room for more.

        :raises KinemeshError: what ingest says of the upload, ``FILE_TOO_LARGE``, ``QUOTA_EXCEEDED``, or
            ``STORAGE_UNAVAILABLE``.
        """
        self._buffer += data
        self._taken += len(data)
        while len(self._buffer) > (self._created.part_size if self._created else _FIRST):
            created = await self._begun()
            await self._send(min(created.part_size, len(self._buffer)))

    async def finish(self) -> asset_pb2.Asset:
        """The asset, when all bytes have been sent and ingest has accepted them.

        :raises InvalidArgument: ``EMPTY_FILE``, or what is wrong with the file.
        """
        if not self._taken:
            raise InvalidArgument("EMPTY_FILE", "The file is empty.", field="size_bytes")
        await self._begun()
        if self._buffer:
            await self._send(len(self._buffer))
        await self._sent()
        assert self._created is not None
        parts = [asset_pb2.CompletedPart(part_number=part.number, etag=part.etag) for part in self._parts]
        request = asset_pb2.ConfirmUploadRequest(
            asset_id=self._created.asset.asset_id, parts=parts, size_bytes=self._taken
        )
        timeout_s = self._call.mesh.settings.upstreams.confirm_timeout_s
        confirmed = await self._call(self._call.mesh.upstreams.assets.ConfirmUpload, request, timeout_s)
        asset: asset_pb2.Asset = confirmed.asset
        return asset

    async def drop(self) -> None:
        """Remove what there is of the asset, also when the caller is cancelled meanwhile."""
        await settled(self._drop())

    async def _drop(self) -> None:
        self._buffer = bytearray()
        if self._sending is not None:
            # A part that arrives after the end of its upload might stay for ever.
            await asyncio.wait([self._sending])
            self._sending.exception()
        if self._created is not None:
            await remove(self._call, self._created.asset.asset_id)

    async def _begun(self) -> asset_pb2.CreateUploadResponse:
        if self._created is None:
            request = asset_pb2.CreateUploadRequest(
                filename=self._form.filename,
                content_type=self._form.content_type,
                kind=enum_number(asset_pb2.AssetKind.DESCRIPTOR, self._kind, "kind"),  # type: ignore[arg-type]
                streamed=True,
            )
            # Whoever leaves now must still learn which asset to remove.
            await settled(self._create(request))
        assert self._created is not None
        self._check_room(self._created)
        return self._created

    async def _create(self, request: asset_pb2.CreateUploadRequest) -> None:
        self._created = await self._call(self._call.mesh.upstreams.assets.CreateUpload, request)

    def _check_room(self, created: asset_pb2.CreateUploadResponse) -> None:
        if self._taken > created.most_bytes:
            limit_mb = created.most_bytes // _MIB
            raise TooLarge("FILE_TOO_LARGE", f"Files may have at most {limit_mb} MB.", limit_bytes=created.most_bytes)
        if created.HasField("quota_bytes") and self._taken > created.quota_bytes:
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                "Your storage has no room for this file.",
                quota="stored_bytes",
                left=created.quota_bytes,
                retry_after_s=3600,
            )

    async def _send(self, length: int) -> None:
        assert self._created is not None
        await self._sent()
        data = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        key = keys.asset_source(self._created.asset.asset_id)
        multipart = self._call.mesh.store.multipart
        self._sending = asyncio.ensure_future(
            multipart.upload_part(key, self._created.upload_id, len(self._parts) + 1, data)
        )

    async def _sent(self) -> None:
        if self._sending is not None:
            self._parts.append(await asyncio.shield(self._sending))
            self._sending = None


async def remove(call: Caller, asset_id: str) -> None:
    """Delete an asset that nobody else needs; one that a job still reads, or that is gone, is no failure."""
    try:
        await call(call.mesh.upstreams.assets.DeleteAsset, asset_pb2.DeleteAssetRequest(asset_id=asset_id))
    except (NotFound, FailedPrecondition):
        return
    except KinemeshError as error:
        # What the caller asked for is done, or has failed for a reason of its own: this is the operator's business.
        _log.warning("an upload stays", asset_id=asset_id, reason=error.reason)
