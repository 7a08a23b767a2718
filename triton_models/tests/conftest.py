"""Networks to import: made once per session, by the environment that converts."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from kinemesh.testing.fixtures import triton_python

_HERE = Path(__file__).parent
_LIMITS = {"memory_bytes": 4 << 30, "seconds": 60, "cpu_seconds": 60, "file_bytes": 1 << 20}

Import = Callable[..., dict[str, Any]]
Confine = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def converter() -> Path:
    """Python of the converter's environment."""
    python = Path(os.environ.get("KINEMESH_CONVERTER") or _HERE.parent / "converter" / ".venv" / "bin" / "python")
    if not python.is_file():
        pytest.fail("the environment that converts weights is not set up: run `make converter`")
    return python


@pytest.fixture(scope="session")
def weights(converter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights; :mod:`make_weights` says which."""
    folder = tmp_path_factory.mktemp("weights")
    environment = {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    subprocess.run(
        [str(converter), str(_HERE / "make_weights.py"), str(folder)],
        env={**os.environ, **environment, "YOLO_VERBOSE": "false"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    return folder


@pytest.fixture
def take_in(tmp_path: Path) -> Import:
    """Runs the program's import into ``tmp_path / "own" / "models"``; answers with what it says in JSON."""

    def run(file: Path, *options: object, name: str = "mine", **environment: str) -> dict[str, Any]:
        command = [str(triton_python()), "-m", "kinemesh_models", "import", str(file), f"--name={name}", "--json"]
        command += [f"--repository={tmp_path / 'own' / 'models'}", *map(str, options)]
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.stdout.strip(), done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert done.returncode == ("error" in answer)
        return answer

    return run


@pytest.fixture
def confine(converter: Path) -> Confine:
    """Runs one of :mod:`hostile_tasks` behind the walls, under the Python that loads weights."""

    def run(
        entry: str,
        *,
        files: dict[str, Path] | None = None,
        take: str = "",
        limits: dict[str, float] | None = None,
        **arguments: object,
    ) -> dict[str, Any]:
        task = {
            "python": str(converter),
            "entry": entry,
            "arguments": arguments,
            "files": {name: str(file) for name, file in (files or {}).items()},
            "take": take,
            "limits": {**_LIMITS, **(limits or {})},
        }
        command = [str(triton_python()), str(_HERE / "confine.py")]
        done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run


@pytest.fixture(scope="session")
def play_network() -> Callable[[Path], None]:
    """Lets the Python backend run a network's folder that is meant for a GPU."""

    def change(folder: Path) -> None:
        file = folder / "config.pbtxt"
        kept = text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())
        for gone in ("platform", "optimization", "model_warmup", "instance_group"):
            kept.ClearField(gone)
        kept.backend = "python"
        file.write_text(text_format.MessageToString(kept))
        shutil.copyfile(_HERE / "plays_network.py", folder / "1" / "model.py")

    return change


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that knows whether anybody has come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


class _Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@pytest.fixture
def call_of() -> Callable[..., object]:
    """Makes of a function and its arguments what calls it when it is unpickled."""
    return _Call
