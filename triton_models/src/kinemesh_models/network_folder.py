"""Describes a network that Triton runs in a backend of its own, beside the model that feeds it and reads its answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from kinemesh_models.manifest import Tensor
from kinemesh_models.model_folder import MARKER
from kinemesh_models.onnx_network import session
from kinemesh_models.repository import Accelerator, quoted, tensor_block

_TYPES = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(uint8)": "UINT8",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
}


def network_config(
    name: str,
    onnx_path: Path,
    wanted: Sequence[str],
    shape: Sequence[int],
    host: Accelerator,
    *,
    tensorrt: bool,
    marker: str = MARKER,
) -> str:
    """The ``config.pbtxt`` of a model's network alone, on Triton's ONNX Runtime backend.

    :param wanted: names of the outputs that are asked for.
    :param shape: of the input that it warms up with.

    Networks with NMS inside run on CUDA without TensorRT, which does not take their answers, as long as there are
    boxes. The batch dimension is the graph's own, so Triton adds none.
    """
    network = session(onnx_path, ["CPUExecutionProvider"])
    inputs, outputs = _tensors(network.get_inputs()), _tensors(network.get_outputs())
    blocks = [tensor_block("input", tensor) for tensor in inputs]
    blocks += [tensor_block("output", tensor) for tensor in outputs if tensor.name in wanted]
    if tensorrt:
        blocks.append(
            "optimization { execution_accelerators { gpu_execution_accelerator : [ {\n"
            '  name : "tensorrt"\n'
            '  parameters { key: "precision_mode" value: "FP32" }\n'
            '  parameters { key: "max_workspace_size_bytes" value: "1073741824" }\n'
            "} ] } }"
        )
    dims = ", ".join(map(str, shape))
    picture = f"data_type: TYPE_{inputs[0].type} dims: [ {dims} ] zero_data: true"
    blocks.append(
        'model_warmup [ { name: "empty picture" batch_size: 0 '
        f"inputs {{ key: {quoted(inputs[0].name)} value {{ {picture} }} }} }} ]"
    )
    return (
        f'{marker}name: {quoted(name)}\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n'
        + "\n".join(blocks)
        + f"\ninstance_group [ {{ kind: KIND_GPU count: {host.gpu_instances} }} ]\n"
    )


def _tensors(arguments: Sequence[ort.NodeArg]) -> list[Tensor]:
    return [
        Tensor(a.name, _TYPES[a.type], tuple(size if isinstance(size, int) else -1 for size in a.shape))
        for a in arguments
    ]
