"""The object store: asynchronous calls over the blocking ``minio`` client, on threads of its own."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import urllib3
from minio import Minio
from minio.credentials.providers import IamAwsProvider
from minio.datatypes import Object
from minio.deleteobjects import DeleteObject

from kinemesh.errors import FailedPrecondition, Internal, KinemeshError, OutOfRange
from kinemesh.positioned import PositionedFile
from kinemesh.storage.errors import storage_errors
from kinemesh.storage.measuring import MeasuredPool
from kinemesh.storage.multipart import MAX_PARTS, Multipart, Part, PendingUpload, put_stream
from kinemesh.storage.range_reader import MIB, read_ranges
from kinemesh.storage.settings import S3Settings

P = ParamSpec("P")
T = TypeVar("T")

OCTETS = "application/octet-stream"
PRESIGNED_FOR = timedelta(minutes=15)
_CHUNK = 256 * 1024
_PART = 16 * MIB
_FILE_PART = 5 * MIB  # the least that S3 allows: parts are sent two at a time, and storage hashes each on its own
_DELETE_BATCH = 1000  # the most that one S3 request may name

__all__ = ["ObjectInfo", "ObjectStore", "Part", "PendingUpload"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of an object. ``content_type`` is None in listings, which do not carry it."""

    key: str
    size: int
    etag: str
    content_type: str | None
    modified: datetime | None


