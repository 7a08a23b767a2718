"""A mesh with synthetic people, started and stopped as a person would: by the command line."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinemesh.embedded import running_mesh
from kinemesh.media.synthetic import write_clip
from kinemesh.testing.fixtures import build_models
from kinemesh.testing.waiting import until
from kinemesh_client.testing import Cli, environment, kinemesh, traces_of


@pytest.fixture(scope="session")
def models(open_folder: Path) -> Path:
    """A model repository."""
    return build_models(open_folder / "client-models", "mock")[1]


@pytest.fixture(scope="session")
def data_dir(open_folder: Path, models: Path) -> Iterator[Path]:
    """The data folder of a mesh that runs."""
    folder = open_folder / "client-mesh"
    started = kinemesh("up", "--detach", f"--data-dir={folder}", f"--models={models}", "--port=0")
    assert started.returncode == 0, started.stderr
    described = running_mesh(folder)
    assert described is not None
    traces = traces_of(described["pid"])
    assert traces.pids, "else what follows says nothing"
    assert traces.shared_memory, "the same"
    yield folder
    assert kinemesh("down", f"--data-dir={folder}").returncode == 0

    async def gone() -> bool:
        return traces.left() == ([], [])

    # The mesh lets go of its folder just before it ends.
    asyncio.run(until(gone, 20))


@pytest.fixture
def cli(data_dir: Path) -> Cli:
    """Runs a command on the mesh."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return kinemesh(*arguments, env=environment(KINEMESH_DATA_DIR=str(data_dir)))

    return run


@pytest.fixture
def bare_cli() -> Cli:
    """Runs a command that names its mesh itself."""
    return kinemesh


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with sound."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_clip(path, pts=[3000 * number for number in range(60)], size=(320, 180), audio="aac")
    return path
