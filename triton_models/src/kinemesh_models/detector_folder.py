"""Writes and describes the folders of detectors in a user's own model repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kinemesh_models.fetch import sha256_of
from kinemesh_models.heads import ROWS, Head
from kinemesh_models.manifest import Tensor
from kinemesh_models.model_folder import MARKER, new_model
from kinemesh_models.network_folder import network_config
from kinemesh_models.onnx_network import ONNXRUNTIME
from kinemesh_models.repository import ACCELERATORS, NETWORK, WEIGHTS, Accelerator, config_text

_MAX_BATCH = 16
_MODEL = "from kinemesh_models.backends.detector import TritonPythonModel as TritonPythonModel\n"


def write_detector(
    name: str,
    onnx_path: Path,
    head: Head,
    labels: Sequence[str],
    *,
    licence: str,
    description: str,
    source: str,
    preference: int,
    accelerator: str,
    out: Path,
) -> None:
    """Write the model ``name`` into the repository ``out``: all of it or, if anything fails, nothing.

    :param source: ``manifest`` or ``imported``.
    :param accelerator: a key of :data:`~kinemesh_models.repository.ACCELERATORS`.
    :raises RefusedError: ``INVALID_NAME``, ``MODEL_EXISTS``.
    """
    host = ACCELERATORS[accelerator]
    facts = {
        "task": "detector",
        "description": description,
        "licence": licence,
        "labels": json.dumps(list(labels), ensure_ascii=False),
        "sha256": sha256_of(onnx_path),
        "size_bytes": str(onnx_path.stat().st_size),
        "size": str(head.size),
        "source": source,
        "preference": str(preference),
    }
    with new_model(name, out) as scratch:
        folder = scratch / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.py").write_text(_MODEL)
        weights = folder / "1" / WEIGHTS
        if host.gpu_instances:
            network = scratch / (name + NETWORK)
            weights = network / "1" / WEIGHTS
            tensorrt = head.kind not in ("end2end", "nms")
            weights.parent.mkdir(parents=True)
            shape = (1, 3, head.height, head.width)
            text = network_config(network.name, onnx_path, head.outputs, shape, host, tensorrt=tensorrt)
            (network / "config.pbtxt").write_text(text)
            # An engine of TensorRT is made for one shape, and takes minutes.
            head = replace(head, resizable=head.dynamic and not tensorrt)
            backend = {"network": network.name, "runtime": "tensorrt" if tensorrt else ONNXRUNTIME}
        elif host.provider:
            head = replace(head, resizable=head.dynamic)
            backend = {"weights": WEIGHTS, "device": host.provider, "runtime": ONNXRUNTIME}
        else:
            backend = {"weights": WEIGHTS, "device": host.device}
        shutil.copyfile(onnx_path, weights)
        parameters = {**head.parameters(), **backend, **facts}
        (folder / "config.pbtxt").write_text(_detector_config(name, head, parameters, host))


def summary(name: str, onnx_path: Path, head: Head, labels: Sequence[str]) -> dict[str, object]:
    """What a program that adds or imports answers with."""
    return {
        "model": name,
        "labels": list(labels),
        "sha256": sha256_of(onnx_path),
        "size_bytes": onnx_path.stat().st_size,
        "input_width": head.width,
        "input_height": head.height,
    }


def _detector_config(name: str, head: Head, parameters: dict[str, str], host: Accelerator) -> str:
    sides = (-1, -1) if head.resizable else (head.height, head.width)
    image = Tensor("image", "UINT8", (*sides, 3))
    return config_text(MARKER, name, _MAX_BATCH, [image], [Tensor("boxes", "FP32", (ROWS, 6))], parameters, host)
