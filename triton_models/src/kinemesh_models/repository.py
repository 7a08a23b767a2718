"""Writes a Triton model repository: ``config.pbtxt``, ``1/model.py`` and ``1/<weights>`` per model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kinemesh_models.manifest import Model, Tensor


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How many instances of a model run, where, and on which device.

    Those of the embedded networks that are small TFLite files OpenVINO runs on the CPU (or an Intel GPU); hosts with
    other GPUs have the cores to keep several instances of them busy beside a detector that uses the GPU.

    :param device: OpenVINO's.
    :param provider: the onnxruntime execution provider of ONNX files; none: OpenVINO on ``device``.
    :param gpu_instances: of an ONNX file's network in Triton's own ONNX Runtime backend; 0 runs it in ours.
    """

    instances: int
    kind: str = "KIND_CPU"
    device: str = "CPU"
    provider: str = ""
    gpu_instances: int = 0

    @property
    def takes_onnx(self) -> bool:
        """Whether ONNX files run on something else than OpenVINO."""
        return bool(self.provider or self.gpu_instances)


ACCELERATORS = {
    "cpu": Accelerator(instances=min(8, max(2, os.cpu_count() or 2))),
    "nvidia": Accelerator(instances=4, gpu_instances=2),
    "amd": Accelerator(instances=4, provider="MIGraphXExecutionProvider"),
    "mac": Accelerator(instances=4, provider="CoreMLExecutionProvider"),
}
BUILT = "# Written by kinemesh_models build.\n"
WEIGHTS = "model.onnx"
# Users' names have no dot, so that these never meet one of theirs.
NETWORK = ".network"


def on(host: Accelerator, models: tuple[Model, ...]) -> tuple[Model, ...]:
    """The models with the weights that suit the host: its accelerator takes the ONNX file where there is one."""
    return tuple(replace(model, weights=model.onnx) if host.takes_onnx and model.onnx else model for model in models)


def build(models: tuple[Model, ...], weights: dict[str, list[Path]], accelerator: Accelerator, out: Path) -> list[str]:
    """Bring the repository ``out`` up to date and return the names of the models that changed.

    ``weights`` maps a model's name to its verified files. Files that already hold what they should are left
    alone, so that a second build changes nothing; models of another set that lie in ``out`` are removed, but
    imported ones (without our marker in ``config.pbtxt``) stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = {model.name for model in models}
    names |= {model.name + NETWORK for model in models if _beside(model, accelerator)}
    for stale in out.glob("*/config.pbtxt"):
        if stale.parent.name not in names and stale.read_text().startswith(BUILT):
            shutil.rmtree(stale.parent)
    return [model.name for model in models if _write_model(model, weights.get(model.name, []), accelerator, out)]


def _beside(model: Model, accelerator: Accelerator) -> bool:
    """Whether the model's network runs as a model of its own, on a GPU."""
    return bool(accelerator.gpu_instances and model.onnx)


def _write_model(model: Model, weights: Sequence[Path], accelerator: Accelerator, out: Path) -> bool:
    folder, changed = out / model.name, False
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    place = version
    if _beside(model, accelerator):
        place = out / (model.name + NETWORK) / "1"
        place.mkdir(parents=True, exist_ok=True)
        changed |= _write(place.parent / "config.pbtxt", _network_config(model, weights[0], accelerator))
        # Triton's own backend looks for a file of this name.
        changed |= _copy(weights[0], place / WEIGHTS)
    else:
        for file in weights:
            changed |= _copy(file, place / file.name)
    # The code lives in the package, where it is typed and tested; the repository only points at it.
    source = f"from kinemesh_models.backends.{model.backend} import TritonPythonModel as TritonPythonModel\n"
    changed |= _write(version / "model.py", source)
    changed |= _write(folder / "config.pbtxt", config(model, weights[0].name if weights else None, accelerator))
    return changed


