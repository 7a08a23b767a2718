"""``add`` and ``remove``: detectors and embedders of the manifest in a user's own model repository."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinemesh_models import manifest
from kinemesh_models.fetch import FetchError, fetch_network, sha256_of
from kinemesh_models.manifest import DetectorEntry, EmbedderEntry
from kinemesh_models.refusal import RefusedError
from kinemesh_models.repository import ACCELERATORS


def add_parsers(commands: Any, files: argparse.ArgumentParser) -> None:
    """Add the commands; ``files`` holds the options of whatever fetches."""
    command = commands.add_parser("add", parents=[files], help="serve a detector or embedder of the manifest")
    command.add_argument("name")
    command.add_argument("--repository", type=Path, required=True)
    command.add_argument("--accelerator", choices=sorted(ACCELERATORS), default="cpu")
    command.add_argument("--json", action="store_true", help="answer in JSON, on the last line")
    command.set_defaults(run=_add)

    command = commands.add_parser("remove", help="remove a model that was added or imported")
    command.add_argument("name")
    command.add_argument("--repository", type=Path, required=True)
    command.add_argument("--json", action="store_true", help="answer in JSON, on the last line")
    command.set_defaults(run=_remove)


def _add(arguments: argparse.Namespace) -> int:
    try:
        answer = add(arguments.name, arguments.repository, arguments.accelerator, arguments.cache, arguments.mirror)
    except RefusedError as error:
        return refused(error, as_json=arguments.json)
    print(json.dumps(answer) if arguments.json else f"{arguments.name} lies in {arguments.repository}")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from kinemesh_models.model_folder import remove_model

    try:
        remove_model(arguments.name, arguments.repository)
    except RefusedError as error:
        return refused(error, as_json=arguments.json)
    print(json.dumps({"model": arguments.name}) if arguments.json else f"{arguments.name} is removed")
    return 0


def refused(error: RefusedError, *, as_json: bool) -> int:
    """Say why, to a person or a program; the exit code."""
    if as_json:
        told = {"reason": error.reason, "message": error.message, "metadata": error.metadata}
        print(json.dumps({"error": told}))
    else:
        print(f"kinemesh_models: {error.message} ({error.reason})", file=sys.stderr)
    return 1


def add(name: str, repository: Path, accelerator: str, cache: Path, mirror: Path | None) -> dict[str, object]:
    """Bring a model of the manifest into ``repository``; one that is there already stays as it is.

    :raises RefusedError: ``MODEL_NOT_FOUND``, ``MODEL_EXISTS`` (another one of this name), ``DOWNLOAD_FAILED``, and
        those of the conversion for weights of PyTorch.
    """
    # onnxruntime takes a second to import, and `build` and `serve` do not need it.
    from kinemesh_models.model_folder import added_network

    listed = manifest.load()
    entries: dict[str, DetectorEntry | EmbedderEntry] = {**listed.detectors, **listed.embedders}
    if name not in entries:
        message = f"The manifest has no such model to add. It has: {', '.join(sorted(entries))}."
        raise RefusedError("MODEL_NOT_FOUND", message, model=name[:100])
    entry = entries[name]
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = fetch_network(entry.weights, cache, Path(folder), mirror)
        except FetchError as error:
            raise RefusedError("DOWNLOAD_FAILED", f"The weights cannot be had: {error}.", model=name) from error
        if isinstance(entry, EmbedderEntry):
            return _write_embedder(entry, file, repository, accelerator)
        if file.suffix == ".onnx":
            return _write_detector(entry, file, repository, accelerator)
        # What is there was converted from this entry's weights; again would only take time.
        if (network := added_network(name, repository)) is not None:
            return _write_detector(entry, network, repository, accelerator)
        from kinemesh_models.importer import to_onnx  # which asks this module how to refuse

        network = file.with_suffix(".onnx")
        to_onnx(file, network)
        return _write_detector(entry, network, repository, accelerator)


def _write_detector(entry: DetectorEntry, network: Path, repository: Path, accelerator: str) -> dict[str, object]:
    from kinemesh_models.detector_folder import summary, write_detector
    from kinemesh_models.onnx_head import describe_onnx

    head = describe_onnx(network)
    if entry.size is not None and head.dynamic:
        head = replace(head, height=entry.size, width=entry.size)
    if not _is_there(entry.name, network, repository):
        write_detector(
            entry.name, network, head, entry.labels, **_facts(entry), accelerator=accelerator, out=repository
        )
    return summary(entry.name, network, head, entry.labels)


def _write_embedder(entry: EmbedderEntry, network: Path, repository: Path, accelerator: str) -> dict[str, object]:
    from kinemesh_models.embedder_folder import summary, write_embedder
    from kinemesh_models.onnx_embedder import Colours, describe_embedder, describe_openvino

    describe = describe_openvino if network.suffix == ".xml" else describe_embedder
    feed = describe(network, Colours(entry.order, entry.mean, entry.scale))
    if not _is_there(entry.name, network, repository):
        write_embedder(entry.name, network, feed, **_facts(entry), accelerator=accelerator, out=repository)
    return summary(entry.name, network, feed)


def _facts(entry: DetectorEntry | EmbedderEntry) -> dict[str, Any]:
    return {
        "licence": entry.weights.licence,
        "description": entry.description,
        "source": "manifest",
        "preference": entry.preference,
    }


def _is_there(name: str, network: Path, repository: Path) -> bool:
    from kinemesh_models.model_folder import added_network

    present = added_network(name, repository)
    return present is not None and sha256_of(present) == sha256_of(network)
