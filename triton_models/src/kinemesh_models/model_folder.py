"""Folders of models in a user's own model repository: their names, how they come into place, and how they go."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinemesh_models import manifest
from kinemesh_models.fetch import sha256_of
from kinemesh_models.refusal import RefusedError
from kinemesh_models.repository import BUILT, NETWORK, WEIGHTS, parameter

MARKER = "# Written by kinemesh_models add or import.\n"
OPENVINO_GRAPH = "model.xml"
_NAME = re.compile(r"[a-z0-9_-]{1,64}")


def check_name(name: str) -> None:
    """Refuse names that a model cannot have.

    :raises RefusedError: ``INVALID_NAME``, or ``MODEL_EXISTS`` for a name of an embedded model.
    """
    _check_spelling(name)
    if any(name == model.name for models in manifest.load().sets.values() for model in models):
        raise RefusedError("MODEL_EXISTS", "An embedded model has this name.", model=name)


def _check_spelling(name: str) -> None:
    if not _NAME.fullmatch(name):
        message = "A model's name has 1 to 64 of a–z, 0–9, _ and -."
        raise RefusedError("INVALID_NAME", message, name=name[:100])


@contextmanager
def new_model(name: str, out: Path) -> Iterator[Path]:
    """A folder to write into: what lies in it at the end, ``name`` and perhaps its network, goes into the repository
    ``out``; nothing does if anything fails.

    :raises RefusedError: ``INVALID_NAME``, ``MODEL_EXISTS``.
    """
    check_name(name)
    if (out / name).exists():
        raise RefusedError("MODEL_EXISTS", "There is a model of this name: remove it first.", model=name)
    out.mkdir(parents=True, exist_ok=True)
    # Beside the repository: Triton takes every folder in it for a model.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out.resolve().parent) as scratch:
        yield Path(scratch)
        # The network goes first: whoever sees the model sees all of it.
        for part in (name + NETWORK, name):
            if (folder := Path(scratch) / part).is_dir():
                if part != name:
                    shutil.rmtree(out / part, ignore_errors=True)  # left by a removal that was killed
                folder.chmod(0o755)
                folder.rename(out / part)


def remove_model(name: str, repository: Path) -> None:
    """Remove a model's folder, and that of its network.

    :raises RefusedError: ``INVALID_NAME``, ``MODEL_NOT_FOUND``.
    """
    _check_spelling(name)
    config = repository / name / "config.pbtxt"
    if not config.is_file() or config.read_text().startswith(BUILT):
        raise RefusedError("MODEL_NOT_FOUND", "There is no added or imported model of this name.", model=name)
    # Renaming is atomic: Triton sees the whole model or none.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=repository.resolve().parent) as scratch:
        for folder in (repository / name, repository / (name + NETWORK)):
            if folder.is_dir():
                folder.rename(Path(scratch) / folder.name)


def added_network(name: str, repository: Path) -> Path | None:
    """The network of a model of the manifest that lies in ``repository``; None if there is none of this name."""
    config = repository / name / "config.pbtxt"
    if not config.is_file() or parameter("source", "manifest") not in config.read_text():
        return None
    files = [
        repository / folder / "1" / file for folder in (name, name + NETWORK) for file in (WEIGHTS, OPENVINO_GRAPH)
    ]
    return next((file for file in files if file.is_file()), None)


def files_of(network: Path) -> list[Path]:
    """The files that a network lies in: OpenVINO's own format keeps the weights apart from the graph."""
    return [network, network.with_suffix(".bin")] if network.suffix == ".xml" else [network]


def file_facts(network: Path) -> dict[str, str]:
    """The hash of a network's weights, and how large its files are."""
    files = files_of(network)
    return {"sha256": sha256_of(files[-1]), "size_bytes": str(sum(file.stat().st_size for file in files))}