class ObjectStore:
    """One bucket of an S3 server.

    Every write is whole or not at all: S3 shows an object only when its last byte has arrived, so a deterministic key
    can be written again by a second delivery of the same task. Every call has timeouts and a bounded number of
    retries. All methods raise ``NotFound`` (``OBJECT_NOT_FOUND``), ``Unavailable`` (``STORAGE_UNAVAILABLE``) or
    ``PermissionDenied`` (``STORAGE_ACCESS_DENIED``) as the case may be; none names a key or a secret.
    """

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self.bucket = settings.bucket
        self._executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="s3")
        # Readers fetch ahead on threads of their own, so that neither waits for the other.
        self._ahead = ThreadPoolExecutor(settings.threads, thread_name_prefix="s3-ahead")
        retry = urllib3.Retry(
            total=settings.retries, backoff_factor=0.2, backoff_max=5, status_forcelist=(500, 502, 503, 504)
        )
        # The last answer is handed on rather than a MaxRetryError, so that its S3 code is seen.
        self._pool = MeasuredPool(
            timeout=urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s),
            maxsize=2 * settings.threads,
            retries=retry.new(raise_on_status=False, allowed_methods=None, respect_retry_after_header=False),
        )
        # They are renewed before they expire, once for both clients.
        self._role = IamAwsProvider(http_client=self._pool) if settings.iam else None
        self._client = self._minio(settings.endpoint, settings.secure)
        public_secure = settings.secure if settings.public_secure is None else settings.public_secure
        self._signer = self._minio(settings.public_endpoint or settings.endpoint, public_secure)
        self.multipart = Multipart(self._client, self._signer, self.bucket, self.call, self.stat)

    def _minio(self, endpoint: str, secure: bool) -> Minio:
        settings = self.settings
        return Minio(
            endpoint,
            settings.access_key or None,
            settings.secret_key.get_secret_value() or None,
            secure=secure,
            region=settings.region,
            http_client=self._pool,
            credentials=self._role,
        )

    async def __aenter__(self) -> ObjectStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give up threads and connections. Calls that have not begun fail."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._ahead.shutdown(wait=False, cancel_futures=True)
        self._pool.clear()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function on the store's threads, with its errors translated."""

        def translated() -> T:
            with storage_errors():
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._executor, translated)

    # -- the bucket

    async def ready(self) -> bool:
        """Whether the store answers and the bucket exists."""
        try:
            return await self.call(self._client.bucket_exists, self.bucket)
        except KinemeshError:
            return False

    async def ensure_bucket(self) -> None:
        """Make the bucket unless it exists."""

        def ensure() -> None:
            try:
                if not self._client.bucket_exists(self.bucket):
                    self._client.make_bucket(self.bucket, location=self.settings.region)
            except Exception:
                # Someone else may have made it in between.
                if not self._client.bucket_exists(self.bucket):
                    raise

        await self.call(ensure)

    # -- whole objects

    async def put_bytes(self, key: str, data: bytes, content_type: str = OCTETS) -> str:
        """Write an object; returns its ETag."""
        result = await self.call(
            self._client.put_object, self.bucket, key, io.BytesIO(data), len(data), content_type, part_size=_PART
        )
        return result.etag or ""

    async def put_file(self, path: Path, key: str, content_type: str = OCTETS) -> str:
        """Write the file at ``path`` as an object; returns its ETag. Holds two parts, mostly of 5 MiB."""

        def put() -> str:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                part = max(_FILE_PART, ceil(size / MAX_PARTS))
                result = self._client.put_object(
                    self.bucket, key, file, size, content_type, part_size=part, num_parallel_uploads=2
                )
            return result.etag or ""

        return await self.call(put)

    async def put_stream(
        self, key: str, chunks: AsyncIterator[bytes], content_type: str = OCTETS, *, limit: int | None = None
    ) -> int:
        """Write an object from chunks of any size, in constant memory; returns the number of bytes.

        If ``chunks`` raises, or the caller is cancelled, no object appears.

        :raises TooLarge: ``OBJECT_TOO_LARGE``, as soon as more than ``limit`` bytes have come.
        """
        return await put_stream(self, key, chunks, content_type, limit)

    async def get_bytes(self, key: str, *, limit: int = 256 * MIB) -> bytes:
        """A whole object in memory.

        :raises OutOfRange: ``OBJECT_TOO_LARGE``, if it is larger than ``limit``.
        """

        def get() -> bytes:
            response = self._client.get_object(self.bucket, key)
            try:
                if int(response.headers.get("content-length", 0)) > limit:
                    raise OutOfRange("OBJECT_TOO_LARGE", "The object is too large to be read at once.", limit=limit)
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

        return await self.call(get)

    async def get_file(self, key: str, path: Path) -> int:
        """Write an object to ``path``, which appears whole or not at all; returns its size."""

        def get() -> int:
            partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
            response = self._client.get_object(self.bucket, key)
            try:
                with partial.open("wb") as file:
                    for chunk in response.stream(MIB):
                        file.write(chunk)
                size = partial.stat().st_size
                if size != int(response.headers.get("content-length", size)):
                    raise urllib3.exceptions.IncompleteRead(size, -1)
                partial.replace(path)
            finally:
                response.close()
                response.release_conn()
                partial.unlink(missing_ok=True)
            return size

        return await self.call(get)

    async def stat(self, key: str) -> ObjectInfo:
        """Size, ETag and content type of an object.

        :raises NotFound: ``OBJECT_NOT_FOUND``.
        """
        return await self.call(self._stat, key)

    def _stat(self, key: str) -> ObjectInfo:
        return _info(self._client.stat_object(self.bucket, key))

    async def list_objects(
        self, prefix: str, *, limit: int = 10_000, start_after: str | None = None
    ) -> tuple[ObjectInfo, ...]:
        """At most ``limit`` objects under ``prefix``, in the order of their keys, after ``start_after``."""

        def collect() -> tuple[ObjectInfo, ...]:
            found = self._client.list_objects(self.bucket, prefix, recursive=True, start_after=start_after)
            return tuple(_info(entry) for entry in islice(found, limit))

        return await self.call(collect)

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that do not exist are no error."""
        remaining = iter(tuple(keys))
        while batch := list(islice(remaining, _DELETE_BATCH)):
            await self.call(self._delete, batch)

    def _delete(self, keys: list[str]) -> None:
        failed = [
            error
            for error in self._client.remove_objects(self.bucket, [DeleteObject(key) for key in keys])
            if error.code not in ("NoSuchKey", "NoSuchBucket")
        ]
        if failed:
            raise Internal("STORAGE_ERROR", "Some objects could not be deleted.", count=len(failed))

    async def delete_prefix(self, prefix: str) -> int:
        """Delete everything under ``prefix``, unfinished uploads too; returns the number of objects deleted."""
        if not prefix.endswith("/") or prefix == "/":
            # "jobs/1" would take "jobs/10" with it.
            raise ValueError("a prefix to delete must name a folder")
        for upload in await self.multipart.list_uploads(prefix):
            await self.multipart.abort(upload.key, upload.upload_id)
        count = 0
        while found := await self.list_objects(prefix, limit=_DELETE_BATCH):
            await self.call(self._delete, [entry.key for entry in found])
            count += len(found)
        return count

    # -- ranges

    def open_range(self, key: str, *, block_bytes: int = 2 * MIB, cached_blocks: int = 6) -> PositionedFile:
        """A seekable file over an object, for PyAV. Blocks, now and on every read: call it in a worker thread.

        The reader holds on to the version it opened: if the object is replaced, reading raises
        ``FailedPrecondition`` (``OBJECT_CHANGED``) instead of mixing two files.
        """
        with storage_errors():
            info = self._stat(key)

        def fetch(start: int, end: int) -> bytes:
            with storage_errors():
                return self._get_range(key, start, end, info.etag)

        return read_ranges(fetch, info.size, executor=self._ahead, block_bytes=block_bytes, cached_blocks=cached_blocks)

    def _get_range(self, key: str, start: int, end: int, etag: str) -> bytes:
        response = self._client.get_object(
            self.bucket, key, start, end - start, request_headers={"If-Match": f'"{etag}"'}
        )
        try:
            data = bytes(response.read())
        finally:
            response.close()
            response.release_conn()
        if len(data) != end - start:
            raise urllib3.exceptions.IncompleteRead(len(data), end - start - len(data))
        return data

    async def stream(
        self, key: str, start: int = 0, end: int | None = None, *, etag: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes ``[start, end)`` in chunks of at most 256 KiB, for a gateway that serves ranges.

        :raises OutOfRange: ``RANGE_NOT_SATISFIABLE``.
        """
        if start < 0 or (end is not None and end <= start):
            raise OutOfRange("RANGE_NOT_SATISFIABLE", "The range lies outside the object.")
        headers: dict[str, Any] = {"If-Match": f'"{etag}"'} if etag else {}
        length = 0 if end is None else end - start
        opening = asyncio.ensure_future(
            self.call(self._client.get_object, self.bucket, key, start, length, request_headers=headers)
        )
        pending: asyncio.Future[Any] = opening
        try:
            response = await asyncio.shield(opening)
            while True:
                pending = reading = asyncio.ensure_future(self.call(response.read, _CHUNK))
                chunk = await asyncio.shield(reading)
                if not chunk:
                    return
                yield chunk
        finally:
            # A cancelled consumer leaves a thread at work on the response: close it when that thread is done.
            pending.add_done_callback(lambda done: _close_response(opening, done))

    # -- URLs for clients outside the mesh

    def presign_put(self, key: str, expires: timedelta = PRESIGNED_FOR) -> str:
        """A URL to PUT the object to."""
        with storage_errors():
            return self._signer.get_presigned_url("PUT", self.bucket, key, expires)

    def presign_get(
        self,
        key: str,
        expires: timedelta = PRESIGNED_FOR,
        *,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> str:
        """A URL to GET the object from, with the name and type that a browser shall give it."""
        headers: dict[str, Any] = {}
        if filename is not None:
            if not filename.isprintable() or '"' in filename or "\\" in filename:
                raise FailedPrecondition("FILENAME_INVALID", "The file name cannot be sent in a header.")
            headers["response-content-disposition"] = f'attachment; filename="{filename}"'
        if content_type is not None:
            headers["response-content-type"] = content_type
        with storage_errors():
            return self._signer.get_presigned_url("GET", self.bucket, key, expires, response_headers=headers)


def _info(entry: Object) -> ObjectInfo:
    return ObjectInfo(
        key=entry.object_name or "",
        size=entry.size or 0,
        etag=(entry.etag or "").strip('"'),
        content_type=entry.content_type,
        modified=entry.last_modified,
    )


def _close_response(opening: asyncio.Future[Any], last: asyncio.Future[Any]) -> None:
    if not last.cancelled():
        last.exception()  # asking tells asyncio that somebody has seen it
    if opening.done() and not opening.cancelled() and opening.exception() is None:
        opening.result().close()
        opening.result().release_conn()
