"""The manifest ``models.toml`` as frozen dataclasses."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a model; ``shape`` without the batch dimension."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """Where a file comes from and what it must hash to. Exactly one of ``wheel`` and ``url`` is set.

    ``wheel`` is a requirement (``name==version``) and ``member`` the path inside that wheel.
    """

    name: str
    sha256: str
    size: int
    licence: str
    labels: tuple[str, ...]
    wheel: str | None = None
    member: str | None = None
    url: str | None = None

    @property
    def filename(self) -> str:
        source = self.member or self.url or self.name
        return source.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Model:
    """One served model: its contract, the backend module that answers, and its weights (none: a mock)."""

    name: str
    task: str
    description: str
    max_batch: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    backend: str
    weights: Download | None


@dataclass(frozen=True, slots=True)
class Manifest:
    weights: dict[str, Download]
    samples: dict[str, Download]
    sets: dict[str, tuple[Model, ...]]


def load(path: Path | None = None) -> Manifest:
    """Read the manifest, the packaged one by default.

    Raises ``KeyError`` or ``TypeError`` where an entry lacks or has too many fields.
    """
    text = path.read_text() if path else resources.files(__package__).joinpath("models.toml").read_text()
    table = tomllib.loads(text)
    weights = _downloads(table["weights"])
    sets = {
        set_name: tuple(_model(name, table["contracts"][name], entry, weights) for name, entry in entries.items())
        for set_name, entries in table["sets"].items()
    }
    return Manifest(weights, _downloads(table["samples"]), sets)


def _downloads(entries: dict[str, dict[str, Any]]) -> dict[str, Download]:
    return {name: Download(name=name, **{**entry, "labels": tuple(entry["labels"])}) for name, entry in entries.items()}


def _model(name: str, contract: dict[str, Any], entry: dict[str, str], weights: dict[str, Download]) -> Model:
    return Model(
        name=name,
        task=contract["task"],
        description=contract["description"],
        max_batch=contract["max_batch"],
        inputs=_tensors(contract["inputs"]),
        outputs=_tensors(contract["outputs"]),
        backend=entry["backend"],
        weights=weights[entry["weights"]] if "weights" in entry else None,
    )


def _tensors(entries: list[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(entry["name"], entry["type"], tuple(entry["shape"])) for entry in entries)
