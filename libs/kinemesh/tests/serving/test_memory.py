"""Freed memory is kept while there is work, and given back when there is none."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import psutil
from kinemesh.serving.memory import give_back_freed_memory, reuse_freed_frames

def resident():
    return psutil.Process().memory_info().rss >> 20

reuse_freed_frames()
frames = [bytes(range(256)) * 8192 for _ in range(80)]  # of 2 MiB
kept = frames[::10]  # between others, so that the heap cannot just end earlier
full = resident()
del frames
freed = resident()
give_back_freed_memory()
print(full, freed, resident())
"""


def test_memory_is_kept_for_reuse_and_given_back_on_request() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True, timeout=60)
    full, freed, rest = map(int, done.stdout.split())
    assert full - freed < 20
    assert freed - rest > 100
