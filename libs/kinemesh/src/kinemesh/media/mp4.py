"""MP4 files for browsers: their index stands at the front, so that they start before all of them is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Protocol

import av
from av.container import OutputContainer

_BUFFER_BYTES = 256 << 10


class Rereadable(Protocol):
    """A seekable file that is read again while it is written, since its contents make room for the index."""

    def write(self, data: bytes, /) -> int: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self, /) -> int: ...

    def flush(self) -> None: ...

    def reopened(self) -> Any:
        """What has been written up to now, as a file of its own."""


Output = str | os.PathLike[str] | Rereadable
"""A path, or an empty file."""


@contextmanager
def open_mp4(out: Output, time_base: Fraction) -> Iterator[OutputContainer]:
    """An MP4 to write packets to, whose index stands at the front (faststart). The same packets give the same bytes.

    It counts in the source's own ticks, also in its edit list, so that times stay exact.

    :param time_base: seconds per tick of the video.
    """
    scale = time_base.denominator
    while scale < 10_000:
        scale *= 2
    options = {
        "movflags": "+faststart",
        "fflags": "+bitexact",
        **{"video_track_timescale": str(scale), "movie_timescale": str(scale)},
    }
    if isinstance(out, str | os.PathLike):
        with av.open(os.fspath(out), "w", format="mp4", options=options) as container:
            yield container
        return

    def again(*_: object) -> Any:  # libav reads what it has written, to move it
        return out.reopened()

    try:
        with av.open(out, "w", format="mp4", options=options, buffer_size=_BUFFER_BYTES, io_open=again) as container:
            yield container
    finally:
        out.flush()
