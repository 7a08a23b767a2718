"""Requests to the model server are measured by model, and users' models are one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from kinemesh.errors import NotFound
from kinemesh.inference import TritonClient, measuring
from kinemesh.inference.measuring import SHIPPED, measured

from .test_client import echo

MANIFEST = Path(__file__).parents[4] / "triton_models" / "src" / "kinemesh_models" / "models.toml"


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"kinemesh_inference_{name}", labels) or 0.0


def test_the_models_of_the_manifest_have_their_own_names() -> None:
    manifest = tomllib.loads(MANIFEST.read_text())
    assert {*manifest["contracts"], *manifest["detectors"], *manifest["embedders"]} == SHIPPED


async def test_requests_are_counted_by_their_outcome(client: TritonClient) -> None:
    def counts() -> tuple[float, ...]:
        return (
            count("seconds_count", model="imported", outcome="ok"),
            count("seconds_count", model="imported", outcome="MODEL_NOT_FOUND"),
            count("wait_seconds_count", model="imported"),
        )

    before = counts()
    await client.infer("echo", echo(3), ["ECHO"])
    with pytest.raises(NotFound):
        await client.infer("chosen_by_a_user", echo(3), ["ECHO"])
    assert counts() == (before[0] + 1, before[1] + 1, before[2] + 2)


def test_waiting_and_working_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((10.0, 12.0, 15.0))
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    names = (
        ("wait_seconds_sum", {"model": "face_detector"}),
        ("seconds_sum", {"model": "face_detector", "outcome": "ok"}),
    )
    before = [count(name, **labels) for name, labels in names]
    with measured("face_detector") as begun:
        begun()
    after = [count(name, **labels) for name, labels in names]
    assert [now - was for now, was in zip(after, before, strict=True)] == pytest.approx([2.0, 3.0])
