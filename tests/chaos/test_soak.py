"""Few jobs of many kinds and ends: no file, thread, process or object too many is left by any of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]


def test_jobs_leave_nothing(bench: Callable[..., dict[str, Any]]) -> None:
    found = bench("bench_soak", "soak.json", "--jobs=30", "--round=5", "--short")
    assert found["complaints"] == []
    assert {"SUCCEEDED", "CANCELLED", "FAILED", "DELETED"} <= set(found["ended"])
    assert sum(found["ended"].values()) == 30


@pytest.mark.parametrize(("leak_kib", "is_found"), [(0.0, False), (20.0, True)])
def test_a_leak_is_told_from_ups_and_downs(monkeypatch: Any, leak_kib: float, is_found: bool) -> None:
    monkeypatch.syspath_prepend(str(_ROOT / "bench"))
    samples, soak = import_module("process_samples"), import_module("bench_soak")
    noise = random.Random(1)
    memory = [100_000 + leak_kib * 10 * n + noise.uniform(0, 2_000) for n in range(45)]
    rounds = [{"pose": samples.Sample(round(kib), 0, 20 + noise.randrange(2), 9, 0)} for kib in memory]
    result = {"growth_per_job": samples.growth(rounds, 10), "shared_memory_per_job": 0.0, "left": {}}
    assert bool(soak.complaints(result, 440)) is is_found


def test_a_file_that_stays_open_is_found(monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(_ROOT / "bench"))
    samples, soak = import_module("process_samples"), import_module("bench_soak")
    rounds = [{"pose": samples.Sample(1000, 0, 20 + 10 * n, 9, 0)} for n in range(3)]
    result = {"growth_per_job": samples.growth(rounds, 5), "shared_memory_per_job": 0.0, "left": {"storage": ["a"]}}
    assert soak.complaints(result, 10, short=True) == [
        "pose has 20 files more after 10 jobs.",
        "Left in storage: ['a'].",
    ]
