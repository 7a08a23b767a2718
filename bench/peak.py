"""Most memory that a process has had, as the kernel counts it; for every environment, so nothing but Python."""

from __future__ import annotations

from pathlib import Path


def peak_mb(pid: int | str = "self") -> float:
    """Most MiB that a process had resident. (``getrusage`` would begin with what its parent had.)

    :raises OSError: there is no such process.
    """
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)
