"""Waiting for a condition that nothing announces, with a generous deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_POLL_S = 0.05


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    """Return once ``condition`` holds.

    :raises TimeoutError: when it does not hold in time.
    """
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(_POLL_S)
