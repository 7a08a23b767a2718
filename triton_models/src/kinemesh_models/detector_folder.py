"""Writes, describes and removes the folders of detectors in a user's own model repository."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnxruntime as ort

from kinemesh_models import manifest
from kinemesh_models.fetch import sha256_of
from kinemesh_models.heads import ROWS, Head
from kinemesh_models.manifest import Tensor
from kinemesh_models.onnx_network import ONNXRUNTIME, session
from kinemesh_models.refusal import RefusedError
from kinemesh_models.repository import ACCELERATORS, BUILT, Accelerator, config_text, parameter, quoted, tensor_block

_MARKER = "# Written by kinemesh_models add or import.\n"
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_MAX_BATCH = 16
_WEIGHTS = "model.onnx"
# Users' names have no dot, so that these never meet one of theirs.
_NETWORK = ".network"
_TYPES = {"tensor(float)": "FP32", "tensor(float16)": "FP16", "tensor(int64)": "INT64", "tensor(int32)": "INT32"}
_MODEL = "from kinemesh_models.backends.detector import TritonPythonModel as TritonPythonModel\n"


def check_name(name: str) -> None:
    """Refuse names that a detector cannot have.

    :raises RefusedError: ``INVALID_NAME``, or ``MODEL_EXISTS`` for a name of an embedded model.
    """
    _check_spelling(name)
    if any(name == model.name for models in manifest.load().sets.values() for model in models):
        raise RefusedError("MODEL_EXISTS", "An embedded model has this name.", model=name)


def _check_spelling(name: str) -> None:
    if not _NAME.fullmatch(name):
        message = "A model's name has 1 to 64 of a–z, 0–9, _ and -."
        raise RefusedError("INVALID_NAME", message, name=name[:100])


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
    check_name(name)
    if (out / name).exists():
        raise RefusedError("MODEL_EXISTS", "There is a model of this name: remove it first.", model=name)
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
    out.mkdir(parents=True, exist_ok=True)
    # Beside the repository: Triton takes every folder in it for a model.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out.resolve().parent) as scratch:
        folders = [Path(scratch) / name]
        (folders[0] / "1").mkdir(parents=True)
        (folders[0] / "1" / "model.py").write_text(_MODEL)
        if host.gpu_instances:
            network = name + _NETWORK
            folders.insert(0, Path(scratch) / network)
            tensorrt = head.kind not in ("end2end", "nms")
            (folders[0] / "1").mkdir(parents=True)
            (folders[0] / "config.pbtxt").write_text(network_config(network, onnx_path, head, host, tensorrt=tensorrt))
            # An engine of TensorRT is made for one shape, and takes minutes.
            head = replace(head, resizable=head.dynamic and not tensorrt)
            backend = {"network": network, "runtime": "tensorrt" if tensorrt else ONNXRUNTIME}
        elif host.provider:
            head = replace(head, resizable=head.dynamic)
            backend = {"weights": _WEIGHTS, "device": host.provider, "runtime": ONNXRUNTIME}
        else:
            backend = {"weights": _WEIGHTS, "device": host.device}
        shutil.copyfile(onnx_path, folders[0] / "1" / _WEIGHTS)
        parameters = {**head.parameters(), **backend, **facts}
        (folders[-1] / "config.pbtxt").write_text(_detector_config(name, head, parameters, host))
        if host.gpu_instances:
            shutil.rmtree(out / folders[0].name, ignore_errors=True)  # left by a removal that was killed
        for folder in folders:
            folder.chmod(0o755)
            folder.rename(out / folder.name)


def remove_detector(name: str, repository: Path) -> None:
    """Remove a detector's folder, and that of its network.

    :raises RefusedError: ``INVALID_NAME``, ``MODEL_NOT_FOUND``.
    """
    _check_spelling(name)
    config = repository / name / "config.pbtxt"
    if not config.is_file() or config.read_text().startswith(BUILT):
        raise RefusedError("MODEL_NOT_FOUND", "There is no added or imported model of this name.", model=name)
    # Renaming is atomic: Triton sees the whole model or none.
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=repository.resolve().parent) as scratch:
        for folder in (repository / name, repository / (name + _NETWORK)):
            if folder.is_dir():
                folder.rename(Path(scratch) / folder.name)


def added_network(name: str, repository: Path) -> Path | None:
    """The network of a detector of the manifest that lies in ``repository``; None if there is none of this name."""
    config = repository / name / "config.pbtxt"
    if not config.is_file() or parameter("source", "manifest") not in config.read_text():
        return None
    files = [repository / folder / "1" / _WEIGHTS for folder in (name, name + _NETWORK)]
    return next((file for file in files if file.is_file()), None)


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
    return config_text(_MARKER, name, _MAX_BATCH, [image], [Tensor("boxes", "FP32", (ROWS, 6))], parameters, host)


def network_config(name: str, onnx_path: Path, head: Head, host: Accelerator, *, tensorrt: bool) -> str:
    """The ``config.pbtxt`` of a detector's network alone, on Triton's ONNX Runtime backend.

    Networks with NMS inside run on CUDA without TensorRT, which does not take their answers, as long as there are
    boxes. The batch dimension is the graph's own, so Triton adds none.
    """
    network = session(onnx_path, ["CPUExecutionProvider"])
    inputs, outputs = _tensors(network.get_inputs()), _tensors(network.get_outputs())
    blocks = [tensor_block("input", tensor) for tensor in inputs]
    blocks += [tensor_block("output", tensor) for tensor in outputs if tensor.name in head.outputs]
    if tensorrt:
        blocks.append(
            "optimization { execution_accelerators { gpu_execution_accelerator : [ {\n"
            '  name : "tensorrt"\n'
            '  parameters { key: "precision_mode" value: "FP32" }\n'
            '  parameters { key: "max_workspace_size_bytes" value: "1073741824" }\n'
            "} ] } }"
        )
    picture = f"data_type: TYPE_{inputs[0].type} dims: [ 1, 3, {head.height}, {head.width} ] zero_data: true"
    blocks.append(
        'model_warmup [ { name: "empty picture" batch_size: 0 '
        f"inputs {{ key: {quoted(head.input)} value {{ {picture} }} }} }} ]"
    )
    return (
        f'{_MARKER}name: {quoted(name)}\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n'
        + "\n".join(blocks)
        + f"\ninstance_group [ {{ kind: KIND_GPU count: {host.gpu_instances} }} ]\n"
    )


def _tensors(arguments: Sequence[ort.NodeArg]) -> list[Tensor]:
    return [
        Tensor(a.name, _TYPES[a.type], tuple(size if isinstance(size, int) else -1 for size in a.shape))
        for a in arguments
    ]
