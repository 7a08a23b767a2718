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
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kinemesh.confined.messages import Gone, Message, receive, send
from kinemesh.errors import KinemeshError
from kinemesh.positioned import PositionedFile

OUT_OF_MEMORY: Final = 77
"""The exit status of a child that could not even say so."""

_READ_BYTES: Final = 64 << 10
_WRITE_BYTES: Final = 1 << 20
_MOST_TRACE: Final = 4000


@dataclass(slots=True)
class Call:
    """What a child is asked to do, and all that it has for it.

    :ivar arguments: of the function.
    :ivar data: bytes that came along.
    :ivar shared: memory that the parent sees too, if there is any.
    """

    arguments: dict[str, Any]
    data: bytes
    shared: mmap.mmap | None
    _connection: socket.socket
    _room: int = 0

    def source(self, number: int = 0) -> io.BufferedReader:
        """One of the files that the parent reads for us, from its start."""
        size = int(self._ask({"size": number}).facts["size"])
        return io.BufferedReader(PositionedFile(size, partial(self._read_at, number)), _READ_BYTES)

    def target(self) -> Target:
        """The file that the parent writes for us, empty yet."""
        return Target(partial(self._read_at, None), self._write_at)

    def give(self, **facts: Any) -> None:
        """Hand an item over."""
        send(self._connection, {"item": facts})

    def await_room(self) -> None:
        """Wait until the parent has taken an item."""
        while not self._room:
            self._heard()
        self._room -= 1

    def _ask(self, wish: dict[str, Any]) -> Message:
        send(self._connection, wish)
        while (message := self._heard()) is None:
            pass
        return message

    def _heard(self) -> Message | None:
        """The next message, or None if it only says that the parent has taken an item."""
        message = receive(self._connection)
        if "taken" in message.facts:
            self._room += 1
            return None
        return message

    def _read_at(self, file: int | None, position: int, most: int) -> bytes:
        return self._ask({"read": [file, position, most]}).data

    def _write_at(self, position: int, data: memoryview) -> None:
        send(self._connection, {"write": position}, data)


class Target:
    """A file of the parent's that is written, and may be read again meanwhile. Nobody answers what is written."""

    def __init__(self, read_at: Callable[[int, int], bytes], write_at: Callable[[int, memoryview], None]) -> None:
        self._read_at = read_at
        self._raw = PositionedFile(0, read_at, write_at=write_at)
        file = io.BufferedWriter(self._raw, _WRITE_BYTES)
        self.write, self.seek, self.tell, self.flush = file.write, file.seek, file.tell, file.flush

    def reopened(self) -> io.BufferedReader:
        """What has been written up to now, from its start."""
        self.flush()
        return io.BufferedReader(PositionedFile(self._raw.size, self._read_at), _READ_BYTES)


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
    shared = None
    if request.descriptors:
        (descriptor,) = request.descriptors
        shared = mmap.mmap(descriptor, int(request.facts["shared"]))
        os.close(descriptor)
    call = Call(request.facts["arguments"], request.data, shared, connection)
    if shared is None:
        return work(call)
    with closing(shared):
        return work(call)


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in whichever way."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
