"""Writes and describes the folders of embedders in a user's own model repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from kinemesh_models.embedder import Feed
from kinemesh_models.manifest import Tensor
from kinemesh_models.model_folder import MARKER, file_facts, files_of, new_model
from kinemesh_models.network_folder import network_config
from kinemesh_models.onnx_network import ONNXRUNTIME
from kinemesh_models.part_colors import HEIGHT, WIDTH
from kinemesh_models.repository import ACCELERATORS, NETWORK, config_text

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

    :param network: a file ``.onnx``, or an ``.xml`` with its ``.bin`` beside it, which only OpenVINO runs.
    :param source: ``manifest`` or ``imported``.
    :param accelerator: a key of :data:`~kinemesh_models.repository.ACCELERATORS`.
    :raises RefusedError: ``INVALID_NAME``, ``MODEL_EXISTS``.
    """
    host = ACCELERATORS[accelerator]
    portable = network.suffix == ".onnx"
    facts = {
        "task": "embedder",
        "description": description,
        "licence": licence,
        "labels": "[]",
        **file_facts(network),
        "source": source,
        "preference": str(preference),
    }
    image = Tensor("image", "UINT8", (HEIGHT, WIDTH, 3))
    vector = Tensor("embedding", "FP32", (feed.dimension,))
    with new_model(name, out) as scratch:
        folder = scratch / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.py").write_text(_MODEL)
        backend = {"weights": f"model{network.suffix}", "device": host.device}
        place = folder / "1"
        if portable and host.gpu_instances:
            part = scratch / (name + NETWORK)
            place = part / "1"
            place.mkdir(parents=True)
            text = network_config(part.name, network, [feed.output], feed.shape, host, tensorrt=True)
            (part / "config.pbtxt").write_text(text)
            backend = {"network": part.name, "runtime": "tensorrt"}
        elif portable and host.provider:
            backend |= {"device": host.provider, "runtime": ONNXRUNTIME}
        for file in files_of(network):
            shutil.copyfile(file, place / f"model{file.suffix}")
        parameters = {**feed.parameters(), **backend, **facts}
        text = config_text(MARKER, name, _MAX_BATCH, [image], [vector], parameters, host)
        (folder / "config.pbtxt").write_text(text)


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
