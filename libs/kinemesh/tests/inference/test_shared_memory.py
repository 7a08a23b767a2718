from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from kinemesh.inference import shared_memory
from kinemesh.inference.shared_memory import Region, needed_bytes, sweep_stale_regions

from .conftest import Regions

SHM = Path("/dev/shm")


def test_tensors_lie_aligned_and_unchanged() -> None:
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "a": np.arange(7, dtype=np.uint8),
        "b": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
        "empty": np.zeros((0, 3), np.int64),
        "c": np.arange(20)[::-2],
    }
    region = Region()
    region.allocate(needed_bytes(tensors))
    try:
        offsets = region.write(tensors)
        content = (SHM / region.name).read_bytes()
        for name, tensor in tensors.items():
            assert offsets[name] % 64 == 0
            assert content[offsets[name] : offsets[name] + tensor.nbytes] == tensor.tobytes()
    finally:
        region.close()
    assert not region.registered


def test_a_region_is_removed_when_it_is_replaced_or_closed() -> None:
    region = Region()
    region.allocate(10)
    first = region.name
    region.allocate(10**6)
    assert not (SHM / first).exists()
    assert (SHM / region.name).stat().st_size == region.size >= 10**6
    name = region.name
    region.close()
    region.close()
    assert not (SHM / name).exists()


def test_no_memory_is_an_error_not_a_crash(regions: Regions) -> None:
    region = Region()
    with pytest.raises(OSError):
        region.allocate(1 << 50)
    assert regions() == set()


def test_regions_of_dead_processes_are_swept() -> None:
    script = (
        "import os, signal\n"
        "from kinemesh.inference.shared_memory import Region\n"
        "region = Region(); region.allocate(1000); print(region.name, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    stale = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout.strip()
    assert (SHM / stale).exists()
    mine = Region()
    mine.allocate(1)
    # A pid that was given to another process since.
    reused = SHM / f"{shared_memory.PREFIX}1_1_00000000"
    reused.touch()
    foreign = SHM / f"{shared_memory.PREFIX}triton_test_unrelated"
    foreign.touch()
    try:
        assert sweep_stale_regions() >= 2
        assert not (SHM / stale).exists()
        assert not reused.exists()
        assert foreign.exists()
        assert (SHM / mine.name).exists()
    finally:
        foreign.unlink()
        mine.close()
