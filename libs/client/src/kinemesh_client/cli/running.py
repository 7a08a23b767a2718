"""Running a command's coroutine, with signals that let it end in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_POLITE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Ctrl-C, or a polite request to end, reached the command, and it has cleared up."""


class Exit(Exception):
    """The command has said all it has to say and ends with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run(command: Coroutine[Any, Any, T]) -> T:
    """Run to the end. The first SIGINT, SIGTERM or SIGHUP cancels, so that everything is cleared up; a second kills.

    :raises Interrupted: after a signal.
    """
    interrupted = False

    async def guarded() -> T:
        nonlocal interrupted
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            for number in _POLITE:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)
            task.cancel()

        for number in _POLITE:
            loop.add_signal_handler(number, interrupt)
        return await command

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if interrupted:
            raise Interrupted from None
        raise
