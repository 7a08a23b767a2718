"""Memory of a mesh's servers, as the kernel counts it: asked for once, so that asking costs nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
from peak import peak_mb

from kinemesh.embedded.mesh import Mesh


def peaks_mb(mesh: Mesh) -> dict[str, float]:
    """Most MiB that each server and its children had resident; what they share counts for each."""
    return {row.name: _peak_mb(row.pid) for row in mesh.status() if row.pid is not None}


def begin_peaks(mesh: Mesh) -> None:
    """Let :func:`peaks_mb` be those from now on (proc(5), ``clear_refs``)."""
    for one in (one for row in mesh.status() if row.pid is not None for one in _family(row.pid)):
        with suppress(ProcessLookupError, FileNotFoundError):
            Path(f"/proc/{one}/clear_refs").write_text("5")


def _peak_mb(pid: int) -> float:
    total = 0.0
    for one in _family(pid):
        with suppress(OSError):
            total += peak_mb(one)
    return round(total, 1)


def _family(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []
