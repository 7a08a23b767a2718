"""The command line that builds a model repository, in the model server's own environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kinemesh.testing.fixtures import triton_python

NETWORKLESS = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_RETRIES": "0"}

EMBEDDED = {"pose_detector", "pose_landmarks", "face_detector", "person_detector", "person_colors"}


def models(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(triton_python()), "-m", "kinemesh_models", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_second_build_changes_nothing(tmp_path: Path) -> None:
    first = models("build", "--set", "mock", "--out", tmp_path)
    assert first.returncode == 0, first.stderr
    before = snapshot(tmp_path)
    assert {Path(name).parts[0] for name in before} == EMBEDDED
    second = models("build", "--set", "mock", "--out", tmp_path)
    assert "up to date" in second.stdout
    assert snapshot(tmp_path) == before


def test_other_set_replaces_the_models_and_imported_ones_stay(tmp_path: Path) -> None:
    imported = tmp_path / "pitstop" / "config.pbtxt"
    imported.parent.mkdir()
    imported.write_text('name: "pitstop"\n')
    models("build", "--set", "mock", "--out", tmp_path)
    assert "mock" in (tmp_path / "pose_detector" / "1" / "model.py").read_text()
    assert models("build", "--set", "default", "--out", tmp_path).returncode == 0
    assert "mock" not in (tmp_path / "pose_detector" / "1" / "model.py").read_text()
    assert imported.read_text() == 'name: "pitstop"\n'


def test_accelerator_sets_the_instances(tmp_path: Path) -> None:
    for accelerator, count in (("cpu", 2), ("nvidia", 4)):
        assert models("build", "--set", "mock", "--accelerator", accelerator, "--out", tmp_path).returncode == 0
        assert f"count: {count}" in (tmp_path / "pose_landmarks" / "config.pbtxt").read_text()


def test_weights_come_from_the_mirror_by_hash(tmp_path: Path) -> None:
    assert models("build", "--out", tmp_path / "first").returncode == 0
    mirror = tmp_path / "mirror" / "anywhere"
    mirror.mkdir(parents=True)
    for number, weights in enumerate(sorted((tmp_path / "first").rglob("*.tflite"))):
        shutil.copyfile(weights, mirror / f"file{number}")
    environment = {**NETWORKLESS, "XDG_CACHE_HOME": str(tmp_path), "KINEMESH_MODELS_MIRROR": str(mirror.parent)}
    built = models("build", "--out", tmp_path / "second", **environment)
    assert built.returncode == 0, built.stderr
    for file in mirror.iterdir():
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    built = models("build", "--out", tmp_path / "third", **environment)
    assert built.returncode == 1
    assert "pip could not download mediapipe==0.10.21" in built.stderr


def test_damaged_cache_is_fetched_again(tmp_path: Path) -> None:
    assert models("sample", "astronaut", "--cache", tmp_path / "cache", "--out", tmp_path / "a.png").returncode == 0
    (cached,) = (tmp_path / "cache").rglob("astronaut.png")
    cached.write_bytes(b"damaged")
    assert models("sample", "astronaut", "--cache", tmp_path / "cache", "--out", tmp_path / "b.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no POSIX shared memory in a file system here")
def test_clean_removes_only_what_has_the_prefix() -> None:
    mine, other = Path(f"/dev/shm/kinemesh_test_{os.getpid()}_x"), Path(f"/dev/shm/kinemesh_other_{os.getpid()}")
    mine.touch()
    other.touch()
    try:
        assert models("clean", "--shm-prefix", f"kinemesh_test_{os.getpid()}_").stdout.split() == [mine.name]
        assert not mine.exists()
        assert other.exists()
        for careless in ("", "*", "k", "../../tmp/"):
            assert models("clean", "--shm-prefix", careless).returncode == 1
    finally:
        mine.unlink(missing_ok=True)
        other.unlink(missing_ok=True)
