"""Hundreds of WebSocket clients in one process, so cheap that they are not what a measurement measures."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

_STEP: Final = b'{"type":"tracking_update"'
_INDEX: Final = b'"global_frame_index":'
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10


@dataclass(slots=True, eq=False)
class Watcher(asyncio.Protocol):
    """One client of ``/ws/tracking/…``. It does not parse messages, but looks for the number of the step in them.

    :ivar steps: how many tracking updates came.
    :ivar in_order: whether each followed the one before.
    :ivar code: with which the server closed; 0 if it did not.
    """

    stalled: bool
    steps: int = 0
    in_order: bool = True
    code: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _data: bytearray = field(default_factory=bytearray)
    _open: bool = False
    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._open:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(head.decode("latin-1"))
            self._open, self._data = True, rest
            if self.stalled and self._transport is not None:
                self._transport.pause_reading()
        self._read_frames()

    def _read_frames(self) -> None:
        data, at = self._data, 0
        while len(data) - at >= 2:
            length, begin = data[at + 1], at + 2
            if length >= 126:
                width = 2 if length == 126 else 8
                if len(data) < begin + width:
                    break
                length = int.from_bytes(data[begin : begin + width], "big")
                begin += width
            if len(data) < begin + length:
                break
            kind = data[at] & 0x0F
            if kind == _PING:
                self._answer(_PONG, data[begin : begin + length])
            elif kind == _CLOSE:
                self.code = int.from_bytes(data[begin : begin + 2], "big")
                self._answer(_CLOSE, data[begin : begin + length])
            elif data.startswith(_STEP, begin):
                number = data.index(_INDEX, begin) + len(_INDEX)
                self.in_order &= int(data[number : data.index(b",", number)]) == self.steps
                self.steps += 1
            at = begin + length
        del data[:at]

    def _answer(self, kind: int, payload: bytes | bytearray) -> None:
        if self._transport is not None:
            # What a client sends is masked; a mask of zeros changes nothing.
            self._transport.write(bytes((0x80 | kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed.set()

    def leave(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


async def watchers(url: str, path: str, count: int, stalled: int = 0) -> Sequence[Watcher]:
    """Connect ``count`` clients to a gateway; the first ``stalled`` of them never read what they are sent."""
    where = urlsplit(url)
    key = base64.b64encode(bytes(16)).decode()
    hello = (
        f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    found = [Watcher(number < stalled) for number in range(count)]
    for watcher in found:
        transport, _ = await asyncio.get_running_loop().create_connection(
            partial(_itself, watcher), str(where.hostname), where.port or 80
        )
        transport.write(hello.encode())
    return found


def _itself(watcher: Watcher) -> Watcher:
    return watcher
