"""Uploads through the API, for clients that cannot reach storage: in constant memory whatever their size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from kinemesh.asset.v1 import asset_pb2
from kinemesh.errors import DeadlineExceeded, ResourceExhausted, TooLarge
from kinemesh_gateway.metrics import UPLOAD_BYTES, UPLOADS_IN_FLIGHT
from kinemesh_gateway.rest.context import Caller
from kinemesh_gateway.rest.incoming import Incoming
from kinemesh_gateway.rest.multipart import FORM_ROOM, Expected, Form, FormParser
from kinemesh_gateway.settings import UploadSettings

_MIB = 1024 * 1024
_STEP = 1 * _MIB
_A_VIDEO = Expected()


@dataclass(frozen=True, slots=True)
class Received:
    """A form whose file is on its way to storage."""

    form: Form
    incoming: Incoming

    @property
    def fields(self) -> dict[str, str]:
        """Texts of the form's other fields, by name."""
        return self.form.fields

    async def asset(self) -> asset_pb2.Asset:
        """The file as a checked asset."""
        return await self.incoming.finish()


class Uploader:
    """Takes forms in, a few at a time."""

    def __init__(self, settings: UploadSettings) -> None:
        self._settings = settings
        self._busy = 0

    @asynccontextmanager
    async def receive(
        self, request: Request, call: Caller, expected: Expected = _A_VIDEO, kind: str = "VIDEO"
    ) -> AsyncIterator[Received]:
        """Read a multipart form, and send its file on to storage as it comes.

        The asset stays only if the context ends without an error: nobody else knows of it.

        :param kind: of the asset that the file becomes.
        :raises ResourceExhausted: ``TOO_MANY_UPLOADS``, ``QUOTA_EXCEEDED``.
        :raises TooLarge: ``FILE_TOO_LARGE``, as soon as that is known.
        :raises UnsupportedMedia: ``FORM_EXPECTED``, ``NOT_A_VIDEO`` and the like, as soon as the file's head is there.
        :raises InvalidArgument: ``FORM_INVALID``, ``FILE_MISSING``.
        :raises DeadlineExceeded: ``UPLOAD_STALLED``.
        """
        form = Form()
        incoming = Incoming(call, form, kind)
        with self._place(request, expected) as limit_mb:
            try:
                await self._read(request, form, expected, limit_mb, incoming.take)
                yield Received(form, incoming)
            except BaseException:
                await incoming.drop()
                raise

    async def read(self, request: Request, expected: Expected) -> tuple[Form, bytes]:
        """A multipart form and its file, in memory; ``expected`` limits how much that may be.

        :raises KinemeshError: as :meth:`receive`.
        """
        form, data = Form(), bytearray()

        async def keep(more: bytearray) -> None:
            data.extend(more)

        with self._place(request, expected) as limit_mb:
            await self._read(request, form, expected, limit_mb, keep)
        return form, bytes(data)

    @contextmanager
    def _place(self, request: Request, expected: Expected) -> Iterator[int]:
        """One of the places for uploads; answers with how many MB the file may have."""
        if self._busy >= self._settings.concurrent:
            raise ResourceExhausted("TOO_MANY_UPLOADS", "Too many uploads are under way; try again soon.")
        limit_mb = expected.limit_mb or self._settings.max_size_mb
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit_mb * _MIB + FORM_ROOM:
            raise _too_large(limit_mb)
        self._busy += 1
        try:
            with UPLOADS_IN_FLIGHT.track_inprogress():
                yield limit_mb
        finally:
            self._busy -= 1

    async def _read(
        self,
        request: Request,
        form: Form,
        expected: Expected,
        limit_mb: int,
        take: Callable[[bytearray], Awaitable[None]],
    ) -> None:
        parser = FormParser(form, request.headers.get("content-type", ""), expected)
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
            parser.feed(chunk)
            if form.size > limit_mb * _MIB:
                raise _too_large(limit_mb)
            if parser.pending >= _STEP or not more:
                await take(parser.take())
        parser.finish()


def _too_large(limit_mb: int) -> TooLarge:
    return TooLarge("FILE_TOO_LARGE", f"Files may have at most {limit_mb} MB.", limit_bytes=limit_mb * _MIB)
