"""The whole mesh, once per session, with the models that ship by default."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import pytest_asyncio

from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.triton import TritonModels
from kinemesh.media import H264Writer, concatenate
from kinemesh.media.picture import decode_picture
from kinemesh.nv12 import Image
from kinemesh.testing.climbs import climb, write_climb
from kinemesh.testing.fixtures import build_models, triton_python
from kinemesh.testing.otlp import Collector, collector
from kinemesh.testing.real_data import real_data
from kinemesh.testing.rest import Rest

_ROOT = Path(__file__).parents[1]
_BLURRED, _OCCLUDED = range(34, 40), range(61, 66)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def spans() -> AsyncIterator[Collector]:
    """The spans of all services of the mesh, and of the model server."""
    async with collector() as collecting:
        yield collecting


_COMPLAINT = r'"level": "(error|warning|critical)"|Traceback|FATAL|^supervisor:'


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(open_folder: Path, spans: Collector) -> AsyncIterator[Mesh]:
    """All servers and services. Segments are short, so that small clips are cut too."""
    python, repository = build_models(open_folder / "models", "default")
    data = os.environ.get("KINEMESH_TEST_DATA")
    config = MeshConfig(
        data_dir=open_folder / "mesh",
        models=TritonModels(python, repository),
        http_port=0,
        restarts=20,
        durable=False,
        env={
            "KINEMESH_CONDUCTOR__MIN_SEGMENT_FRAMES": "12",
            "KINEMESH_CONDUCTOR__WORKERS": "3",
            "KINEMESH_CONDUCTOR__WINDOW_SEC": "1",
            "KINEMESH_TRACING__OTLP_ENDPOINT": spans.address,
            "KINEMESH_TRITON_OTLP_URL": spans.http_url,
            **({"KINEMESH_MODELS_MIRROR": f"{data}/models"} if data else {}),
        },
    )
    async with Mesh(config) as running:
        await running.start()
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what went wrong inside the mesh, which the machine of whoever reads the report may have lost by then."""
    report = yield
    mesh = item.funcargs.get("mesh")
    if report.failed and isinstance(mesh, Mesh):
        report.sections.append(("complaints in the mesh", complaints(mesh)))
    return report


def complaints(mesh: Mesh) -> str:
    """How often its servers were started again, and the last lines of their logs that tell of something wrong."""
    told = []
    for server in mesh.status():
        log = Path(server.log)
        # A test may fail as the mesh is taken down, when its folder has gone.
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = [line for line in text.splitlines() if re.search(_COMPLAINT, line)]
        told += [f"{server.name}: {server.restarts} restarts", *(f"{server.name}: {line}" for line in lines[-20:])]
    return "\n".join(told)


@pytest_asyncio.fixture(loop_scope="session")
async def rest(mesh: Mesh) -> AsyncIterator[Rest]:
    """A user of the mesh."""
    async with httpx.AsyncClient(timeout=60) as http:
        yield Rest(http, mesh.http_url)


@pytest.fixture(scope="session")
def media_data() -> Path:
    """Real footage."""
    return real_data() / "media"


Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Runs ``bench/<name>.py`` as its user does, into ``tmp_path``; answers with the figures of a file there."""

    def run(name: str, figures: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, f"bench/{name}.py", "--out", str(tmp_path), *arguments]
        caps = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=_ROOT, timeout=900, env={**os.environ, **caps}
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads((tmp_path / figures).read_text())
        return found

    return run


@pytest.fixture(scope="session")
def person_photo(open_folder: Path) -> Image:
    """A photo of a person, from head to waist: uint8 [512, 512, 3]."""
    photo = open_folder / "person.png"
    sample = [str(triton_python()), "-m", "kinemesh_models", "sample", "astronaut", "--out", str(photo)]
    subprocess.run(sample, check=True, capture_output=True, timeout=300)
    return decode_picture(photo.read_bytes(), max_pixels=4_000_000)


@pytest.fixture(scope="session")
def person_clip(open_folder: Path, person_photo: Image) -> bytes:
    """Three seconds of a camera that moves over a photo of a person."""
    clip = open_folder / "person.nut"
    with H264Writer(clip, width=640, height=480, time_base=Fraction(1, 30)) as writer:
        for frame in range(90):
            turn = cv2.getRotationMatrix2D((256, 256), 4 * math.sin(frame / 9), 0.9 + 0.1 * math.sin(frame / 14))
            turn[:, 2] += np.array([64 + 20 * math.sin(frame / 11), -10])
            writer.write(cv2.warpAffine(person_photo, turn, (640, 480)).astype(np.uint8), frame)
    joined = open_folder / "person_joined.mp4"
    concatenate([clip], joined, time_base=Fraction(1, 30))
    return joined.read_bytes()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def wall(mesh: Mesh) -> Image:
    """A reference image that comes with the product, ``wall-vertical``: uint8 [1440, 1080, 3]."""
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.get(f"{mesh.http_url}/api/v1/routes/references/wall-vertical/image")
    return decode_picture(answer.raise_for_status().content, max_pixels=4_000_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def climb_clip(open_folder: Path, wall: Image, person_photo: Image) -> bytes:
    """Three seconds of somebody on that wall, filmed by hand: frames 34 to 39 are blurred, 61 to 65 show something
    else."""
    clip = open_folder / "climb.mp4"
    size = (480, 640)
    frames = climb(wall, person_photo, 90, size, blurred=_BLURRED, occluded=_OCCLUDED)
    await asyncio.to_thread(write_climb, clip, frames, size)
    return clip.read_bytes()
