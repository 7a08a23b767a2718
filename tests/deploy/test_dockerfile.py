"""The Dockerfile: what a linter finds, and what it must hold besides."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kinemesh.memory import ALLOCATION

ROOT = Path(__file__).parents[2]
TARGETS = ("service", "ingest", "servers", "tools", "triton", "triton-nvidia", "triton-amd")


def stages(dockerfile: list[Any]) -> dict[str, list[Any]]:
    return {step.stage: [other for other in dockerfile if other.stage == step.stage] for step in dockerfile}


def lineage(dockerfile: list[Any], stage: str) -> list[Any]:
    """The instructions that make up a target: those of the stages that it stands on first."""
    parts = stages(dockerfile)
    base = parts[stage][0].rest.split(" AS ")[0]
    return [*(lineage(dockerfile, base) if base in parts else ()), *parts[stage]]


def test_the_linter_is_content() -> None:
    program = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def test_bases_have_exact_versions_and_can_be_set(dockerfile: list[Any]) -> None:
    arguments = dict(step.rest.split("=", 1) for step in dockerfile if step.word == "ARG" and not step.stage)
    assert set(arguments) == {"PYTHON_IMAGE", "NVIDIA_IMAGE", "AMD_IMAGE"}
    for image in arguments.values():
        assert re.search(r":\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$", image), image
    bases = {step.rest.split(" AS ")[0] for step in dockerfile if step.word == "FROM"}
    assert {base for base in bases if base not in stages(dockerfile)} == {f"${{{name}}}" for name in arguments}


def test_uv_is_that_of_the_makefile(dockerfile: list[Any]) -> None:
    (version,) = (step.rest.partition("=")[2] for step in dockerfile if step.rest.startswith("UV_VERSION="))
    assert f"UV_VERSION := {version}\n" in (ROOT / "Makefile").read_text()


def test_all_that_is_copied_is_there(dockerfile: list[Any]) -> None:
    members = tomllib.loads((ROOT / "uv.lock").read_text())["manifest"]["members"]
    copied: set[str] = set()
    for step in dockerfile:
        if step.word == "COPY" and not step.rest.startswith("--from"):
            *sources, target = shlex.split(step.rest)
            for source in sources:
                assert (ROOT / source).exists(), source
                assert target == "./" or (ROOT / target.rstrip("/")).is_dir()
                copied.add(source)
    # uv reads the description of every member of the workspace before it installs any.
    described = {str(path.relative_to(ROOT)) for path in ROOT.glob("*/*/pyproject.toml")}
    assert {source for source in copied if source.count("/") == 2} == described
    assert len(described) == len(members) - 1
    ignored = (ROOT / ".dockerignore").read_text()
    assert {f"!{source.split('/')[0]}" for source in copied} <= {line.rstrip("/") for line in ignored.splitlines()}


def test_nothing_comes_from_an_url(dockerfile: list[Any]) -> None:
    assert [step for step in dockerfile if step.word == "ADD" or "curl" in step.rest or "wget" in step.rest] == []


@pytest.mark.parametrize("target", TARGETS)
def test_images_run_as_nobody_in_particular(dockerfile: list[Any], target: str) -> None:
    steps = lineage(dockerfile, target)
    users = [step.rest for step in steps if step.word == "USER"]
    assert users[-1:] == ["10001:10001"]
    after = steps[[step.word for step in steps].index("USER") :]
    assert [step for step in after if step.word == "RUN"] == []
    assert [step.rest for step in steps if step.word == "STOPSIGNAL"] == ["SIGTERM"]


@pytest.mark.parametrize("target", TARGETS)
def test_commands_are_lists_and_health_is_asked(dockerfile: list[Any], target: str) -> None:
    steps = lineage(dockerfile, target)
    commands = [step for step in steps if step.word in ("CMD", "ENTRYPOINT")]
    assert commands
    for step in commands:
        assert all(isinstance(word, str) for word in json.loads(step.rest))
    (health,) = (step.rest for step in steps if step.word == "HEALTHCHECK")
    if target not in ("servers", "tools"):  # compose says how those are asked
        assert json.loads(health.partition("CMD ")[2])[:2] == ["python", "-m"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_builds_stays_behind(dockerfile: list[Any], target: str) -> None:
    steps = lineage(dockerfile, target)
    assert not [step for step in steps if re.search(r"\bapt-get\b|\bpip install\b|\buv (sync|pip)\b", step.rest)]
    labels = " ".join(step.rest for step in steps if step.word == "LABEL")
    assert "org.opencontainers.image.title" in labels


def test_services_are_told_what_the_embedded_mesh_tells_them(dockerfile: list[Any]) -> None:
    told = dict(
        pair.split("=", 1)
        for step in lineage(dockerfile, "service")
        if step.word == "ENV"
        for pair in shlex.split(step.rest)
    )
    assert {name: told.get(name) for name in ALLOCATION} == dict(ALLOCATION)
    assert {told.get(f"{library}_NUM_THREADS") for library in ("OMP", "OPENBLAS", "MKL")} == {"1"}
