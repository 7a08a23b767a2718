"""Sending the same bytes to many WebSockets.

What a server sends is not masked (RFC 6455, section 5.1), so that a message has the same bytes for every client. They
are made once, and many messages leave with one call to the system.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

_FRAMES = "kinemesh.frames"


def whole(frames: bytes) -> dict[str, Any]:
    """The ASGI message that sends frames as they are."""
    return {"type": "websocket.send", _FRAMES: frames}


class SharedFramesProtocol(WebSocketsSansIOProtocol):
    """The server's own, which takes such messages as well. Compression must be off."""

    async def send(self, message: Any) -> None:
        frames = message.get(_FRAMES)
        if frames is None:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        self.transport.write(frames)
