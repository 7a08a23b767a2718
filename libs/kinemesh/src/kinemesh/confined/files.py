"""Files that a parent reads and writes for its child. What the child wishes is checked, for it must not be believed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kinemesh.confined.messages import Message

_MOST_READ: Final = 8 << 20
_MOST_PASSES: Final = 3


class BinaryFile(Protocol):
    """What a parent reads for a child."""

    def read(self, size: int = -1, /) -> bytes | None: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class WritableFile(BinaryFile, Protocol):
    """What it also writes for it."""

    def write(self, data: bytes, /) -> int: ...


class Implausible(Exception):
    """The other side says what it never would, were it as we made it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file for the child to write.

    :ivar file: empty; its ``write`` writes all.
    :ivar beside_bytes: how long it may become beside twice the bytes of the sources that the child has opened.
    """

    file: WritableFile
    beside_bytes: int


class Files:
    """The files of one call.

    :param sources: each is asked for whenever it is wanted, so that they may be opened late, and one at a time.
    """

    def __init__(self, sources: Sequence[BinaryFile], target: Target | None) -> None:
        self._sources = sources
        self._target = target
        self._sizes: dict[int, int] = {}
        self._length = 0
        self._written = 0

    def serve(self, wish: Message) -> tuple[dict[str, Any], bytes] | None:
        """The answer to a message, if it wants one.

        :raises Implausible: it is nothing that a child may wish.
        """
        match wish.facts:
            case {"size": int(number)} if 0 <= number < len(self._sources):
                self._sizes[number] = self._sources[number].seek(0, os.SEEK_END)
                return {"size": self._sizes[number]}, b""
            case {"read": [int(number), int(offset), int(length)]} if number in self._sizes:
                return {}, _read(self._sources[number], self._sizes[number], offset, length)
            case {"read": [None, int(offset), int(length)]} if self._target is not None:
                return {}, _read(self._target.file, self._length, offset, length)
            case {"write": int(offset)} if self._target is not None:
                self._write(self._target, offset, wish.data)
                return None
        raise Implausible

    def _write(self, target: Target, offset: int, data: bytes) -> None:
        end = offset + len(data)
        most = 2 * sum(self._sizes.values()) + target.beside_bytes
        self._written += len(data)
        if offset < 0 or end > most or self._written > _MOST_PASSES * most:
            raise Implausible
        target.file.seek(offset)
        target.file.write(data)
        self._length = max(self._length, end)


def _read(file: BinaryFile, size: int, offset: int, length: int) -> bytes:
    if not 0 <= offset <= size or length < 0:
        raise Implausible
    file.seek(offset)
    return file.read(min(length, _MOST_READ)) or b""
