"""Work on frames that overlaps: each step runs in a thread while the next and the last have theirs.

PyAV and OpenCV let go of the interpreter's lock, so that decoding, drawing and encoding take place at the same time.
Steps hand on small batches and are at most one batch ahead of what follows them, which bounds memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, closing
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_BATCH_PIXELS = 4_000_000
_MOST_FRAMES = 8


def batch_size(width: int, height: int) -> int:
    """How many frames travel together: enough to hide the hand-over, few enough to be held several times."""
    return max(1, min(_MOST_FRAMES, _BATCH_PIXELS // (width * height)))


async def settled(work: Coroutine[Any, Any, T]) -> T:
    """Wait for something that cannot be interrupted; being cancelled takes effect when it has ended.

    So whoever cancels finds no thread still busy with files that are about to be removed.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    finally:
        await _ended(running)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run in a thread, to its end."""
    return await settled(asyncio.to_thread(function, *arguments))


async def batches(items: Generator[T, None, None], size: int) -> AsyncGenerator[list[T], None]:
    """The items of a blocking generator, ``size`` at a time, taken in a thread. Closes ``items``."""
    with closing(items):
        while batch := await in_thread(lambda: list(islice(items, size))):
            yield batch


async def ahead(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items; the next is already worked on while the last is being used. Closes ``source``."""
    async with aclosing(source):
        coming = asyncio.ensure_future(_next(source))
        try:
            while item := await coming:
                coming = asyncio.ensure_future(_next(source))
                yield item[0]
        finally:
            coming.cancel()
            await _ended(coming)


async def in_flight(
    source: AsyncGenerator[T, None], work: Callable[[T], Coroutine[Any, Any, R]], most: int
) -> AsyncGenerator[R, None]:
    """What ``work`` makes of each item, in their order, each as soon as it is there. Closes ``source``.

    Up to ``most`` items are taken and worked on at once. If ``source`` fails, what came before is still given out.
    """
    async with aclosing(source):
        running: deque[asyncio.Future[R]] = deque()
        coming: asyncio.Future[tuple[T] | None] | None = None
        more = True
        try:
            while more or running:
                if more and coming is None and len(running) < most:
                    coming = asyncio.ensure_future(_next(source))
                waiting: list[asyncio.Future[Any]] = list(running)[:1]
                if more and coming is not None:
                    waiting.append(coming)
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if more and coming is not None and coming.done():
                    more = coming.exception() is None and coming.result() is not None
                    if more and (item := coming.result()) is not None:
                        running.append(asyncio.ensure_future(work(item[0])))
                        coming = None
                if running and running[0].done():
                    yield await running.popleft()
            if coming is not None:
                await coming  # raises what ended the source
        finally:
            left: list[asyncio.Future[Any]] = [*running] if coming is None else [*running, coming]
            for one in left:
                one.cancel()
            for one in left:
                await _ended(one)


async def _next(source: AsyncGenerator[T, None]) -> tuple[T] | None:
    try:
        return (await anext(source),)
    except StopAsyncIteration:
        return None


async def _ended(task: asyncio.Future[Any]) -> None:
    """Wait for the end of a task, whatever becomes of it; being cancelled meanwhile takes effect afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()  # asking tells asyncio that somebody has seen it
    if cancelled is not None:
        raise cancelled
