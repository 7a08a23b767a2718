"""Freed memory is kept while there is work, and given back when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kinemesh.memory import ALLOCATION

_PROGRAM = """
import threading
import psutil
import pyarrow  # which starts a thread
from kinemesh.memory import give_back_freed_memory

def resident():
    return psutil.Process().memory_info().rss >> 20

def work():
    global full, freed
    frames = [bytes(range(256)) * 8192 for _ in range(24)]  # of 2 MiB
    full = resident()
    del frames
    freed = resident()

worker = threading.Thread(target=work)  # as the services do: what a thread of its own frees has to go back too
worker.start()
worker.join()
give_back_freed_memory()
print(full, freed, resident())
"""


OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def test_whoever_starts_a_service_by_hand_is_told_the_environment() -> None:
    told = OPERATIONS.read_text().split()
    assert [f"{name}={value}" for name, value in ALLOCATION.items() if f"{name}={value}" not in told] == []


def test_memory_is_kept_for_reuse_and_given_back_on_request() -> None:
    environment = os.environ | ALLOCATION
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    full, freed, rest = map(int, done.stdout.split())
    assert full - freed < 10
    assert freed - rest > 40
