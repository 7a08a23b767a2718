"""Memory of a process and its children, as the kernel counts it: asked for once, so that asking costs nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

NOW = "VmRSS"
PEAK = "VmHWM"


def memory_mb(pid: int, which: str) -> float:
    """Resident MiB of a process and its children, ``NOW`` or at their ``PEAK``; what they share counts for each."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(OSError):
                lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{which}:"))
    return round(total / 1024, 1)
