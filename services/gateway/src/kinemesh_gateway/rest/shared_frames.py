"""Sending the same bytes to many WebSockets.

What a server sends is not masked (RFC 6455, section 5.1), so that a message has the same bytes for every client. They
are made once, and many messages leave with one call to the system.
"""

from __future__ import annotations

from asyncio import Task, TimerHandle
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

_FRAMES = "kinemesh.frames"
# Longer than the server waits for a client's answer to its closing.
_FLUSH_S = 20.0


def whole(frames: bytes) -> dict[str, Any]:
    """The ASGI message that sends frames as they are."""
    return {"type": "websocket.send", _FRAMES: frames}


class SharedFramesProtocol(WebSocketsSansIOProtocol):
    """The server's own, which takes such messages as well. Compression must be off.

    It does not keep a connection whose client takes nothing any more: closing waits until what was written before has
    been sent, which would be for ever.
    """

    _giving_up: TimerHandle | None = None

    def on_task_complete(self, task: Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._giving_up = self.loop.call_later(_FLUSH_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        frames = message.get(_FRAMES)
        if frames is None:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        self.transport.write(frames)
