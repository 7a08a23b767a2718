"""Ways to ask a server how it is. Each answers within a second or two and never raises for a plain "no"."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[bool]]
ASK_S = 2.0


def http_ok(host: str, port: int, path: str) -> Check:
    """Ready once ``GET path`` answers 200."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode()

    async def ask() -> bool:
        try:
            async with asyncio.timeout(ASK_S):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(request)
                    await writer.drain()
                    status = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return status.split()[1:2] == [b"200"]

    return ask
