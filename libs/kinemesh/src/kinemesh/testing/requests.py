"""What clients of streams send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any


async def nothing_until(over: asyncio.Event) -> AsyncIterator[Any]:
    """A stream of requests without any: what is written to a call that has been refused hides the reason from the
    asynchronous client."""
    nothing: tuple[Any, ...] = ()
    await over.wait()
    for request in nothing:
        yield request
