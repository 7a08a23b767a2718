"""A remote object as a seekable file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future

from kinemesh.positioned import PositionedFile

MIB = 1024 * 1024


def read_ranges(
    fetch: Callable[[int, int], bytes],
    size: int,
    *,
    executor: Executor | None = None,
    block_bytes: int = 2 * MIB,
    cached_blocks: int = 6,
) -> PositionedFile:
    """Read an object by HTTP ranges, in aligned blocks.

    PyAV opens the file like any other. A demuxer reads a few kilobytes at a time, mostly forward, with a jump to the
    end for the index of an MP4; so blocks are large, the last few stay, and on forward reading the next one is fetched
    ahead. It holds at most ``(cached_blocks + 1) * block_bytes``. Its calls block: use it in a worker thread, one
    thread at a time.

    :param fetch: returns the bytes ``[start, end)``; raises an error of ``kinemesh.errors``.
    :param size: bytes of the object.
    :param executor: runs the fetches ahead; None fetches on demand only.
    """
    blocks = Blocks(fetch, size, executor, block_bytes, cached_blocks)
    return PositionedFile(size, blocks.read_at, on_close=blocks.close)


class Blocks:
    """The blocks of an object that were read last."""

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size: int,
        executor: Executor | None,
        block_bytes: int,
        cached_blocks: int,
    ) -> None:
        if block_bytes < 1 or cached_blocks < 1:
            raise ValueError("block_bytes and cached_blocks must be positive")
        self._fetch = fetch
        self._size = size
        self._executor = executor
        self._block_bytes = block_bytes
        self._cached_blocks = cached_blocks
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._ahead: tuple[int, Future[bytes]] | None = None

    def read_at(self, position: int, most: int) -> memoryview:
        """Up to ``most`` bytes from ``position`` on: those that its block holds."""
        index, offset = divmod(position, self._block_bytes)
        return memoryview(self._block(index))[offset : offset + most]

    def close(self) -> None:
        """Forget all blocks."""
        if self._ahead is not None:
            self._ahead[1].cancel()
            self._ahead = None
        self._cache.clear()

    def _block(self, index: int) -> bytes:
        block = self._cache.get(index)
        if block is not None:
            self._cache.move_to_end(index)
            return block
        forward = index == 0 or index - 1 in self._cache
        block = self._take_ahead(index)
        if block is None:
            block = self._load(index)
        self._cache[index] = block
        while len(self._cache) > self._cached_blocks:
            self._cache.popitem(last=False)
        if forward:
            self._fetch_ahead(index + 1)
        return block

    def _load(self, index: int) -> bytes:
        start = index * self._block_bytes
        return self._fetch(start, min(start + self._block_bytes, self._size))

    def _take_ahead(self, index: int) -> bytes | None:
        if self._ahead is None:
            return None
        ahead, future = self._ahead
        self._ahead = None
        if ahead != index or future.cancel():
            future.cancel()
            return None
        return future.result()

    def _fetch_ahead(self, index: int) -> None:
        if self._executor is None or self._ahead is not None or index in self._cache:
            return
        if index * self._block_bytes < self._size:
            self._ahead = (index, self._executor.submit(self._load, index))
