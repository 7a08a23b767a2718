"""The machine: what it is, and how much of it there is."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from kinemesh_client.doctor.findings import Finding, ok, problem, warning

_MACHINE: Final = "machine"
_DISK: Final = "disk"
_GIB: Final = 2**30
_MIB: Final = 2**20
_GLIBC: Final = (2, 35)
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - POSIX shared memory has this name on Linux


def look_at_machine() -> list[Finding]:
    """Architecture, C library, processor, memory, shared memory, limits."""
    memory = psutil.virtual_memory()
    shared = shutil.disk_usage(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [
        judge_system(platform.system(), platform.machine()),
        judge_glibc(*platform.libc_ver()),
        judge_cores(len(os.sched_getaffinity(0))),
        judge_memory(memory.total, memory.available),
        judge_shared_memory(*(shared.total, shared.free) if shared else (0, 0)),
        judge_open_files(soft),
    ]


def judge_system(system: str, machine: str) -> Finding:
    """Servers and model runtimes come as wheels for one kind of machine."""
    if (system, machine) == ("Linux", "x86_64"):
        return ok(_MACHINE, f"{system} on {machine}.")
    why = "The servers of `kinemesh up` come as programs for Linux on x86-64; the client alone runs elsewhere."
    return problem(_MACHINE, f"{system} on {machine}.", why, "Run the mesh on such a machine, or in containers.")


def judge_glibc(name: str, version: str) -> Finding:
    """Triton needs a C library that is not too old."""
    if name != "glibc":
        why = "Triton and PostgreSQL are built for glibc."
        return problem(_MACHINE, f"The C library is {name or 'unknown'}.", why, "Use a distribution with glibc.")
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers >= _GLIBC:
        return ok(_MACHINE, f"glibc {version}.")
    needed = ".".join(map(str, _GLIBC))
    return problem(
        _MACHINE,
        f"glibc {version}.",
        f"Triton is built for {needed} or later.",
        "Use Debian 12, Ubuntu 22.04 or later.",
    )


def judge_cores(cores: int) -> Finding:
    """How many cores we may use."""
    if cores >= 2:
        return ok(_MACHINE, f"{cores} cores.")
    why = "Decoding, models and drawing share one core; a job takes many times as long as its video."
    return warning(_MACHINE, f"{cores} core.", why, "Give the machine or the container two cores or more.")


def judge_memory(total: int, available: int) -> Finding:
    """Memory in bytes."""
    found = f"{total / _GIB:.1f} GiB of memory, {available / _GIB:.1f} GiB available."
    if total < 3 * _GIB:
        why = "A whole mesh takes about 2.5 GiB when it is idle."
        return problem(_MACHINE, found, why, "Use a machine with 8 GiB or more, or run servers elsewhere.")
    if available < _GIB:
        why = "Workers need some hundred megabytes for each task; the system ends processes when there is no more."
        return warning(_MACHINE, found, why, "End other programs, or lower KINEMESH_SLOTS__… of the services.")
    return ok(_MACHINE, found)


def judge_shared_memory(total: int, free: int) -> Finding:
    """Shared memory in bytes: pictures go to the model server through it."""
    found = f"{_SHARED_MEMORY} has {total / _MIB:.0f} MiB, {free / _MIB:.0f} MiB free."
    why = "Each instance of a model and each request in flight needs some megabytes of it; without, Triton ends."
    if not total:
        return problem(_MACHINE, "There is no /dev/shm.", why, "Mount a tmpfs there.")
    if free < 128 * _MIB:
        action = (
            "Containers: --shm-size=1g, or an emptyDir with medium Memory. Else look for what fills it: ls -l /dev/shm."
        )
        return problem(_MACHINE, found, why, action)
    if total < 512 * _MIB:
        return warning(_MACHINE, found, why, "Give it 1 GiB; Docker: --shm-size=1g.")
    return ok(_MACHINE, found)


def judge_open_files(limit: int) -> Finding:
    """How many files a process may open."""
    if limit == resource.RLIM_INFINITY or limit >= 4096:
        return ok(_MACHINE, f"Processes may open {'any number of' if limit < 0 else limit} files.")
    why = "Each watcher, connection and object that is read is one."
    level = warning if limit >= 1024 else problem
    return level(_MACHINE, f"Processes may open {limit} files.", why, "ulimit -n 65536, or LimitNOFILE= of the unit.")


def look_at_disk(folder: Path, least_gb: float) -> list[Finding]:
    """Room where a mesh keeps its data."""
    existing = next(one for one in (folder.resolve(), *folder.resolve().parents) if one.exists())
    usage = shutil.disk_usage(existing)
    inodes = os.statvfs(existing)
    findings = [judge_disk(usage.free, usage.total, least_gb), judge_inodes(inodes.f_favail, inodes.f_files)]
    if not os.access(existing, os.W_OK):
        why = "The mesh keeps everything there."
        findings.append(
            problem(_DISK, f"{folder} cannot be written to.", why, "Change its owner, or name another folder.")
        )
    return findings


def judge_disk(free: int, total: int, least_gb: float) -> Finding:
    """Bytes, and the least that shall be free in GB."""
    found = f"{free / 1e9:.1f} GB of {total / 1e9:.0f} GB are free where the data lies."
    why = "Uploads are refused and the broker and the database stop when the disk is full."
    if free < least_gb * 1e9 / 5:
        return problem(_DISK, found, why, "Delete jobs and assets, or move the data folder to a larger disk.")
    if free < least_gb * 1e9:
        return warning(
            _DISK, found, why, "Make room before it is needed: `kinemesh jobs delete`, `kinemesh assets delete`."
        )
    return ok(_DISK, found)


def judge_inodes(free: int, total: int) -> Finding:
    """Files that may still be made; file systems that have no such limit say 0 of 0."""
    if not total:
        return ok(_DISK, "The file system has no limit of files.")
    found = f"{free} of {total} files may still be made."
    if free / total < 0.02 or free < 10_000:
        why = "A disk without inodes is as full as one without bytes."
        return problem(
            _DISK, found, why, "Look for folders of many small files: du --inodes -x -d 3 / | sort -n | tail."
        )
    return ok(_DISK, found)


def look_at_clock(skews: Sequence[tuple[str, float]]) -> list[Finding]:
    """Seconds by which the clocks of others are ahead of ours."""
    return [judge_clock(whose, skew_s) for whose, skew_s in skews]


def judge_clock(whose: str, skew_s: float) -> Finding:
    """By how many seconds somebody's clock is ahead of ours; such answers are to the second."""
    found = f"The clock of {whose} is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours."
    why = "Signed URLs and tokens are refused when clocks differ, and times of events are wrong."
    action = "Run a time service on all machines: timedatectl set-ntp true."
    if abs(skew_s) >= 60:
        return problem("clock", found, why, action)
    if abs(skew_s) >= 5:
        return warning("clock", found, why, action)
    return ok("clock", f"The clock of {whose} agrees with ours to {max(2.0, abs(skew_s)):.0f} s.")
