"""Writes a Triton model repository: ``config.pbtxt``, ``1/model.py`` and ``1/<weights>`` per model."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kinemesh_models.manifest import Model, Tensor


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How many instances of a model run, where, and on which OpenVINO device.

    The networks here are small TFLite files that OpenVINO runs on the CPU (or an Intel GPU); hosts with other
    GPUs have the cores to keep several instances of them busy beside a detector that uses the GPU.
    """

    instances: int
    kind: str = "KIND_CPU"
    device: str = "CPU"


ACCELERATORS = {
    "cpu": Accelerator(instances=min(8, max(2, os.cpu_count() or 2))),
    "nvidia": Accelerator(instances=4),
    "amd": Accelerator(instances=4),
    "mac": Accelerator(instances=4),
}


def build(models: tuple[Model, ...], weights: dict[str, Path], accelerator: Accelerator, out: Path) -> list[str]:
    """Bring the repository ``out`` up to date and return the names of the models that changed.

    ``weights`` maps a model's name to its verified file. Files that already hold what they should are left
    alone, so that a second build changes nothing; models of another set that lie in ``out`` are removed, but
    imported ones (without our marker in ``config.pbtxt``) stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = {model.name for model in models}
    for stale in out.glob("*/config.pbtxt"):
        if stale.parent.name not in names and stale.read_text().startswith(_MARKER):
            shutil.rmtree(stale.parent)
    return [model.name for model in models if _write_model(model, weights.get(model.name), accelerator, out)]


def _write_model(model: Model, weights: Path | None, accelerator: Accelerator, out: Path) -> bool:
    folder = out / model.name
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    changed = False
    if weights is not None:
        target = version / weights.name
        if not target.is_file() or target.read_bytes() != weights.read_bytes():
            shutil.copyfile(weights, target)
            changed = True
    # The code lives in the package, where it is typed and tested; the repository only points at it.
    source = f"from kinemesh_models.backends.{model.backend} import TritonPythonModel as TritonPythonModel\n"
    changed |= _write(version / "model.py", source)
    changed |= _write(folder / "config.pbtxt", config(model, weights.name if weights else None, accelerator))
    return changed


def _write(path: Path, text: str) -> bool:
    if path.is_file() and path.read_text() == text:
        return False
    path.write_text(text)
    return True


_MARKER = "# Written by kinemesh_models build.\n"


def config(model: Model, weights: str | None, accelerator: Accelerator) -> str:
    """The text of ``config.pbtxt``.

    There is no dynamic batching: crops are inferred one by one (batch composition must not change a bit of
    the result), so merging two requests would only keep a free instance idle. A request may hold several crops.
    """
    blocks = [_tensor_block("input", tensor) for tensor in model.inputs]
    blocks += [_tensor_block("output", tensor) for tensor in model.outputs]
    parameters = {"weights": weights or "", "device": accelerator.device, **_facts(model)}
    blocks += [
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in parameters.items()
    ]
    return (
        f"{_MARKER}"
        f'name: "{model.name}"\nbackend: "python"\nmax_batch_size: {model.max_batch}\n'
        + "\n".join(blocks)
        + f"\ninstance_group [ {{ kind: {accelerator.kind} count: {accelerator.instances} }} ]\n"
    )


def _facts(model: Model) -> dict[str, str]:
    """What the catalogue of models tells its users."""
    weights = model.weights
    if weights is None:
        return {
            "task": model.task,
            "description": f"{model.description}. A mock: synthetic people, whatever the picture shows",
            "licence": "Apache-2.0",
            "runtime": "numpy",
        }
    return {
        "task": model.task,
        "description": model.description,
        "licence": weights.licence,
        "labels": ",".join(weights.labels),
        "sha256": weights.sha256,
        "size_bytes": str(weights.size),
        "runtime": "openvino",
    }


def _tensor_block(kind: str, tensor: Tensor) -> str:
    dims = ", ".join(str(size) for size in tensor.shape)
    return f'{kind} [ {{ name: "{tensor.name}" data_type: TYPE_{tensor.type} dims: [ {dims} ] }} ]'
