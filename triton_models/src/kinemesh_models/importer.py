"""``import``: a user's own weights become a served detector, or are refused with a reason.

Whatever reads the file does so in a process of its own, behind walls; see :mod:`kinemesh_models.importing`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinemesh_models import manifest
from kinemesh_models.adding import refused
from kinemesh_models.fetch import FetchError, fetch
from kinemesh_models.importing import confined
from kinemesh_models.importing.walls import Limits
from kinemesh_models.refusal import RefusedError
from kinemesh_models.repository import ACCELERATORS

MOST_BYTES = 512 << 20
_MOST_LABELS, _LONGEST_LABEL = 1000, 100
_CONVERSION = Limits(memory_bytes=8 << 30, seconds=600, cpu_seconds=900, file_bytes=1 << 30)
_TRIAL = Limits(memory_bytes=6 << 30, seconds=180, cpu_seconds=300, file_bytes=1 << 20)
_CONVERTER = Path(__file__).parents[2] / "converter" / ".venv" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Source:
    """What a user says about a file of weights. No labels: the file must tell its own."""

    file: Path
    labels: Sequence[str] = ()
    licence: str = ""
    picture: Path | None = None


def add_parser(commands: Any, files: argparse.ArgumentParser) -> None:
    """Add the command; ``files`` holds the options of whatever fetches."""
    command = commands.add_parser("import", parents=[files], help="serve a detector of one's own (.onnx, .pt)")
    command.add_argument("file", type=Path)
    command.add_argument("--name", required=True)
    command.add_argument("--repository", type=Path, required=True)
    command.add_argument("--label", action="append", default=[], help="of class 0, then of class 1 and so on")
    command.add_argument("--licence", default="")
    command.add_argument("--picture", type=Path, help="to try it on; should show what it finds")
    command.add_argument("--accelerator", choices=sorted(ACCELERATORS), default="cpu")
    command.add_argument("--json", action="store_true", help="answer in JSON, on the last line")
    command.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    source = Source(arguments.file, arguments.label, arguments.licence, arguments.picture)
    if source.picture is None:
        source = Source(source.file, source.labels, source.licence, _sample(arguments.cache, arguments.mirror))
    try:
        answer = import_model(source, arguments.name, arguments.repository, arguments.accelerator)
    except RefusedError as error:
        return refused(error, as_json=arguments.json)
    print(json.dumps(answer) if arguments.json else f"{arguments.name} lies in {arguments.repository}")
    return 0


def _sample(cache: Path, mirror: Path | None) -> Path | None:
    try:
        return fetch(manifest.load().samples["astronaut"], cache, mirror)
    except (FetchError, OSError) as error:
        print(f"kinemesh_models: the model is tried on generated pictures only ({error})", file=sys.stderr)
        return None


def import_model(
    source: Source, name: str, repository: Path, accelerator: str = "cpu", converter: Path | None = None
) -> dict[str, object]:
    """Write the detector in ``source`` into ``repository`` as ``name``, or nothing.

    :param converter: Python of the environment that converts ``.pt``; see :func:`converter_python`.

    Returns what :func:`~kinemesh_models.detector_folder.summary` tells, and which ``walls`` stood around the file.

    :raises RefusedError: INVALID_NAME, MODEL_EXISTS, UNKNOWN_FORMAT, MODEL_TOO_LARGE, UNSAFE_WEIGHTS, WRONG_HEAD,
        LABELS_NEEDED, LABELS_MISMATCH, DEAD_MODEL, NOT_FINITE, CONVERSION_FAILED, CONVERSION_LIMIT, CONVERTER_MISSING,
        INVALID_PICTURE.
    """
    # onnxruntime takes a second to import, and `build` and `serve` do not need it.
    from kinemesh_models.detector_folder import summary, write_detector
    from kinemesh_models.heads import Head
    from kinemesh_models.model_folder import check_name

    check_name(name)
    if (repository / name).exists():
        raise RefusedError("MODEL_EXISTS", "There is a model of this name: remove it first.", model=name)
    suffix = source.file.suffix.lower()
    if suffix not in (".onnx", ".pt") or not source.file.is_file():
        raise RefusedError("UNKNOWN_FORMAT", "Weights come as a file .onnx or .pt.", file=source.file.name[:100])
    if (size := source.file.stat().st_size) > MOST_BYTES:
        message = f"The file has {size >> 20} MiB; {MOST_BYTES >> 20} are the most."
        raise RefusedError("MODEL_TOO_LARGE", message, size_bytes=size, most_bytes=MOST_BYTES)
    if source.picture is not None and not source.picture.is_file():
        raise RefusedError("INVALID_PICTURE", "There is no such picture.", file=source.picture.name[:100])
    with confined.scratch_folder() as folder:
        network = folder / "network.onnx"
        if suffix == ".pt":
            to_onnx(source.file, network, converter)
        else:
            # A copy: what is examined is what will be served, whatever becomes of the user's file meanwhile.
            confined.copy(source.file.resolve(), network, MOST_BYTES)
        tried = try_model(network, source.picture)
        head = Head(**{key: _frozen(value) for key, value in tried.result["head"].items()})
        labels = _labels(source.labels, head.labels, head.classes)
        write_detector(
            name,
            network,
            head,
            labels,
            licence=source.licence or "unknown",
            description="Imported",
            source="imported",
            preference=0,
            accelerator=accelerator,
            out=repository,
        )
        return {**summary(name, network, head, labels), "walls": tried.walls}


def to_onnx(weights: Path, target: Path, converter: Path | None = None) -> confined.Answer:
    """Convert weights of Ultralytics' detection networks (``.pt``).

    :raises RefusedError: UNSAFE_WEIGHTS, UNKNOWN_FORMAT, CONVERTER_MISSING, WRONG_HEAD, MODEL_TOO_LARGE,
        CONVERSION_FAILED, CONVERSION_LIMIT.
    """
    with confined.scratch_folder() as scratch:
        confined.copy(weights.resolve(), scratch / "weights.pt", MOST_BYTES)
        # Needs no more than Python, and says at once what is wrong with most files that are refused.
        confined.run(
            Path(sys.executable),
            "kinemesh_models.importing.pickles:check",
            {"path": "weights.pt"},
            scratch,
            _TRIAL,
            demand=False,
        )
        python = converter or converter_python()
        answer = confined.run(
            python,
            "kinemesh_models.importing.ultralytics_export:convert",
            {"source": "weights.pt", "target": "model.onnx"},
            scratch,
            _CONVERSION,
        )
        confined.copy(scratch / "model.onnx", target, MOST_BYTES)
    return answer


def converter_python() -> Path:
    """Python of the environment that converts: ``KINEMESH_CONVERTER``, else the one that ``make converter`` makes.

    :raises RefusedError: CONVERTER_MISSING.
    """
    python = Path(os.environ.get("KINEMESH_CONVERTER") or _CONVERTER)
    if not os.access(python, os.X_OK):
        message = "Weights of PyTorch are converted in an environment that is not installed here: run `make converter`."
        raise RefusedError("CONVERTER_MISSING", message)
    return python


def try_model(network: Path, picture: Path | None) -> confined.Answer:
    """Examine an ONNX file and run it, on ``picture`` and a generated one; see :func:`.importing.trial.examine`."""
    with confined.scratch_folder() as scratch:
        confined.copy(network, scratch / "model.onnx", MOST_BYTES)
        if picture is not None:
            confined.copy(picture.resolve(), scratch / "picture", MOST_BYTES)
        return confined.run(
            Path(sys.executable),
            "kinemesh_models.importing.trial:examine",
            {"model": "model.onnx", "picture": "picture" if picture is not None else None},
            scratch,
            _TRIAL,
            demand=False,
        )


def _labels(given: Sequence[str], told: tuple[str, ...], classes: int) -> list[str]:
    """The user's names go before those of the file."""
    labels = [str(label) for label in (given or told)]
    if not labels:
        message = "The file does not name its classes: give a label for each, in order."
        raise RefusedError("LABELS_NEEDED", message, classes=classes or "unknown")
    if classes and len(labels) != classes:
        message = f"There are {len(labels)} labels for {classes} classes."
        raise RefusedError("LABELS_MISMATCH", message, labels=len(labels), classes=classes)
    usable = all(0 < len(label) <= _LONGEST_LABEL and label.isprintable() and label.strip() for label in labels)
    if len(labels) > _MOST_LABELS or not usable:
        message = f"There may be {_MOST_LABELS} labels, each of 1 to {_LONGEST_LABEL} printable characters."
        raise RefusedError("LABELS_MISMATCH", message, labels=len(labels))
    return labels


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
