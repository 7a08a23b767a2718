"""Uploads through the API, for clients that cannot reach storage: in constant memory whatever their size.

Storage wants to know the size of a file before its first byte, and a form does not tell it. So the file is kept on
disk, in a file without a name that vanishes with the process, and sent on when it is there.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import urllib3
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from kinemesh.asset.v1 import asset_pb2
from kinemesh.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ResourceExhausted,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from kinemesh.media.container import recognise
from kinemesh_gateway.metrics import UPLOAD_BYTES, UPLOADS_IN_FLIGHT
from kinemesh_gateway.settings import UploadSettings

_MIB = 1024 * 1024
_FLUSH = 1 * _MIB
_HEAD = 400
_MOST_FIELD_BYTES = 64 * 1024
_MOST_FIELDS = 32
_FORM_ROOM = _MOST_FIELDS * _MOST_FIELD_BYTES
_FIELD_TYPES = frozenset(("application/json", "text/plain"))
_PUT_TIMEOUT = urllib3.Timeout(connect=5, read=120)


@dataclass(frozen=True, slots=True)
class Expected:
    """What file a form must hold.

    :ivar field: name of its field.
    :ivar suffixes: those that its name may have, in lower case; any when empty.
    :ivar check: raises when the file cannot be what it must be, by its first bytes.
    :ivar limit_mb: the gateway's own limit when 0.
    """

    field: str = "file"
    suffixes: tuple[str, ...] = ()
    check: Callable[[BinaryIO], object] | None = recognise
    limit_mb: int = 0


@dataclass(slots=True)
class Form:
    """A form with one file.

    :ivar file: its content on disk, at its start.
    """

    file: BinaryIO
    filename: str = ""
    content_type: str = ""
    size: int = 0
    fields: dict[str, str] = field(default_factory=dict)


_A_VIDEO = Expected()


class Uploader:
    """Takes forms in and sends files on, a few at a time."""

    def __init__(self, settings: UploadSettings) -> None:
        self._settings = settings
        self._busy = 0
        self._pool = urllib3.PoolManager(maxsize=settings.concurrent, timeout=_PUT_TIMEOUT, retries=False)

    @asynccontextmanager
    async def receive(self, request: Request, expected: Expected = _A_VIDEO) -> AsyncIterator[Form]:
        """Read a multipart form; its file is there as long as the context is.

        :raises ResourceExhausted: ``TOO_MANY_UPLOADS``.
        :raises TooLarge: ``FILE_TOO_LARGE``, as soon as that is known.
        :raises UnsupportedMedia: ``FORM_EXPECTED``, ``NOT_A_VIDEO`` and the like, as soon as the file's head is there.
        :raises InvalidArgument: ``FORM_INVALID``, ``FILE_MISSING``.
        """
        if self._busy >= self._settings.concurrent:
            raise ResourceExhausted("TOO_MANY_UPLOADS", "Too many uploads are under way; try again soon.")
        boundary = _boundary(request)
        limit_mb = expected.limit_mb or self._settings.max_size_mb
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit_mb * _MIB + _FORM_ROOM:
            raise _too_large(limit_mb)
        self._busy += 1
        try:
            with (
                UPLOADS_IN_FLIGHT.track_inprogress(),
                tempfile.TemporaryFile(dir=self._settings.spool_dir or None, buffering=0) as file,
            ):
                form = Form(cast(BinaryIO, file))
                await self._read(request, _Parts(form, boundary, expected), limit_mb)
                yield form
        finally:
            self._busy -= 1

    async def _read(self, request: Request, parts: _Parts, limit_mb: int) -> None:
        form = parts.form
        chunks = request.stream().__aiter__()
        more = True
        while more:
            try:
                async with asyncio.timeout(self._settings.idle_timeout_s):
                    chunk = await anext(chunks, b"")
            except TimeoutError:
                raise DeadlineExceeded("UPLOAD_STALLED", "The upload stopped coming.") from None
            more = bool(chunk)
            UPLOAD_BYTES.inc(len(chunk))
            parts.feed(chunk)
            if form.size > limit_mb * _MIB:
                raise _too_large(limit_mb)
            if len(parts.pending) >= _FLUSH or not more:
                await asyncio.to_thread(parts.flush)
        parts.finish()

    async def put(self, form: Form, created: asset_pb2.CreateUploadResponse) -> list[tuple[int, str]]:
        """Send a file to where ingest says; answers with the parts' numbers and ETags, none for a single PUT.

        :raises Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        if not created.parts:
            await self._put(created.upload_url, dict(created.headers), form.file, 0, form.size)
            return []
        done = []
        for position, part in enumerate(created.parts):
            start = position * created.part_size
            length = min(created.part_size, form.size - start)
            done.append((part.part_number, await self._put(part.url, {}, form.file, start, length)))
        return done

    async def _put(self, url: str, headers: dict[str, str], file: BinaryIO, start: int, length: int) -> str:
        def send() -> str:
            body = _Window(file, start, length)
            try:
                response = self._pool.request(
                    "PUT", url, body=cast(Any, body), headers=headers | {"Content-Length": str(length)}
                )
            except urllib3.exceptions.HTTPError:
                raise Unavailable("STORAGE_UNAVAILABLE", "The object store cannot be reached.") from None
            if response.status != 200:
                raise Unavailable("STORAGE_UNAVAILABLE", "The object store did not take the upload.")
            return str(response.headers.get("ETag", "")).strip('"')

        return await asyncio.to_thread(send)


