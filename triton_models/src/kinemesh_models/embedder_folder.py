"""Writes and describes the folders of embedders in a user's own model repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from kinemesh_models.embedder import Feed
from kinemesh_models.manifest import Tensor
from kinemesh_models.model_folder import MARKER, file_facts, files_of, new_model
from kinemesh_models.onnx_network import ONNXRUNTIME
from kinemesh_models.part_colors import HEIGHT, WIDTH
from kinemesh_models.repository import ACCELERATORS, config_text

_MAX_BATCH = 64
_MODEL = "from kinemesh_models.backends.embedder import TritonPythonModel as TritonPythonModel\n"


def write_embedder(
    name: str,
    network: Path,
    feed: Feed,
    *,
    licence: str,
    description: str,
    source: str,
    preference: int,
    accelerator: str,
    out: Path,
) -> None:
    """Write the model ``name`` into the repository ``out``: all of it or, if anything fails, nothing.

    :param network: ``model.onnx``, or ``model.xml`` with ``model.bin`` beside it, which only OpenVINO runs.
    :param source: ``manifest`` or ``imported``.
    :param accelerator: a key of :data:`~kinemesh_models.repository.ACCELERATORS`.
    :raises RefusedError: ``INVALID_NAME``, ``MODEL_EXISTS``.
    """
    host = ACCELERATORS[accelerator]
    provider = host.provider if network.suffix == ".onnx" else ""
    facts = {
        "task": "embedder",
        "description": description,
        "licence": licence,
        "labels": "[]",
        **file_facts(network),
        "source": source,
        "preference": str(preference),
        "weights": network.name,
        "device": provider or host.device,
    }
    if provider:
        facts["runtime"] = ONNXRUNTIME
    image = Tensor("image", "UINT8", (HEIGHT, WIDTH, 3))
    vector = Tensor("embedding", "FP32", (feed.dimension,))
    with new_model(name, out) as scratch:
        (scratch / name / "1").mkdir(parents=True)
        (scratch / name / "1" / "model.py").write_text(_MODEL)
        for file in files_of(network):
            shutil.copyfile(file, scratch / name / "1" / file.name)
        text = config_text(MARKER, name, _MAX_BATCH, [image], [vector], {**feed.parameters(), **facts}, host)
        (scratch / name / "config.pbtxt").write_text(text)


def summary(name: str, network: Path, feed: Feed) -> dict[str, object]:
    """What a program that adds or imports answers with."""
    facts = file_facts(network)
    return {
        "model": name,
        "labels": [],
        "sha256": facts["sha256"],
        "size_bytes": int(facts["size_bytes"]),
        "input_width": feed.width,
        "input_height": feed.height,
        "dimension": feed.dimension,
    }
