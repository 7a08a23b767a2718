"""Inside a confined child: it does what its parent asks for, one call after the other, until the parent hangs up."""

from __future__ import annotations

import errno
import importlib
import io
import mmap
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from kinemesh.confined.messages import Gone, Message, receive, send
from kinemesh.errors import KinemeshError

OUT_OF_MEMORY: Final = 77
"""The exit status of a child that could not even say so."""

_BUFFER_BYTES: Final = 64 << 10
_MOST_TRACE: Final = 4000


@dataclass(slots=True)
class Call:
    """What a child is asked to do, and all that it has for it.

    :ivar arguments: of the function.
    :ivar data: bytes that came along.
    :ivar source: a file that the parent reads for us, if there is one.
    :ivar shared: memory that the parent sees too, if there is any.
    """

    arguments: dict[str, Any]
    data: bytes
    source: io.BufferedIOBase | None
    shared: mmap.mmap | None
    _connection: socket.socket
    _room: list[int] = field(default_factory=lambda: [0])

    def give(self, **facts: Any) -> None:
        """Hand an item over."""
        send(self._connection, {"item": facts})

    def await_room(self) -> None:
        """Wait until the parent has taken an item."""
        while not self._room[0]:
            _heard(self._connection, self._room)
        self._room[0] -= 1


Work = Callable[[Call], tuple[dict[str, Any], bytes]]
"""Does a call: answers with facts and bytes."""


def serve(connection: socket.socket) -> None:
    """Do calls until the parent hangs up."""
    while True:
        try:
            request = receive(connection, takes_descriptors=True)
        except Gone:
            return
        try:
            _do(connection, request)
        except Gone:
            return


def _do(connection: socket.socket, request: Message) -> None:
    try:
        facts, data = _answer(connection, request)
    except Gone:
        raise
    except KinemeshError as error:
        refusal = {"kind": type(error).__name__, "reason": error.reason, "message": error.message}
        send(connection, {"refused": {**refusal, "metadata": error.metadata}})
    except Exception as error:
        if is_memory(error):
            raise MemoryError from error
        send(connection, {"failed": traceback.format_exc()[-_MOST_TRACE:]})
    else:
        send(connection, {"done": facts}, data)


def _answer(connection: socket.socket, request: Message) -> tuple[dict[str, Any], bytes]:
    module, _, name = str(request.facts["work"]).partition(":")
    work: Work = getattr(importlib.import_module(module), name)
    room = [0]
    source = None
    if (size := request.facts["size"]) is not None:
        source = io.BufferedReader(_Remote(connection, int(size), room), _BUFFER_BYTES)
    shared = None
    if request.descriptors:
        (descriptor,) = request.descriptors
        shared = mmap.mmap(descriptor, int(request.facts["shared"]))
        os.close(descriptor)
    call = Call(request.facts["arguments"], request.data, source, shared, connection, room)
    if shared is None:
        return work(call)
    with closing(shared):
        return work(call)


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in whichever way."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _heard(connection: socket.socket, room: list[int]) -> Message | None:
    """The next message, or None if it only says that the parent has taken an item."""
    message = receive(connection)
    if "taken" in message.facts:
        room[0] += 1
        return None
    return message


class _Remote(io.RawIOBase):
    """A file of the parent's."""

    def __init__(self, connection: socket.socket, size: int, room: list[int]) -> None:
        super().__init__()
        self._connection = connection
        self._size = size
        self._room = room
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence] + offset
        if position < 0:
            raise ValueError("seek before the start")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._position)
        if wanted <= 0:
            return 0
        send(self._connection, {"read": [self._position, wanted]})
        while (message := _heard(self._connection, self._room)) is None:
            pass
        view[: len(message.data)] = message.data
        self._position += len(message.data)
        return len(message.data)
