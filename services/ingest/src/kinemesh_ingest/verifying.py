"""Looking at an upload once its bytes are there: its size, its checksum, what it holds; one look at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from kinemesh.errors import InvalidArgument
from kinemesh.pipelining import in_thread
from kinemesh.positioned import PositionedFile
from kinemesh.storage.range_reader import MIB
from kinemesh.storage.store import ObjectStore
from kinemesh_ingest.catalogue.tables import AnyRow

_AT_ONCE = 4
_STEP = 128 * MIB
_BLOCK = 8 * MIB


class Checks:
    """Checks that are under way. A caller who gives up waiting, and asks again, finds the check further on."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[AnyRow]] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def join(self, asset_id: str, check: Callable[[], Coroutine[Any, Any, AnyRow]]) -> AnyRow:
        """What the check of an asset comes to; begins it unless it runs."""
        running = self._running.get(asset_id)
        if running is None:
            running = self._running[asset_id] = asyncio.create_task(self._in_turn(check))
            running.add_done_callback(lambda done: self._ended(asset_id, done))
        return await asyncio.shield(running)

    async def close(self) -> None:
        """End all checks; who waits for one is told that it was cancelled."""
        running = list(self._running.values())
        for check in running:
            check.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _in_turn(self, check: Callable[[], Coroutine[Any, Any, AnyRow]]) -> AnyRow:
        async with self._at_once:
            return await check()

    def _ended(self, asset_id: str, done: asyncio.Task[AnyRow]) -> None:
        self._running.pop(asset_id, None)
        if not done.cancelled():
            done.exception()  # asking tells asyncio that somebody has seen it


async def require_checksum(store: ObjectStore, key: str, sha256: str, note: Callable[[int], Awaitable[None]]) -> None:
    """Read an object from end to end, holding a few blocks of it.

    :param sha256: that it must have, in lower-case hexadecimal digits.
    :param note: told how many bytes have been read, now and then.
    :raises InvalidArgument: ``CHECKSUM_MISMATCH``.
    """
    reader = await in_thread(lambda: store.open_range(key, block_bytes=_BLOCK, cached_blocks=1))
    digest = hashlib.sha256()
    done = 0
    try:
        while step := await in_thread(_take, reader, digest):
            done += step
            await note(done)
    finally:
        reader.close()
    if digest.hexdigest() != sha256:
        raise InvalidArgument(
            "CHECKSUM_MISMATCH",
            "The uploaded bytes have another SHA-256 than was announced.",
            announced=sha256,
            uploaded=digest.hexdigest(),
        )


def _take(reader: PositionedFile, digest: hashlib._Hash) -> int:
    """Feed the next bytes, :data:`_STEP` at most, and tell how many."""
    taken = 0
    while taken < _STEP and (data := reader.read(MIB)):
        digest.update(data)
        taken += len(data)
    return taken
