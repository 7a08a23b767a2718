"""What processes hold, looked at again and again, and whether it grows."""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from kinemesh.embedded.mesh import Mesh

_KIB = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """What a server and its children hold.

    :ivar memory_kib: memory of their own (USS: what the system would get back if they ended); RSS counts what they
        share with others, PostgreSQL's buffers with each of its processes.
    """

    memory_kib: int
    rss_kib: int
    files: int
    threads: int
    children: int


def sample(mesh: Mesh) -> dict[str, Sample]:
    """Every server of a mesh, by name."""
    rows = {row.name: row.pid for row in mesh.status() if row.pid is not None}
    return {name: _of(pid) for name, pid in rows.items()}


def shared_memory() -> int:
    """Entries of /dev/shm."""
    return len(os.listdir("/dev/shm"))  # noqa: PTH208 - only counted


def slope(values: Sequence[float], step: float) -> float:
    """Growth per unit as Theil and Sen have it: the median of the slopes of all pairs; no single peak moves it.

    :param step: units between two values.
    """
    pairs = itertools.combinations(enumerate(values), 2)
    slopes = [(later - before) / ((j - i) * step) for (i, before), (j, later) in pairs]
    return statistics.median(slopes) if slopes else 0.0


def growth(samples: Sequence[Mapping[str, Sample]], step: int) -> dict[str, dict[str, float]]:
    """Growth per job of everything that every server holds, memory in KiB; ``step`` jobs lie between two samples."""
    names = samples[0].keys()
    fields = asdict(next(iter(samples[0].values())))
    return {
        name: {field: slope([getattr(one[name], field) for one in samples], step) for field in fields} for name in names
    }


def _of(pid: int) -> Sample:
    found = {"memory_kib": 0, "rss_kib": 0, "files": 0, "threads": 0, "children": -1}
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            memory = process.memory_full_info()
            found["memory_kib"] += memory.uss // _KIB
            found["rss_kib"] += memory.rss // _KIB
            found["files"] += len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            found["threads"] += process.num_threads()
            found["children"] += 1
    return Sample(**found)


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []
