"""What a process may still do once it has raised the walls around itself. Standard library only, and no way back.

The walls overlap on purpose: where a container forbids one of them (Docker's default profile forbids namespaces),
another one holds.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from kinemesh_models.importing import kernel

_NOBODY = 65534
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/proc", "/sys/devices/system")
_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Limits:
    """``memory_bytes`` of address space, ``seconds`` by the clock; ``cpu_seconds`` over all threads."""

    memory_bytes: int
    seconds: float
    cpu_seconds: int
    file_bytes: int = 1 << 30
    open_files: int = 256
    threads: int = 512


@dataclass(frozen=True, slots=True)
class Walls:
    """Which walls stand: against the network, around files, and whose rights are left."""

    network: tuple[str, ...]
    files: tuple[str, ...]
    calls: tuple[str, ...]
    user: str


def raise_walls(limits: Limits, scratch: Path, readable: list[Path], *, to_nobody: bool) -> Walls:
    """Confine this process: it may read what Python needs and write in ``scratch``; no network, no other processes.

    Must run before any thread is started and before anything untrusted is read. ``to_nobody``: become the user
    nobody, where this process is root.
    """
    network, files, calls = [], [], []
    _limit(limits)
    own_namespace = _leave_namespaces()
    if own_namespace:
        network.append("namespace")
    user = _drop_user(to_nobody)
    if user == "nobody" or (own_namespace and os.getuid() == _NOBODY):
        resource.setrlimit(resource.RLIMIT_NPROC, (limits.threads, limits.threads))
    kernel.no_new_privileges()
    with contextlib.suppress(OSError):
        kernel.drop_capabilities()
    kernel.die_with_parent()
    code = [Path(path) for path in (*sys.path, sys.prefix, sys.base_prefix, sys.exec_prefix) if path]
    with contextlib.suppress(OSError):
        version = kernel.landlock(
            [*map(Path, _SYSTEM + _DEVICES), *code, *readable], writable=[scratch, Path("/dev/null")]
        )
        files.append(f"landlock {version}")
        if version >= 4:
            network.append("landlock")
    with contextlib.suppress(OSError):
        kernel.forbid_calls()
        network.append("seccomp")
        calls.append("seccomp")
    return Walls(tuple(network), tuple(files), tuple(calls), user)


def _limit(limits: Limits) -> None:
    # A signal that tells why it ended; a second later, one that cannot be caught.
    with contextlib.suppress(ValueError):  # a lower limit holds already
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _leave_namespaces() -> bool:
    alone = kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC
    for flags in (alone, alone | kernel.CLONE_NEWUSER):
        with contextlib.suppress(OSError):
            kernel.unshare(flags)
            return True
    return False


def _drop_user(to_nobody: bool) -> str:
    if to_nobody and os.getuid() == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            return "nobody"
    return "root without capabilities" if os.getuid() == 0 else "own"
