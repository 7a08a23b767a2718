"""The whole mesh, once per session, with the models that ship by default."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.triton import TritonModels
from kinemesh.testing.fixtures import build_models
from kinemesh.testing.rest import Rest


_COMPLAINT = r'"level": "(error|warning|critical)"|Traceback|FATAL'


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(open_folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Mesh]:
    """All servers and services. Segments are short, so that small clips are cut too."""
    python, repository = build_models(open_folder / "models", "default")
    config = MeshConfig(
        data_dir=open_folder / "mesh",
        models=TritonModels(python, repository),
        http_port=0,
        restarts=20,
        durable=False,
        env={"KINEMESH_CONDUCTOR__MIN_SEGMENT_FRAMES": "12", "KINEMESH_CONDUCTOR__WORKERS": "3"},
    )
    try:
        async with Mesh(config) as running:
            await running.start()
            yield running
    finally:
        if request.session.testsfailed:
            _show_complaints(open_folder / "mesh" / "logs")


def _show_complaints(logs: Path) -> None:
    """What went wrong inside, for whoever reads the report of a failed run."""
    for log in sorted(logs.glob("*.log")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if re.search(_COMPLAINT, line)]
        sys.stderr.write("".join(f"{log.stem}: {line}\n" for line in lines[-20:]))


@pytest_asyncio.fixture(loop_scope="session")
async def rest(mesh: Mesh) -> AsyncIterator[Rest]:
    """A user of the mesh."""
    async with httpx.AsyncClient(timeout=60) as http:
        yield Rest(http, mesh.http_url)


@pytest.fixture(scope="session")
def media_data() -> Path:
    """Real footage."""
    folder = os.environ.get("KINEMESH_TEST_DATA")
    if not folder:
        pytest.skip("KINEMESH_TEST_DATA names no folder with footage")
    return Path(folder) / "media"
