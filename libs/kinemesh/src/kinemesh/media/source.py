"""Where media comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class BinaryFile(Protocol):
    """A seekable binary file: what ``open(path, "rb")``, ``io.BytesIO`` and a range reader over a network offer."""

    def read(self, size: int = -1, /) -> bytes | None: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self, /) -> int: ...


Source = str | os.PathLike[str] | BinaryFile
"""A path, or a seekable binary file, which is read from its start and left open."""


@contextmanager
def open_bytes(source: Source) -> Iterator[BinaryFile]:
    """The source as a file at its start. A path is closed afterwards, a file stays open."""
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb", buffering=0) as file:
            yield file
    else:
        source.seek(0)
        yield source


def read_up_to(file: BinaryFile, size: int) -> bytes:
    """``size`` bytes, fewer only at the end of the file. A raw file's own ``read`` may return fewer anywhere."""
    pieces = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
