"""Uploads in parts: by a client with presigned URLs, or by us from a stream of unknown length."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from minio import Minio
from minio.datatypes import Part as S3Part

from kinemesh.errors import InvalidArgument, KinemeshError, NotFound, TooLarge
from kinemesh.storage.errors import storage_errors

if TYPE_CHECKING:
    from kinemesh.storage.store import ObjectInfo, ObjectStore

MAX_PARTS = 10_000
_STREAM_PART = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One uploaded part: its number, from 1, the ETag that the store answered, and when it arrived if listed."""

    number: int
    etag: str
    size: int | None = None
    modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str
    started: datetime | None


class Multipart:
    """The multipart calls of S3, which minio keeps among its low-level methods."""

    def __init__(
        self,
        client: Minio,
        signer: Minio,
        bucket: str,
        call: Callable[..., Awaitable[Any]],
        stat: Callable[[str], Awaitable[ObjectInfo]],
    ) -> None:
        self._client = client
        self._signer = signer
        self._bucket = bucket
        self._call = call
        self._stat = stat

    async def create(self, key: str, content_type: str) -> str:
        """Begin an upload; returns its id."""
        headers = {"Content-Type": content_type}
        return str(await self._call(self._client._create_multipart_upload, self._bucket, key, headers))

    def presign_part(self, key: str, upload_id: str, number: int, expires: timedelta) -> str:
        """A URL to PUT part ``number`` (from 1) to. The ETag in its answer belongs into :class:`Part`."""
        if not 1 <= number <= MAX_PARTS:
            raise InvalidArgument("UPLOAD_PARTS_INVALID", f"Parts are numbered from 1 to {MAX_PARTS}.")
        query: dict[str, Any] = {"partNumber": str(number), "uploadId": upload_id}
        with storage_errors():
            return self._signer.get_presigned_url("PUT", self._bucket, key, expires, extra_query_params=query)

    async def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> Part:
        """Upload one part ourselves."""
        etag = await self._call(self._client._upload_part, self._bucket, key, data, None, upload_id, number)
        return Part(number, etag, len(data))

    async def list_parts(self, key: str, upload_id: str) -> tuple[Part, ...]:
        """The parts that have arrived, in order.

        A part that was sent several times with different bytes may be listed as often: SeaweedFS keeps them all, and
        joins the one whose ETag is named.

        :raises NotFound: ``UPLOAD_NOT_FOUND``, also once the upload is complete.
        """

        def collect() -> tuple[Part, ...]:
            parts: list[Part] = []
            marker: str | None = None
            while len(parts) <= MAX_PARTS:
                page = self._client._list_parts(self._bucket, key, upload_id, part_number_marker=marker)
                parts += [
                    Part(part.part_number, part.etag.strip('"'), part.size, part.last_modified) for part in page.parts
                ]
                if not page.is_truncated or page.next_part_number_marker is None:
                    break
                marker = str(page.next_part_number_marker)
            return tuple(parts)

        result: tuple[Part, ...] = await self._call(collect)
        return result

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> str:
        """Join the parts; returns the ETag of the object. Doing it twice is no error.

        :raises InvalidArgument: ``UPLOAD_PARTS_INVALID``.
        :raises NotFound: ``UPLOAD_NOT_FOUND``, if the upload is gone and the object is not what the parts make.
        """
        ordered = sorted(parts, key=lambda part: part.number)
        if not ordered or len({part.number for part in ordered}) != len(ordered):
            raise InvalidArgument("UPLOAD_PARTS_INVALID", "An upload needs parts with different numbers.")
        s3_parts = [S3Part(part.number, part.etag.strip('"')) for part in ordered]
        try:
            done = await self._call(self._client._complete_multipart_upload, self._bucket, key, upload_id, s3_parts)
        except NotFound as missing:
            expected = combined_etag(ordered)
            with suppress(NotFound):
                if expected is not None and (await self._stat(key)).etag == expected:
                    return expected
            raise missing from None
        return (done.etag or "").strip('"')

    async def abort(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts; one that does not exist is no error."""
        with suppress(NotFound):
            await self._call(self._client._abort_multipart_upload, self._bucket, key, upload_id)

    async def list_uploads(self, prefix: str) -> tuple[PendingUpload, ...]:
        """Up to 1000 unfinished uploads under ``prefix``, for cleaning up."""
        page = await self._call(self._client._list_multipart_uploads, self._bucket, prefix=prefix, max_uploads=1000)
        return tuple(
            PendingUpload(upload.object_name, upload.upload_id, upload.initiated_time)
            for upload in page.uploads or ()
            if upload.object_name.startswith(prefix)
        )


def combined_etag(parts: Sequence[Part]) -> str | None:
    """The ETag that S3 gives to joined parts: MD5 over the binary MD5s, dash, their number. None if not all are MD5."""
    try:
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    except ValueError:
        return None
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


async def put_stream(
    store: ObjectStore, key: str, chunks: AsyncIterator[bytes], content_type: str, limit: int | None
) -> int:
    """See :meth:`ObjectStore.put_stream`."""
    multipart = store.multipart
    buffer = bytearray()
    total = 0
    parts: list[Part] = []
    upload_id: str | None = None
    sending: asyncio.Future[Part] | None = None

    async def send(data: bytes) -> Part:
        nonlocal upload_id
        if upload_id is None:
            upload_id = await multipart.create(key, content_type)
        return await multipart.upload_part(key, upload_id, len(parts) + 1, data)

    async def give_up() -> None:
        # A part that arrives after the abort would stay for ever.
        if sending is not None:
            await asyncio.wait([sending])
        if upload_id is not None:
            with suppress(KinemeshError):
                await multipart.abort(key, upload_id)

    try:
        async for chunk in chunks:
            total += len(chunk)
            _check_size(total, limit)
            buffer += chunk
            while len(buffer) > _STREAM_PART:
                data = bytes(memoryview(buffer)[:_STREAM_PART])
                del buffer[:_STREAM_PART]
                sending = asyncio.ensure_future(send(data))
                parts.append(await asyncio.shield(sending))
        if upload_id is None:
            await store.put_bytes(key, bytes(buffer), content_type)
            return total
        sending = asyncio.ensure_future(send(bytes(buffer)))
        parts.append(await asyncio.shield(sending))
        await multipart.complete(key, upload_id, parts)
    except BaseException:
        await asyncio.shield(give_up())
        raise
    return total


def _check_size(total: int, limit: int | None) -> None:
    if limit is not None and total > limit:
        raise TooLarge("OBJECT_TOO_LARGE", "The upload is larger than allowed.", limit_bytes=limit)
