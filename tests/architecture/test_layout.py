"""The shape of the project, which a reader relies on."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("detect_track", "gateway", "ingest", "matcher", "pose", "render")
# Programs beside the service, each with its own composition root.
COMMANDS = ("requeue.py", "sweep.py")
SAME_FILES = ("__main__.py", "settings.py", "app.py", "rpc.py", "worker.py", "domain/__init__.py")
LONGEST_FILE = 400
LONGEST_MAIN = 30


def hand_written() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    return [ROOT / name for name in listed if "/gen/" not in name and (ROOT / name).exists()]


def source(service: str) -> Path:
    return ROOT / "services" / service / "src" / f"kinemesh_{service}"


def test_the_services_are_the_six_that_are_known() -> None:
    assert tuple(sorted(path.name for path in (ROOT / "services").iterdir() if path.is_dir())) == SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_files(service: str) -> None:
    assert [name for name in SAME_FILES if not (source(service) / name).is_file()] == []
    assert (source(service).parents[1] / "README.md").is_file()
    assert len((source(service) / "__main__.py").read_text().splitlines()) <= LONGEST_MAIN


@pytest.mark.parametrize("service", SERVICES)
def test_one_composition_root_per_service(service: str) -> None:
    building = [
        path.name
        for path in source(service).rglob("*.py")
        if re.search(r"(?<![.\w])connect\(|ObjectStore\(settings|TritonClient\(settings", path.read_text())
        and path.name not in ("database.py", *COMMANDS)
    ]
    assert building in ([], ["app.py"])


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in hand_written()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_nothing_is_called_utils() -> None:
    assert [path for path in hand_written() if re.search(r"util|helper|misc", path.stem)] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_environment_is_read_in_settings_only(service: str) -> None:
    for path in source(service).rglob("*.py"):
        if path.name == "settings.py":
            continue
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert not names & {"environ", "getenv"}, path


def test_every_invariant_names_a_test_that_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.split("## Invariants")[1].split("\n## ")[0]
    invariants = re.findall(r"^\d+\. .*?(?=^\d+\. |\Z)", section, flags=re.DOTALL | re.MULTILINE)
    assert len(invariants) == 10
    for invariant in invariants:
        named = re.findall(r"`((?:libs|services|tests|triton_models)/[^`]+?\.py)(?:::(\w+))?`", invariant)
        assert named, invariant
        for path, function in named:
            assert (ROOT / path).is_file(), path
            assert not function or f"def {function}(" in (ROOT / path).read_text(), f"{path}::{function}"
