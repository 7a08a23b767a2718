"""POSIX shared memory that input tensors lie in while Triton reads them."""

from __future__ import annotations

import mmap
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PREFIX = "kinemesh_"
_DIRECTORY = Path("/dev/shm")  # noqa: S108 - the mount point of POSIX shared memory, not a temporary file
_NAME = re.compile(PREFIX + r"(\d+)_(\d+)_[0-9a-f]{8}\Z")
_ALIGNMENT = 64  # a cache line, so that vector loads in the model's process are aligned
_GROWTH = 1 << 16


def sweep_stale_regions() -> int:
    """Remove the regions of processes that died before they could; returns how many.

    A name holds its owner's pid and the start time of that process, so that a reused pid is told apart.
    """
    removed = 0
    if not _DIRECTORY.is_dir():
        return removed
    for path in _DIRECTORY.glob(PREFIX + "*"):
        match = _NAME.match(path.name)
        if match and _start_ticks(int(match[1])) != int(match[2]):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in parentheses and may hold blanks; start time is the 22nd.
    return int(stat.rpartition(")")[2].split()[19])


class Region:
    """One region of shared memory, made on first use and replaced by a larger one when it does not suffice.

    ``registered`` says whether Triton has it mapped under ``name``; the client keeps that up to date.
    """

    def __init__(self) -> None:
        self.name = ""
        self.size = 0
        self.registered = False
        self._map: mmap.mmap | None = None

    @property
    def key(self) -> str:
        """The name as ``shm_open`` wants it."""
        return "/" + self.name

    def allocate(self, size: int) -> None:
        """Replace the region by a fresh one of at least ``size`` bytes, which Triton does not know yet."""
        self.close()
        size = -(-size // _GROWTH) * _GROWTH
        pid = os.getpid()
        name = f"{PREFIX}{pid}_{_start_ticks(pid)}_{secrets.token_hex(4)}"
        descriptor = os.open(_DIRECTORY / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.name = name
        try:
            # Unlike ftruncate this fails here, rather than by SIGBUS on the first write, if memory is short.
            os.posix_fallocate(descriptor, 0, size)
            self._map = mmap.mmap(descriptor, size)
        except OSError:
            self.close()
            raise
        finally:
            os.close(descriptor)
        self.size = size

    def write(self, tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, int]:
        """Copy the tensors in, one after the other; returns the offset of each."""
        assert self._map is not None
        offsets: dict[str, int] = {}
        offset = 0
        for name, tensor in tensors.items():
            target: npt.NDArray[Any] = np.ndarray(tensor.shape, tensor.dtype, buffer=self._map, offset=offset)
            target[...] = tensor
            offsets[name] = offset
            offset = _aligned(offset + tensor.nbytes)
        return offsets

    def close(self) -> None:
        """Remove the region. Triton's own mapping of it, if any, stays valid."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.name:
            (_DIRECTORY / self.name).unlink(missing_ok=True)
        self.name, self.size, self.registered = "", 0, False


def needed_bytes(tensors: Mapping[str, npt.NDArray[Any]]) -> int:
    """The bytes that :meth:`Region.write` takes for these tensors."""
    return max(1, sum(_aligned(tensor.nbytes) for tensor in tensors.values()))


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
