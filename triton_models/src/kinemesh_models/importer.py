"""``import``: a user's own weights become a served detector or embedder, or are refused with a reason.

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
from kinemesh_models.model_folder import check_name
from kinemesh_models.refusal import RefusedError
from kinemesh_models.repository import ACCELERATORS

MOST_BYTES = 512 << 20
_MOST_LABELS, _LONGEST_LABEL = 1000, 100
_CONVERSION = Limits(memory_bytes=8 << 30, seconds=600, cpu_seconds=900, file_bytes=1 << 30)
_TRIAL = Limits(memory_bytes=6 << 30, seconds=180, cpu_seconds=300, file_bytes=1 << 20)
_CONVERTER = Path(__file__).parents[2] / "converter" / ".venv" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Source:
    """What a user says about a file of weights. No labels: the file must tell its own.

    :param task: ``detector`` or ``embedder``.
    :param order, mean, scale: how an embedder sees pixels; see :class:`~kinemesh_models.onnx_embedder.Colours`.
    """

    file: Path
    labels: Sequence[str] = ()
    licence: str = ""
    picture: Path | None = None
    task: str = "detector"
    order: str = ""
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


def add_parser(commands: Any, files: argparse.ArgumentParser) -> None:
    """Add the command; ``files`` holds the options of whatever fetches."""
    command = commands.add_parser(
        "import", parents=[files], help="serve a detector (.onnx, .pt) or embedder (.onnx) of one's own"
    )
    command.add_argument("file", type=Path)
    command.add_argument("--name", required=True)
    command.add_argument("--repository", type=Path, required=True)
    command.add_argument("--task", choices=("detector", "embedder"), default="detector")
    command.add_argument("--label", action="append", default=[], help="of class 0, then of class 1 and so on")
    command.add_argument("--licence", default="")
    command.add_argument("--picture", type=Path, help="to try it on; should show what it finds")
    command.add_argument("--order", default="", help="of an embedder's channels: RGB or BGR")
    command.add_argument("--mean", default="", help="an embedder sees (pixel - mean) / scale: one number, or three, in")
    command.add_argument("--scale", default="", help="the order of the channels, such as 123.675,116.28,103.53")
    command.add_argument("--accelerator", choices=sorted(ACCELERATORS), default="cpu")
    command.add_argument("--json", action="store_true", help="answer in JSON, on the last line")
    command.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    try:
        source = Source(
            arguments.file,
            arguments.label,
            arguments.licence,
            arguments.picture or _sample(arguments.cache, arguments.mirror),
            arguments.task,
            arguments.order,
            _numbers(arguments.mean),
            _numbers(arguments.scale),
        )
        answer = import_model(source, arguments.name, arguments.repository, arguments.accelerator)
    except RefusedError as error:
        return refused(error, as_json=arguments.json)
    print(json.dumps(answer) if arguments.json else f"{arguments.name} lies in {arguments.repository}")
    return 0


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(",")) if text else ()
    except ValueError:
        message = "Mean and scale are numbers with commas between them."
        raise RefusedError("INVALID_COLOURS", message, given=text[:100]) from None


def _sample(cache: Path, mirror: Path | None) -> Path | None:
    try:
        return fetch(manifest.load().samples["astronaut"], cache, mirror)
    except (FetchError, OSError) as error:
        print(f"kinemesh_models: the model is tried on generated pictures only ({error})", file=sys.stderr)
        return None


def import_model(
    source: Source, name: str, repository: Path, accelerator: str = "cpu", converter: Path | None = None
) -> dict[str, object]:
    """Write the detector or embedder in ``source`` into ``repository`` as ``name``, or nothing.

    :param converter: Python of the environment that converts ``.pt``; see :func:`converter_python`.

    Returns what :func:`~kinemesh_models.detector_folder.summary` tells, or that of embedders, and which ``walls`` stood
    around the file.

    :raises RefusedError: INVALID_NAME, MODEL_EXISTS, UNKNOWN_FORMAT, MODEL_TOO_LARGE, UNSAFE_WEIGHTS, WRONG_HEAD,
        LABELS_NEEDED, LABELS_MISMATCH, DEAD_MODEL, NOT_FINITE, CONVERSION_FAILED, CONVERSION_LIMIT, CONVERTER_MISSING,
        INVALID_PICTURE, INVALID_COLOURS, NOT_DETERMINISTIC.
    """
    check_name(name)
    if (repository / name).exists():
        raise RefusedError("MODEL_EXISTS", "There is a model of this name: remove it first.", model=name)
    suffix = source.file.suffix.lower()
    if suffix not in (".onnx", ".pt") or not source.file.is_file():
        raise RefusedError("UNKNOWN_FORMAT", "Weights come as a file .onnx or .pt.", file=source.file.name[:100])
    if source.task == "embedder":
        _check_embedder(source)
    elif source.order or source.mean or source.scale:
        raise RefusedError(
            "INVALID_COLOURS", "How a detector sees pixels is told by its head: say it of embedders only."
        )
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
        facts = {
            "licence": source.licence or "unknown",
            "description": "Imported",
            "source": "imported",
            "preference": 0,
            "accelerator": accelerator,
            "out": repository,
        }
        taken = _embedder if source.task == "embedder" else _detector
        return taken(source, name, network, facts)


def _detector(source: Source, name: str, network: Path, facts: dict[str, Any]) -> dict[str, object]:
    # onnxruntime takes a second to import, and `build` and `serve` do not need it.
    from kinemesh_models.detector_folder import summary, write_detector
    from kinemesh_models.heads import Head

    tried = try_model(network, source.picture)
    head = Head(**{key: _frozen(value) for key, value in tried.result["head"].items()})
    labels = _labels(source.labels, head.labels, head.classes)
    write_detector(name, network, head, labels, **facts)
    return {**summary(name, network, head, labels), "walls": tried.walls}


def _check_embedder(source: Source) -> None:
    if source.file.suffix.lower() != ".onnx":
        raise RefusedError("UNKNOWN_FORMAT", "Embedders come as a file .onnx.", file=source.file.name[:100])
    if source.labels:
        raise RefusedError("LABELS_MISMATCH", "An embedder has no classes to label.", labels=len(source.labels))


def _embedder(source: Source, name: str, network: Path, facts: dict[str, Any]) -> dict[str, object]:
    from kinemesh_models.embedder import Feed
    from kinemesh_models.embedder_folder import summary, write_embedder

    colours = {"order": source.order, "mean": source.mean, "scale": source.scale}
    tried = try_model(network, source.picture, "embedder_trial", colours)
    feed = Feed(**{key: _frozen(value) for key, value in tried.result["feed"].items()})
    write_embedder(name, network, feed, **facts)
    return {**summary(name, network, feed), "alike": tried.result["alike"], "walls": tried.walls}


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


def try_model(
    network: Path, picture: Path | None, trial: str = "trial", options: dict[str, Any] | None = None
) -> confined.Answer:
    """Examine an ONNX file and run it, on ``picture`` and generated ones; see :func:`.importing.trial.examine` and
    :func:`.importing.embedder_trial.examine`."""
    with confined.scratch_folder() as scratch:
        confined.copy(network, scratch / "model.onnx", MOST_BYTES)
        if picture is not None:
            confined.copy(picture.resolve(), scratch / "picture", MOST_BYTES)
        return confined.run(
            Path(sys.executable),
            f"kinemesh_models.importing.{trial}:examine",
            {"model": "model.onnx", "picture": "picture" if picture is not None else None, **(options or {})},
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