def _network_config(model: Model, weights: Path, accelerator: Accelerator) -> str:
    # onnxruntime takes a second to import, and is needed here alone.
    from kinemesh_models.heads import from_parameters
    from kinemesh_models.network_folder import network_config

    head = from_parameters(model.parameters)
    shape = (1, 3, head.height, head.width)
    # Suppression is inside: no TensorRT.
    name = model.name + NETWORK
    return network_config(name, weights, head.outputs, shape, accelerator, tensorrt=False, marker=BUILT)


def _copy(source: Path, target: Path) -> bool:
    if target.is_file() and target.read_bytes() == source.read_bytes():
        return False
    shutil.copyfile(source, target)
    return True


def _write(path: Path, text: str) -> bool:
    if path.is_file() and path.read_text() == text:
        return False
    path.write_text(text)
    return True


def config(model: Model, weights: str | None, accelerator: Accelerator) -> str:
    """The text of ``config.pbtxt``."""
    parameters = {"weights": weights or "", "device": accelerator.device, **model.parameters, **_facts(model)}
    if _beside(model, accelerator):
        parameters = {**parameters, "network": model.name + NETWORK, "runtime": "onnxruntime"}
        del parameters["weights"], parameters["device"]
    elif model.onnx and accelerator.provider:
        parameters |= {"device": accelerator.provider, "runtime": "onnxruntime"}
    return config_text(BUILT, model.name, model.max_batch, model.inputs, model.outputs, parameters, accelerator)


def config_text(
    marker: str,
    name: str,
    max_batch: int,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    parameters: Mapping[str, str],
    accelerator: Accelerator,
) -> str:
    """The ``config.pbtxt`` of a model on Triton's Python backend.

    There is no dynamic batching: pictures are inferred one by one (batch composition must not change a bit of
    the result), so merging two requests would only keep a free instance idle. A request may hold several pictures.
    Instances warm up as they are loaded.
    """
    blocks = [tensor_block("input", tensor) for tensor in inputs]
    blocks += [tensor_block("output", tensor) for tensor in outputs]
    blocks += [parameter(key, value) for key, value in parameters.items()]
    return (
        f'{marker}name: {quoted(name)}\nbackend: "python"\nmax_batch_size: {max_batch}\n'
        + "\n".join(blocks)
        + f"\ninstance_group [ {{ kind: {accelerator.kind} count: {accelerator.instances} }} ]\n"
    )


def _facts(model: Model) -> dict[str, str]:
    """What the catalogue of models tells its users."""
    weights = model.weights
    description = model.description
    if model.backend.startswith("mock_"):
        description += ". A mock: synthetic people, whatever the picture shows"
    if weights is None:
        origin = {"description": description, "licence": "Apache-2.0", "runtime": "numpy"}
    else:
        origin = {
            "description": description,
            "licence": weights.licence,
            "sha256": (weights.beside or weights).sha256,
            "size_bytes": str(weights.bytes + (weights.beside.bytes if weights.beside else 0)),
            "runtime": "openvino",
        }
    facts = {"task": model.task, "source": "embedded", "labels": json.dumps(model.labels, ensure_ascii=False)}
    if model.size is not None:
        facts["size"] = str(model.size)
        facts["resizable"] = "true" if model.resizable else ""
    if model.preference:
        facts["preference"] = str(model.preference)
    if model.task == "embedder":
        facts["dimension"] = str(model.outputs[0].shape[0])
    return {**facts, **origin}


def parameter(key: str, value: str) -> str:
    """A parameter of ``config.pbtxt``."""
    return f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}"


def tensor_block(kind: str, tensor: Tensor) -> str:
    """An input or output of ``config.pbtxt``."""
    dims = ", ".join(str(size) for size in tensor.shape)
    return f"{kind} [ {{ name: {quoted(tensor.name)} data_type: TYPE_{tensor.type} dims: [ {dims} ] }} ]"


def quoted(text: str) -> str:
    """A string of protobuf's text format; control characters, which nobody means, become spaces."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