class _Window:
    """A stretch of a file, as a file to read once."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        file.seek(start)
        self._file = file
        self._left = length

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted) if wanted else b""
        self._left -= len(data)
        return data


def _too_large(limit_mb: int) -> TooLarge:
    return TooLarge("FILE_TOO_LARGE", f"Files may have at most {limit_mb} MB.", limit_bytes=limit_mb * _MIB)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("FORM_EXPECTED", "The body must be multipart/form-data.", field="Content-Type")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise InvalidArgument("FORM_INVALID", "The form names no boundary.", field="Content-Type")
    return boundary


class _Parts:
    """The parser's callbacks: the file's bytes go to ``pending``, fields into the form."""

    def __init__(self, form: Form, boundary: bytes, expected: Expected) -> None:
        self.form = form
        self._expected = expected
        self.pending = bytearray()
        self._head = bytearray()
        self._recognised = False
        self._ended = False
        self._name = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field = ""
        self._text = bytearray()
        self._is_file = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_end": self._end,
            },
            max_header_count=16,
            max_header_size=8192,
        )

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise InvalidArgument("FORM_INVALID", "The form cannot be read.") from None

    def flush(self) -> None:
        """Write what is pending; blocks."""
        view = memoryview(self.pending)
        while view:
            view = view[self.form.file.write(view) :]
        view.release()
        self.pending.clear()

    def finish(self) -> None:
        if not self._ended:
            raise InvalidArgument("FORM_INVALID", "The form ends before its last boundary.")
        if not self.form.filename:
            raise InvalidArgument("FILE_MISSING", "The form holds no file.", field=self._expected.field)

    def _part_begin(self) -> None:
        self._headers = {}
        self._text.clear()

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        kind = self._headers.get(b"content-type", b"application/octet-stream").decode("ascii", "replace")
        wanted = self._expected
        # Browsers send a Blob, such as one of JSON, as a file.
        is_field = kind.partition(";")[0].strip().lower() in _FIELD_TYPES
        self._is_file = filename is not None and (self._field == wanted.field or not is_field)
        if filename is None or not self._is_file:
            return
        if self._field != wanted.field or self.form.filename:
            raise InvalidArgument("FORM_INVALID", f"The form takes one file, {wanted.field}.", field=self._field)
        self.form.filename = filename.decode("utf-8", "replace") or "upload"
        self.form.content_type = kind
        if wanted.suffixes and not self.form.filename.lower().endswith(wanted.suffixes):
            raise UnsupportedMedia(
                "UNSUPPORTED_CONTAINER", f"The file must be one of {', '.join(wanted.suffixes)}.", field=self._field
            )

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if not self._is_file:
            self._text += piece
            if len(self._text) > _MOST_FIELD_BYTES:
                raise TooLarge("FIELD_TOO_LARGE", "A field of the form is too long.", field=self._field)
            return
        self.form.size += len(piece)
        self.pending += piece
        if not self._recognised:
            self._head += piece[: _HEAD - len(self._head)]
            if len(self._head) == _HEAD:
                self._recognise()

    def _recognise(self) -> None:
        self._recognised = True
        if self._expected.check is not None:
            self._expected.check(io.BytesIO(self._head))

    def _part_end(self) -> None:
        if self._is_file:
            if not self._recognised:
                self._recognise()
            return
        if len(self.form.fields) >= _MOST_FIELDS:
            raise InvalidArgument("FORM_INVALID", "The form has too many fields.")
        self.form.fields[self._field] = self._text.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True
