"""Any detector of an ONNX file, as the parameters of its ``config.pbtxt`` describe it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from kinemesh_models import heads
from kinemesh_models.backends.triton import Answer, pad_rows, python_model
from kinemesh_models.detector import Detector
from kinemesh_models.heads import Floats, Head
from kinemesh_models.onnx_network import check_shape, normalised


def load(weights: Path, parameters: Mapping[str, str]) -> Answer:
    head = heads.from_parameters(parameters)
    if network := parameters.get("network"):
        find = _beside(network, head)
    else:
        find = Detector(weights, head, parameters["device"]).boxes

    def answer(image: NDArray[np.uint8]) -> dict[str, Floats]:
        return {"boxes": pad_rows(find(image), heads.ROWS)}

    return answer


def _beside(network: str, head: Head) -> Callable[[NDArray[np.uint8]], Floats]:
    """Asks a network that another backend of the same Triton runs."""
    ready = False

    def find(image: NDArray[np.uint8]) -> Floats:
        nonlocal ready
        check_shape(head, image, reshapes=False)
        if not ready:
            # Whoever loads a model while the server runs need not know that it has a part.
            if not pb_utils.is_model_ready(network):
                pb_utils.load_model(network)
            ready = True
        values = normalised(image, head)
        request = pb_utils.InferenceRequest(
            model_name=network,
            requested_output_names=list(head.outputs),
            inputs=[pb_utils.Tensor(head.input, values.astype(np.float16) if head.half else values)],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise pb_utils.TritonModelException(response.error().message())
        outputs = [pb_utils.get_output_tensor_by_name(response, name).as_numpy()[0] for name in head.outputs]
        return heads.boxes(head.kind, [output.astype(np.float32, copy=False) for output in outputs], *image.shape[:2])

    return find


TritonPythonModel = python_model(load)
