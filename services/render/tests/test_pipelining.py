"""Steps that overlap: in order, bounded, and gone when they are cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing

import pytest

from kinemesh.pipelining import ahead, batch_size, batches, in_thread


class Numbers:
    """Yields numbers, says how many it gave and whether it was closed, and waits where it is told to."""

    def __init__(self, count: int, *, pause_at: int | None = None) -> None:
        self.given = 0
        self.closed = False
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._count, self._pause_at = count, pause_at

    def __iter__(self) -> Generator[int, None, None]:
        try:
            for number in range(self._count):
                if number == self._pause_at:
                    self.reached.set()
                    assert self.go_on.wait(10)
                self.given += 1
                yield number
        finally:
            self.closed = True


async def collected(source: AsyncGenerator[list[int], None]) -> list[list[int]]:
    async with aclosing(source):
        return [batch async for batch in source]


async def test_everything_comes_once_and_in_order() -> None:
    numbers = Numbers(10)
    assert await collected(ahead(ahead(batches(iter(numbers), 4)))) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert numbers.closed


async def test_no_step_runs_far_ahead() -> None:
    numbers = Numbers(100)
    source = ahead(batches(iter(numbers), 2))
    async with aclosing(source):
        assert await anext(source) == [0, 1]
        for _ in range(50):
            await asyncio.sleep(0)
        await in_thread(lambda: None)
        assert numbers.given <= 6
    assert numbers.closed


async def test_an_error_reaches_the_end_and_closes_the_start() -> None:
    numbers = Numbers(100)

    async def failing(source: AsyncGenerator[list[int], None]) -> AsyncGenerator[list[int], None]:
        async with aclosing(source):
            async for batch in source:
                if batch[0] >= 4:
                    raise ValueError("broken")
                yield batch

    with pytest.raises(ValueError, match="broken"):
        await collected(ahead(failing(ahead(batches(iter(numbers), 2)))))
    assert numbers.closed


async def test_cancelling_waits_for_the_thread_and_leaves_nothing() -> None:
    numbers = Numbers(100, pause_at=7)
    running = asyncio.create_task(collected(ahead(ahead(batches(iter(numbers), 2)))))
    await asyncio.to_thread(numbers.reached.wait, 10)
    running.cancel()
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()  # the thread is still inside
    numbers.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert numbers.closed
    assert numbers.given < 12


def test_batches_shrink_with_the_picture() -> None:
    assert batch_size(320, 180) == 8
    assert batch_size(1280, 720) == 4
    assert batch_size(3840, 2160) == 1
    assert batch_size(16384, 16384) == 1
