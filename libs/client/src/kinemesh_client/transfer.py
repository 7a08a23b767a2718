"""Bytes to and from the mesh: uploads go to storage directly, in parts if they are large."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from kinemesh.errors import Aborted, InvalidArgument, KinemeshError
from kinemesh_client.answers import failure, unreachable

Progress = Callable[[int], None]
"""Told how many bytes have just been sent or received; a negative number takes back those of a failed attempt."""

Fetch = Callable[[str, Path, Progress], Awaitable[Path]]
"""Writes what a path of the API answers with to a file, whole or not at all, and returns its absolute path."""

_CHUNK: Final = 256 * 1024
_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.5
_AT_ONCE: Final = 4
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)

T = TypeVar("T")


def nothing(_: int) -> None:
    """No progress is wanted."""


def size_of(path: Path) -> int:
    """Size of a file in bytes.

    :raises InvalidArgument: ``FILE_NOT_FOUND``.
    """
    if not path.is_file():
        raise InvalidArgument("FILE_NOT_FOUND", f"There is no file {path}.", path=path)
    return path.stat().st_size


async def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""

    def read() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return await asyncio.to_thread(read)


async def send(path: Path, upload: Mapping[str, Any], size: int, progress: Progress) -> dict[int, str]:
    """Send a file, or those parts of it that are missing, to where the API said.

    :returns: ETags by the number of the part; a file in one piece is part 1.
    :raises KinemeshError: what storage answered, or that it did not. Parts that have arrived stay.
    """
    parts: Sequence[Mapping[str, Any]] = upload["parts"] or ()
    if upload["url"]:
        parts = [{"part_number": 1, "url": upload["url"]}]
    part_size = upload["part_size"] or size
    urls = [part["url"] for part in parts]
    # Certificates take longer to load than a small clip to send; where nothing is encrypted there are none to check.
    encrypted = any(url.startswith("https:") for url in urls)
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, verify=encrypted) as http:
        at_once = asyncio.Semaphore(_AT_ONCE)
        etags: dict[int, str] = {}

        async def send_part(part: Mapping[str, Any]) -> None:
            number = part["part_number"]
            start = (number - 1) * part_size
            length = min(part_size, size - start)
            async with at_once:
                etags[number] = await _put(http, part["url"], path, start, length, upload["headers"], progress)

        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(send_part(part))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return etags


async def receive(http: httpx.AsyncClient, url: str, size: int | None, target: Path, progress: Progress) -> Path:
    """Write what ``url`` answers with to ``target``, whole or not at all, and return its absolute path.

    :param size: that it must have; if None, that which the answer announces, which HTTP itself sees to.
    :raises KinemeshError: what the mesh answered, or ``DOWNLOAD_INCOMPLETE``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    try:
        await _attempts(lambda: _get(http, url, size, partial, progress))
        return partial.replace(target).resolve()
    finally:
        partial.unlink(missing_ok=True)


async def _put(
    http: httpx.AsyncClient,
    url: str,
    path: Path,
    start: int,
    length: int,
    headers: Mapping[str, str],
    progress: Progress,
) -> str:
    """PUT a range of a file and return the ETag."""

    async def attempt() -> str:
        with _counting(progress) as count:

            async def counted() -> AsyncIterator[bytes]:
                async for chunk in _read(path, start, length):
                    yield chunk
                    count(len(chunk))

            # Storage wants to know the length; without it httpx would send chunks, which S3 refuses.
            response = await http.put(url, content=counted(), headers={**headers, "Content-Length": str(length)})
            if not response.is_success:
                raise failure(response)
        return str(response.headers.get("ETag", ""))

    return await _attempts(attempt)


async def _get(http: httpx.AsyncClient, url: str, size: int | None, partial: Path, progress: Progress) -> None:
    received = 0
    with _counting(progress) as count:
        async with http.stream("GET", url, timeout=_TIMEOUT) as response:
            if not response.is_success:
                await response.aread()
                raise failure(response)
            with partial.open("wb") as file:
                async for chunk in response.aiter_bytes(_CHUNK):
                    await asyncio.to_thread(file.write, chunk)
                    received += len(chunk)
                    count(len(chunk))
        if size is not None and received != size:
            raise Aborted("DOWNLOAD_INCOMPLETE", f"{received} of {size} bytes arrived.")


@contextmanager
def _counting(progress: Progress) -> Iterator[Progress]:
    """Counts bytes, and takes them back if the attempt fails."""
    total = 0

    def count(some: int) -> None:
        nonlocal total
        total += some
        progress(some)

    try:
        yield count
    except BaseException:
        progress(-total)
        raise


async def _attempts(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try a few times while doing it again may help."""
    for tried in range(1, _ATTEMPTS + 1):
        try:
            return await attempt()
        except httpx.TransportError as error:
            if tried == _ATTEMPTS:
                raise unreachable(error, str(error.request.url.copy_with(query=None))) from None
        except KinemeshError as error:
            if tried == _ATTEMPTS or not error.retryable:
                raise
        await asyncio.sleep(tried * _PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


async def _read(path: Path, start: int, length: int) -> AsyncIterator[bytes]:
    """Chunks of a file.

    :raises InvalidArgument: ``FILE_CHANGED``, when it became shorter meanwhile.
    """
    with path.open("rb") as file:
        file.seek(start)
        while length:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, length))
            if not chunk:
                raise InvalidArgument("FILE_CHANGED", f"{path.name} became shorter while it was sent.")
            length -= len(chunk)
            yield chunk
