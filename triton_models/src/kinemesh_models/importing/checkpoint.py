"""Loads a checkpoint of Ultralytics without any of its code: every layer becomes an inert record of its attributes."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kinemesh_models.importing.pickles import layers_and_values
from kinemesh_models.refusal import RefusedError

_DETECTION = "ultralytics.nn.tasks.DetectionModel"
_DEEPEST, _MOST_TENSORS = 32, 20_000
_MOST_LAYERS, _MOST_NUMBER = 512, 65_536
_LAYER = re.compile(r"(nn\.)?(v\d+)?[A-Z]\w*")
_WORD = re.compile(r"[\w.]*")
_ACTIVATION = re.compile(r"(torch\.)?nn\.[A-Z]\w*\([\w.=, ]*\)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network's description (Ultralytics' yaml), its weights by name, class names, and the size it was trained at."""

    description: dict[str, Any]
    weights: dict[str, torch.Tensor]
    labels: tuple[str, ...]
    size: int


class _Record:
    """Stands for any class: keeps the attributes, calls nothing."""

    origin = ""

    def __new__(cls, *arguments: object) -> _Record:
        if arguments:
            raise RefusedError("UNSAFE_WEIGHTS", f"Loading the file would call {cls.origin} with arguments.")
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class _Value:
    """Stands for a value that nobody reads."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def load(path: Path) -> Checkpoint:
    """Read the weights in ``path``. Raises :class:`RefusedError`: UNSAFE_WEIGHTS, UNKNOWN_FORMAT or WRONG_HEAD."""
    layers, values = layers_and_values(path)
    known: list[Any] = [(type("Record", (_Record,), {"origin": name}), name) for name in sorted(layers)]
    known += [(type("Value", (_Value,), {}), name) for name in sorted(values)]
    try:
        with torch.serialization.safe_globals(known), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except RefusedError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        # torch raises whatever a damaged file makes its steps raise.
        raise RefusedError("UNKNOWN_FORMAT", "The file is damaged, or not one that torch has saved.") from error
    model = (saved.get("ema") or saved.get("model")) if isinstance(saved, dict) else saved
    if not isinstance(model, _Record):
        message = (
            "The file holds no network of Ultralytics (bare weights say nothing about the network): export it to ONNX."
        )
        raise RefusedError("UNKNOWN_FORMAT", message)
    if model.origin != _DETECTION:
        message = f"The file holds a {model.origin.rpartition('.')[2]}; Ultralytics' DetectionModel can be converted"
        raise RefusedError("WRONG_HEAD", f"{message}. Others may be imported as ONNX.", network=model.origin)
    attributes = vars(model)
    weights: dict[str, torch.Tensor] = {}
    _collect(model, "", 0, weights)
    return Checkpoint(
        _checked_description(attributes.get("yaml")),
        weights,
        _labels(attributes.get("names")),
        _size(saved, attributes),
    )


def _collect(record: _Record, prefix: str, depth: int, weights: dict[str, torch.Tensor]) -> None:
    """The tensors of a module tree under the names that ``state_dict`` gives them."""
    attributes = vars(record)
    fleeting = attributes.get("_non_persistent_buffers_set", set())
    for kind in ("_parameters", "_buffers"):
        for name, tensor in _entries(attributes, kind):
            if isinstance(tensor, torch.Tensor) and name not in fleeting:
                weights[prefix + name] = tensor.detach()
    if depth > _DEEPEST or len(weights) > _MOST_TENSORS:
        raise RefusedError("MODEL_TOO_LARGE", "The network is nested too deep or has too many tensors.")
    for name, child in _entries(attributes, "_modules"):
        # A loss that training has left behind is no layer.
        if isinstance(child, _Record) and not child.origin.startswith("ultralytics.utils"):
            _collect(child, f"{prefix}{name}.", depth + 1, weights)


def _entries(attributes: dict[str, Any], kind: str) -> list[tuple[str, object]]:
    entries = attributes.get(kind)
    return [(str(name), value) for name, value in entries.items()] if isinstance(entries, dict) else []


def _checked_description(description: object) -> dict[str, Any]:
    """Ultralytics evaluates parts of its yaml: let nothing through but numbers and names of layers."""
    if not isinstance(description, dict):
        raise RefusedError("UNKNOWN_FORMAT", "The file does not describe its network.")
    rows = [row for part in ("backbone", "head") for row in description.get(part) or [()]]
    plain = {key: value for key, value in description.items() if key != "activation"}
    usable = (
        len(rows) <= _MOST_LAYERS
        and all(isinstance(row, (list, tuple)) and len(row) == 4 and isinstance(row[3], (list, tuple)) for row in rows)
        and all(isinstance(row[2], str) and _LAYER.fullmatch(row[2]) for row in rows)
        and _is_plain(plain, 0)
        and _ACTIVATION.fullmatch(str(description.get("activation") or "nn.SiLU()")) is not None
    )
    if not usable:
        raise RefusedError("UNSAFE_WEIGHTS", "The file describes its network in a way that Ultralytics does not.")
    return description


def _is_plain(value: object, depth: int) -> bool:
    if depth > 6:
        return False
    if isinstance(value, dict):
        return all(_is_plain(part, depth + 1) for item in value.items() for part in item)
    if isinstance(value, (list, tuple)):
        return all(_is_plain(part, depth + 1) for part in value)
    if isinstance(value, str):
        return bool(re.fullmatch(r"[\w./\\: -]*", value)) if depth <= 1 else bool(_WORD.fullmatch(value))
    if isinstance(value, (bool, type(None))):
        return True
    return isinstance(value, (int, float)) and abs(value) <= _MOST_NUMBER


def _labels(names: object) -> tuple[str, ...]:
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def _size(saved: object, attributes: dict[str, Any]) -> int:
    """The side of the pictures that the network was trained on."""
    for told in (saved.get("train_args") if isinstance(saved, dict) else None, attributes.get("args")):
        size = told.get("imgsz") if isinstance(told, dict) else None
        size = max(size) if isinstance(size, list) and size else size
        if isinstance(size, int) and not isinstance(size, bool) and 32 <= size <= 4096:
            return -(-size // 32) * 32
    return 640
