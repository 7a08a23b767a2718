"""Memory of a process and its children, as the kernel counts it: asked for once, so that asking costs nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil


def peak_mb(pid: int) -> float:
    """Most MiB that a process and its children had resident; what they share counts for each."""
    total = 0
    for one in _family(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return round(total / 1024, 1)


def begin_peak(pid: int) -> None:
    """Let :func:`peak_mb` be that from now on (proc(5), ``clear_refs``)."""
    for one in _family(pid):
        with suppress(ProcessLookupError, FileNotFoundError):
            Path(f"/proc/{one}/clear_refs").write_text("5")


def _family(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []
