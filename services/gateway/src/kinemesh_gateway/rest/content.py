"""Objects as HTTP answers: ranges, validators, constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from kinemesh.errors import OutOfRange
from kinemesh.storage import ObjectStore
from kinemesh_gateway.domain.files import inline, safe_type
from kinemesh_gateway.domain.ranges import http_date, none_match, parse_range, range_applies
from kinemesh_gateway.rest.errors import error_response

CONTENT_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {"description": "The whole object.", "content": {"*/*": {}}},
    206: {"description": "The range that was asked for.", "content": {"*/*": {}}},
    304: {"description": "The client's copy is the current one."},
    416: {"description": "The range lies outside the object; `Content-Range` tells its size."},
}


async def serve_object(request: Request, store: ObjectStore, key: str, filename: str, content_type: str) -> Response:
    """Answer GET or HEAD with an object.

    :raises NotFound: ``OBJECT_NOT_FOUND``.
    """
    info = await store.stat(key)
    etag = f'"{info.etag}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Content-Disposition": inline(filename),
    }
    if info.modified is not None:
        headers["Last-Modified"] = http_date(info.modified)
    if not none_match(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = safe_type(content_type)
    headers["Content-Length"] = str(info.size)
    if request.method == "HEAD":
        return Response(status_code=200, headers=headers)
    wanted = None
    if range_applies(request.headers.get("if-range"), etag, info.modified):
        try:
            wanted = parse_range(request.headers.get("range"), info.size)
        except OutOfRange as error:
            response = error_response(error)
            response.headers["Content-Range"] = f"bytes */{info.size}"
            response.headers["Accept-Ranges"] = "bytes"
            return response
    if info.size == 0:
        return Response(status_code=200, headers=headers)
    start, end, status = 0, info.size, 200
    if wanted is not None:
        start, end, status = wanted.start, wanted.end, 206
        headers["Content-Range"] = wanted.content_range
        headers["Content-Length"] = str(wanted.length)
    chunks = store.stream(key, start, end, etag=info.etag)
    # Read before the headers are sent, so that an object that cannot be read still ends in a proper error.
    first = await anext(chunks, b"")
    return StreamingResponse(_chained(first, chunks), status, headers)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
