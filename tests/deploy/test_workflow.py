"""The workflow for CI, and the make targets and files that documents and it speak of."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/ci.yaml"
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_it_follows_the_schema_of_workflows() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    run = subprocess.run(
        [checker, "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout


def test_images_are_made_after_checks_and_tests_only() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    assert jobs["images"]["needs"] == ["check", "test"]
    assert all(job["timeout-minutes"] for job in jobs.values())


@pytest.mark.parametrize(
    "name", [".github/workflows/ci.yaml", "docs/deployment.md", "docs/deployment-aws.md", "README.md"]
)
def test_make_has_the_targets_that_are_named(name: str) -> None:
    named = set(re.findall(r"(?:`|run: |^ *)make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE))
    assert named <= TARGETS


@pytest.mark.parametrize("profile", ["cpu", "nvidia", "mac", "tunnel", "nvidia tunnel observability"])
def test_make_names_the_profiles_of_compose(profile: str) -> None:
    run = subprocess.run(
        ["make", "--dry-run", "stack-start", f"PROFILE={profile}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (profiles,) = set(re.findall(r"COMPOSE_PROFILES=(\S+)", run.stdout))
    expected = set(profile.split()) | (set() if set(profile.split()) & {"cpu", "nvidia", "mac"} else {"cpu"})
    assert set(profiles.split(",")) == expected
    (accelerator,) = set(re.findall(r"KINEMESH_ACCELERATOR=(\S+)", run.stdout))
    assert accelerator == ("nvidia" if "nvidia" in profile else "cpu")
    assert ("KINEMESH_OTLP_ENDPOINT" in run.stdout) == ("observability" in profile)
