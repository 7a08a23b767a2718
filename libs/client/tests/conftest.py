"""A mesh with synthetic people, started and stopped as a person would: by the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinemesh.embedded.running import running_mesh
from kinemesh.media.synthetic import write_clip
from kinemesh.testing.fixtures import build_models
from kinemesh.testing.waiting import until
from kinemesh_client.testing import Cli, environment, kinemesh, traces_of

from .route_gateway import RouteGateway, serve_routes
from .site_gateway import MATRIX, Gateway, serve_sites


@pytest.fixture(scope="session")
def models(open_folder: Path) -> Path:
    """A model repository."""
    return build_models(open_folder / "client-models", "mock")[1]


@pytest.fixture(scope="session")
def data_dir(open_folder: Path, models: Path) -> Iterator[Path]:
    """The data folder of a mesh that runs."""
    folder = open_folder / "client-mesh"
    small_parts = environment(KINEMESH_UPLOAD__PART_SIZE_MB="5")
    started = kinemesh("up", "--detach", f"--data-dir={folder}", f"--models={models}", "--port=0", env=small_parts)
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


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A stand-in that keeps sites."""
    with serve_sites() as gateway:
        yield gateway


@pytest.fixture
def catalogue() -> Iterator[RouteGateway]:
    """A stand-in that keeps routes."""
    with serve_routes() as gateway:
        yield gateway


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A site of two cameras, one with two recordings, and what it needs beside it."""
    square = [[0, 0], [10, 0], [10, 10], [0, 10]]
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "H.txt").write_text(MATRIX)
    site = {
        "environment_id": "factory",
        "display_name": "Factory",
        "cameras": [
            {
                "camera": "c09",
                "videos": ["a.mp4", {"file": "b.mp4", "start_sec": 61.5}],
                "homography": {"file": "H.txt", "image_axes": "yx"},
            },
            {
                "camera": "c12",
                "videos": "c.mp4",
                "homography": {"image_points": square, "map_points": [[x, y, 0] for x, y in square]},
            },
        ],
        "zones": [{"zone": "door", "map": [[0, 0], [1, 0], [1, 1]]}],
        "ground_plane": {"width": 10, "height": 10},
    }
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site))
    return path
