"""Steps overlap, are at most one batch ahead, and leave no thread at work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing

import pytest

from kinemesh.pipelining import ahead, batch_size, batches, in_flight, in_thread, settled
from kinemesh.testing.waiting import until


class Blocking:
    """A blocking source of numbers, as a decoder is, that a test lets go on one by one."""

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.count = count
        self.fails_at = fails_at
        self.allowed = threading.Semaphore(0)
        self.entered = threading.Event()
        self.taken = 0
        self.working = False
        self.closed = False

    def items(self) -> Generator[int, None, None]:
        try:
            for number in range(self.count):
                self.working = True
                self.entered.set()
                self.allowed.acquire()
                self.taken = number + 1
                self.working = False
                if number == self.fails_at:
                    raise OSError("the file is broken")
                yield number
        finally:
            self.closed = True
            self.working = False

    async def is_working(self) -> None:
        await asyncio.to_thread(self.entered.wait, 10)
        self.entered.clear()

    async def has_taken_four(self) -> bool:
        return self.taken >= 4

    def open_up(self) -> None:
        self.allowed.release(self.count + 1)


async def gather(source: AsyncGenerator[list[int], None]) -> list[list[int]]:
    async with aclosing(source):
        return [batch async for batch in source]


@pytest.mark.parametrize(("count", "size"), [(0, 3), (1, 3), (6, 3), (7, 3), (5, 1)])
async def test_all_items_come_once_and_in_order(count: int, size: int) -> None:
    source = Blocking(count)
    source.open_up()
    found = await gather(ahead(batches(source.items(), size)))
    assert [item for batch in found for item in batch] == list(range(count))
    assert all(len(batch) == size for batch in found[:-1])
    assert source.closed


@pytest.mark.parametrize(
    ("width", "height", "frames"), [(64, 64, 8), (1920, 1080, 1), (1000, 1000, 4), (30000, 30000, 1)]
)
def test_batches_hold_a_bounded_number_of_pixels(width: int, height: int, frames: int) -> None:
    assert batch_size(width, height) == frames


async def test_exactly_one_batch_is_made_ahead() -> None:
    source = Blocking(10)
    source.open_up()
    async with aclosing(ahead(batches(source.items(), 2))) as stream:
        assert await anext(stream) == [0, 1]
        await until(source.has_taken_four)
        # The batch in use and the next; a third would need somebody to ask for it.
        await asyncio.to_thread(lambda: None)
        assert source.taken == 4
    assert source.closed


async def test_an_error_of_the_source_arrives_after_what_came_before_it() -> None:
    source = Blocking(10, fails_at=4)
    source.open_up()
    async with aclosing(ahead(batches(source.items(), 2))) as stream:
        assert [await anext(stream), await anext(stream)] == [[0, 1], [2, 3]]
        with pytest.raises(OSError, match="broken"):
            await anext(stream)
    assert source.closed


async def test_an_error_of_the_reader_closes_the_source() -> None:
    source = Blocking(10)
    source.open_up()

    async def read() -> None:
        async with aclosing(ahead(batches(source.items(), 2))) as stream:
            async for _ in stream:
                raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await read()
    assert source.closed


@pytest.mark.parametrize("used", [0, 1, 2])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancelling_leaves_no_thread_at_work(used: int, times: int) -> None:
    source = Blocking(10)
    for _ in range(used):
        source.allowed.release()
    reached = asyncio.Event()

    async def read() -> None:
        async with aclosing(ahead(batches(source.items(), 1))) as stream:
            for _ in range(used):
                await anext(stream)
            reached.set()
            await anext(stream)

    reading = asyncio.create_task(read())
    await reached.wait()
    await source.is_working()
    for _ in range(times):
        reading.cancel()
        await asyncio.sleep(0)
        assert not reading.done()  # a thread is at work: it cannot be over
    source.open_up()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed
    assert not source.working


async def test_closing_in_the_middle_waits_for_the_thread_too() -> None:
    source = Blocking(10)
    source.allowed.release(1)
    stream = ahead(batches(source.items(), 1))
    assert await anext(stream) == [0]
    await source.is_working()
    closing = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    source.open_up()
    await closing
    assert source.closed


async def test_a_cancellation_takes_effect_once_the_work_has_ended() -> None:
    release, begun = threading.Event(), threading.Event()
    ended = []

    def work() -> int:
        begun.set()
        release.wait(10)
        ended.append(True)
        return 1

    running = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [True]


async def test_results_and_errors_pass() -> None:
    async def answer() -> int:
        return 42

    assert await settled(answer()) == 42
    assert await in_thread(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "seven")


async def numbers(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("most", [1, 3, 20])
async def test_work_in_flight_is_answered_in_order_and_bounded(most: int) -> None:
    running = 0
    peak = 0

    async def work(number: int) -> int:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        for _ in range((7 * number) % 5):  # later items are done sooner than earlier ones
            await asyncio.sleep(0)
        running -= 1
        return number * number

    answers = [answer async for answer in in_flight(numbers(10), work, most)]
    assert answers == [number * number for number in range(10)]
    assert peak <= most


async def test_a_failure_in_flight_ends_what_else_is_worked_on() -> None:
    ended = []
    busy = asyncio.Event()

    async def work(number: int) -> int:
        if number == 0:
            await busy.wait()
            raise OSError("the model is gone")
        try:
            if number == 2:
                busy.set()
            await asyncio.Event().wait()
        finally:
            ended.append(number)
        return number

    with pytest.raises(OSError, match="gone"):
        async for _ in in_flight(numbers(3), work, 3):
            pass
    assert sorted(ended) == [1, 2]


async def test_work_in_flight_is_given_out_though_nothing_more_comes() -> None:
    asked = asyncio.Event()

    async def talking() -> AsyncGenerator[int, None]:
        yield 1
        await asked.wait()
        yield 2

    answers = in_flight(talking(), squared, 3)
    assert await anext(answers) == 1
    asked.set()
    assert await anext(answers) == 4
    await answers.aclose()


async def test_what_came_before_a_failure_of_the_source_is_given_out() -> None:
    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise OSError("the file is broken")

    answers = in_flight(failing(), squared, 3)
    assert [await anext(answers), await anext(answers)] == [1, 4]
    with pytest.raises(OSError, match="broken"):
        await anext(answers)


async def test_leaving_work_in_flight_closes_a_source_that_waits() -> None:
    closed = asyncio.Event()

    async def waiting() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with aclosing(in_flight(waiting(), squared, 2)) as answers:
        assert await anext(answers) == 1
    assert closed.is_set()


async def squared(number: int) -> int:
    await asyncio.sleep(0)
    return number * number
