"""A file made of reading, and maybe writing, at positions."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class PositionedFile(io.RawIOBase):
    """Bytes that lie elsewhere, as a seekable file.

    :param size: bytes that it has; writing beyond makes it longer.
    :param read_at: returns up to so many bytes from a position within the file on; none if it has become shorter.
    :param write_at: writes bytes at a position, all of them; None makes the file readable only.
    :param on_close: called when the file is closed.
    """

    def __init__(
        self,
        size: int,
        read_at: Callable[[int, int], Buffer],
        *,
        write_at: Callable[[int, memoryview], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self._read_at = read_at
        self._write_at = write_at
        self._on_close = on_close
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self._write_at is not None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        if self.closed:
            raise ValueError("read of a closed file")
        view = memoryview(buffer).cast("B")
        done = 0
        while (wanted := min(len(view) - done, self.size - self._position)) > 0:
            part = memoryview(self._read_at(self._position, wanted))
            if not part:
                break
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done

    def write(self, data: Buffer) -> int:
        if self.closed or self._write_at is None:
            raise ValueError("write to a file that is closed or may only be read")
        view = memoryview(data).cast("B")
        self._write_at(self._position, view)
        self._position += len(view)
        self.size = max(self.size, self._position)
        return len(view)

    def close(self) -> None:
        if self._on_close is not None and not self.closed:
            self._on_close()
        super().close()
