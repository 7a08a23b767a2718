"""For tests of the command line: running it, and looking for what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PROGRAM = (sys.executable, "-m", "kinemesh_client")
Cli = Callable[..., subprocess.CompletedProcess[str]]

_WITHIN_S = 180.0
_SHARED_MEMORY = "/dev/shm/"  # noqa: S108 - POSIX shared memory, not a temporary file


def environment(**more: str) -> dict[str, str]:
    """The environment of commands: ours without what would name another mesh."""
    left_out = ("KINEMESH_URL", "KINEMESH_DATA_DIR", "KINEMESH_API_KEY")
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, **more}


def kinemesh(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(  # noqa: S603 - our own command
        [*PROGRAM, *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=_WITHIN_S,
        env=env or environment(),
    )


def one_object(text: str) -> dict[str, Any]:
    """The JSON object that a text consists of; fails if there is anything else."""
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


@dataclass(frozen=True, slots=True)
class Traces:
    """What a mesh may leave behind: processes, and shared memory that they have mapped."""

    pids: frozenset[int]
    shared_memory: frozenset[str]

    def left(self) -> tuple[list[str], list[str]]:
        """Names of the processes and of the shared memory that are still there."""
        alive = []
        for pid in self.pids:
            # Where nobody takes in orphans, those that have ended stay as zombies.
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(" ".join(process.cmdline()))
        return alive, [path for path in self.shared_memory if Path(path).exists()]


def traces_of(pid: int) -> Traces:
    """Those of the process that runs a mesh."""
    started = psutil.Process(pid).children(recursive=True)
    memory: set[str] = set()
    for process in started:
        with suppress(psutil.NoSuchProcess):  # some run for a moment only
            memory |= {region.path for region in process.memory_maps()}
    return Traces(
        frozenset((pid, *(process.pid for process in started))),
        frozenset(path for path in memory if path.startswith(_SHARED_MEMORY) and "(deleted)" not in path),
    )
