"""The mesh on this machine: its models in this checkout, the one that runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Final

from kinemesh.embedded.credentials import load_secrets
from kinemesh.embedded.running import running_mesh
from kinemesh.embedded.triton import TritonModels
from kinemesh.errors import FailedPrecondition, Unavailable
from kinemesh_client.credentials import Fetch, signing

DATA_DIR: Final = Path(".kinemesh")
PORT: Final = 8080
HOST: Final = "127.0.0.1"
LOOPBACK: Final = (HOST, "localhost", "::1")
_COMMAND_S: Final = 300.0


def find_models(name: str) -> TritonModels:
    """A model set that ``make models`` built, or a model repository in any folder, with what serves it.

    :param name: ``default``, ``mock`` or the path of a repository.
    :raises FailedPrecondition: ``MODELS_MISSING``.
    """
    folder = models_project()
    repository = Path(name) if "/" in name else folder / "build" / name
    if not repository.is_dir():
        raise FailedPrecondition("MODELS_MISSING", f"There is no model set {name}: run `make models`.", models=name)
    return TritonModels(models_python(folder), repository.resolve())


def models_project() -> Path:
    """The folder ``triton_models`` of the checkout that this package or the current folder lies in.

    :raises FailedPrecondition: ``MODELS_MISSING``.
    """
    for start in (Path.cwd(), Path(__file__).resolve()):
        for folder in (start, *start.parents):
            if (folder / "triton_models" / "pyproject.toml").is_file():
                return folder / "triton_models"
    raise FailedPrecondition(
        "MODELS_MISSING",
        "The project triton_models was not found: run this inside a checkout, or name a mesh by --url.",
    )


def models_python(folder: Path) -> Path:
    """The interpreter of the model project.

    :raises FailedPrecondition: ``MODELS_MISSING``.
    """
    python = folder / ".venv" / "bin" / "python"
    if not python.is_file():
        raise FailedPrecondition("MODELS_MISSING", "The model server is not set up: run `make setup`.")
    return python


async def fetch_photo(out: Path) -> None:
    """Write the photo of a person that the demonstration starts from.

    :raises Unavailable: ``PHOTO_UNAVAILABLE``.
    """
    folder = models_project()
    command = [str(models_python(folder)), "-m", "kinemesh_models", "sample", "astronaut", "--out", str(out)]
    run = subprocess.run
    done = await asyncio.to_thread(run, command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    if done.returncode:
        raise Unavailable("PHOTO_UNAVAILABLE", f"The photo could not be fetched: {done.stderr.strip()[-300:]}")


def signer(data_dir: Path) -> Fetch | None:
    """Shows who calls to the mesh that runs in a data folder, by its own secret; None if it asks nobody."""
    described = running_mesh(data_dir)
    if described is None or not described.get("auth"):
        return None
    return signing(load_secrets(data_dir / "secrets.json").auth_secret)


def running_url(data_dir: Path) -> str | None:
    """The URL of the mesh that runs in a data folder, if one does."""
    described = running_mesh(data_dir)
    return None if described is None else str(described["http"])


def spawn(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command that outlives this one, with its output in ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(  # noqa: S603 - our own command
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
