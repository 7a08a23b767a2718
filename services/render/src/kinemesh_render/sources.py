"""Files in the store that a thread reads, and that can be taken from it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, cast

from kinemesh.errors import Cancelled
from kinemesh.storage import ObjectStore


class Reading:
    """A file that can be stopped from another thread, and tells how far it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._stopped = False

    def read(self, size: int = -1, /) -> bytes:
        _check(stopped=self._stopped)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self, /) -> int:
        return self._file.tell()

    @property
    def fraction(self) -> float:
        return self.tell() / max(1, self._size)

    def stop(self) -> None:
        """Let the next read raise."""
        self._stopped = True


class Parts(Sequence[BinaryIO]):
    """Parts in the store, each opened when it is reached and closed when the next is: only one is held in memory."""

    def __init__(self, store: ObjectStore, names: list[str]) -> None:
        self._store = store
        self._names = names
        self._reader: tuple[int, BinaryIO] | None = None
        self._stopped = False
        self._opened = 0

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> BinaryIO:  # type: ignore[override]
        _check(stopped=self._stopped)
        if self._reader is None or self._reader[0] != number:
            name = self._names[number]
            self._close()
            self._reader = number, cast(BinaryIO, self._store.open_range(name))
            self._opened = number + 1
        return self._reader[1]

    @property
    def fraction(self) -> float:
        return self._opened / max(1, len(self))

    def stop(self) -> None:
        """Let the next access raise."""
        self._stopped = True

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader[1].close()
            self._reader = None


def _check(*, stopped: bool) -> None:
    if stopped:
        raise Cancelled("CANCELLED", "The work was cancelled.")
