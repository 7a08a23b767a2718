"""What the page about extending says is true: its edits are few, they fit, and a mesh with them runs a job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from kinemesh.embedded.environment import SERVICES
from kinemesh.media.synthetic import write_clip
from kinemesh.testing.fixtures import triton_python
from kinemesh_client.testing import environment
from kinemesh_ingest.domain.pipelines import PIPELINES

from .edits import DoesNotFit, Edit, sections

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/extending.md"
COPIED = ("protos", "libs/kinemesh/src", "libs/kinemesh/gen", "libs/client/src", "tools", "triton_models/src")
FEW = 4
WITHIN_S = 300
# Of each thing, the folder that is its own.
OWN = {"A new pipeline": "services/pose/", "A new model": "triton_models/", "A new service": "services/idler/"}


@pytest.mark.parametrize("title", OWN)
def test_edits_outside_its_own_folder_are_few(title: str) -> None:
    edits = sections(PAGE)[title]
    outside = {edit.path for edit in edits if not edit.path.startswith(OWN[title])}
    assert 1 <= len(outside) <= FEW
    assert all((ROOT / path).is_file() for path in outside)


def test_an_edit_that_does_not_fit_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\ny = 2\n")
    Edit("a.py", False, (("y = 2\n", "y = 3\n"),)).apply(tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 1\nx = 1\ny = 3\n"
    for before in ("x = 1\n", "z = 1\n", " = 3\n"):
        with pytest.raises(DoesNotFit):
            Edit("a.py", False, ((before, ""),)).apply(tmp_path)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with all edits of the page."""
    root = tmp_path_factory.mktemp("extended")
    services = [f"services/{path.name}/src" for path in (ROOT / "services").iterdir() if path.is_dir()]
    for folder in (*COPIED, *services):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for edits in sections(PAGE).values():
        for edit in edits:
            edit.apply(root)
    subprocess.run([sys.executable, "tools/protos.py", "generate"], cwd=root, check=True, timeout=WITHIN_S)
    return root


def paths(root: Path) -> str:
    """What Python has to look in first for the copy to be used."""
    services = [path / "src" for path in sorted((root / "services").iterdir())]
    libraries = ("libs/kinemesh/src", "libs/kinemesh/gen", "libs/client/src")
    found = [*(root / library for library in libraries), *services]
    return os.pathsep.join(map(str, found))


@pytest.fixture(scope="module")
def models(extended: Path, open_folder: Path) -> Path:
    """The copy's synthetic models."""
    repository = open_folder / "extended-models"
    command = [str(triton_python()), "-m", "kinemesh_models", "build", "--set", "mock", "--out", str(repository)]
    env = {**os.environ, "PYTHONPATH": str(extended / "triton_models/src")}
    subprocess.run(command, check=True, capture_output=True, timeout=WITHIN_S, env=env)
    for program in repository.glob("*/1/model.py"):
        # The model server's interpreter knows the sources of the checkout only.
        first = f"import sys; sys.path.insert(0, {str(extended / 'triton_models/src')!r})\n"
        program.write_text(first + program.read_text())
    return repository


@pytest.fixture(scope="module")
def mesh(extended: Path, models: Path, open_folder: Path) -> Iterator[dict[str, Any]]:
    """A mesh of the copy, as ``kinemesh status`` describes it."""
    folder = open_folder / "extended-mesh"
    env = environment(PYTHONPATH=paths(extended), KINEMESH_DATA_DIR=str(folder))

    def kinemesh(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kinemesh_client", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, env=env, check=False)

    started = kinemesh("up", "--detach", f"--models={models}", "--port=0")
    assert started.returncode == 0, started.stderr
    yield json.loads(kinemesh("status", "--json").stdout)
    assert kinemesh("down").returncode == 0


def test_the_new_pipeline_runs(mesh: dict[str, Any], tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip, pts=[3000 * number for number in range(20)], size=(320, 180))
    with httpx.Client(base_url=f"{mesh['http']}/api/v1", timeout=60) as http:
        described = {"filename": "clip.mp4", "content_type": "video/mp4", "size_bytes": clip.stat().st_size}
        created = http.post("/assets", json=described).raise_for_status().json()
        upload = created["upload"]
        httpx.put(upload["url"], content=clip.read_bytes(), headers=upload["headers"]).raise_for_status()
        asset_id = created["asset"]["asset_id"]
        http.post(f"/assets/{asset_id}/confirm", json={}).raise_for_status()

        def ask(least: int) -> httpx.Response:
            wanted = {"pipeline": "turnout", "asset_id": asset_id, "parameters": {"at_least": least}}
            return http.post("/jobs", json=wanted)

        assert ask(17).json()["error"]["metadata"]["field"] == "at_least"
        job_id = ask(2).raise_for_status().json()["job_id"]
        address = f"{mesh['http'].replace('http', 'ws', 1)}/ws/jobs/{job_id}"
        states = _states(address)
        assert states[-1] == "SUCCEEDED"
        told = http.get(f"/jobs/{job_id}/outputs/turnout.json").json()
        assert told == {str(frame): 2 for frame in range(20)}


def _states(address: str) -> list[str]:
    with connect(address, max_size=None, open_timeout=30) as socket:
        messages = [json.loads(text) for text in socket]
    return [message["payload"]["state"] for message in messages if message["type"] == "state"]


def test_the_new_model_is_served(mesh: dict[str, Any]) -> None:
    models = httpx.get(f"{mesh['http']}/api/v1/models", params={"limit": 100}, timeout=60).json()["models"]
    (model,) = (model for model in models if model["model"] == "first_person_detector")
    assert model["state"] == "READY"


def test_the_new_service_runs(mesh: dict[str, Any]) -> None:
    assert mesh["servers"]["idler"]["address"]
    assert set(SERVICES) < set(mesh["servers"])


DESCRIBED = ("docs/", "CHANGELOG", "README", "tests/", "bench/", "k8s/examples/", "Makefile", "libs/client/")


def naming(word: str, own: str) -> list[str]:
    """Files outside of a thing's folder that name it: neither documents, tests and examples, nor generated ones."""
    command = ["git", "grep", "-lw", word, "--", ".", ":!*.md", ":!libs/kinemesh/gen", ":!protos/baseline.binpb"]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.split()
    return [name for name in found if not name.startswith((own, *DESCRIBED)) and "/tests/" not in name]


@pytest.mark.parametrize("model", ["rtmdet_nano_person", "yolox_tiny", "yolox_nano", "yolo11n", "person_reid_0287"])
def test_models_are_named_in_few_places(model: str) -> None:
    assert 1 <= len(naming(model, "triton_models/")) <= FEW


def test_every_pipeline_has_the_places_that_the_page_names() -> None:
    places = {edit.path for edit in sections(PAGE)["A new pipeline"] if not edit.path.startswith("services/pose/")}
    places -= {"libs/kinemesh/src/kinemesh/bus/topology.py"}  # of stages
    for name in PIPELINES:
        assert places <= set(naming(name, "none/")), name
