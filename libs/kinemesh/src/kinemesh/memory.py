"""What a process does with memory that it frees."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_MIB = 1024 * 1024

ALLOCATION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MALLOC_MMAP_THRESHOLD_": str(32 * _MIB),
        "MALLOC_TRIM_THRESHOLD_": str(256 * _MIB),
        "MALLOC_TOP_PAD_": str(16 * _MIB),
        "MALLOC_ARENA_MAX": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
)
"""Environment of a process that handles frames, for glibc and Arrow. It has to be there when the process starts:
libraries start threads as they are imported, and a thread gets an arena of its own that nothing takes away again.

A frame of video is several megabytes, which glibc maps anew each time by default; touching fresh pages costs more than
converting the frame does (4.5 instead of 6.5 ms to decode one of 1768×994). So freed memory is kept for the next frame.
One heap serves all: each arena, and Arrow's own allocator, would keep what its busiest moment needed, and
malloc_trim(3) leaves the top of all arenas but the first alone (70 MiB of a worker, and the reason that it crept up).
"""


def give_back_freed_memory() -> None:
    """Return what :data:`ALLOCATION` has kept to the system; the next frames ask for it anew. Takes some 10 ms.

    Without glibc nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
