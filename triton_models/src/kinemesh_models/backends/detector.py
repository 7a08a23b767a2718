"""Any detector of an ONNX file, as the parameters of its ``config.pbtxt`` describe it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinemesh_models import heads
from kinemesh_models.backends.beside import beside
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
    ask = beside(network, head.input, head.outputs)

    def find(image: NDArray[np.uint8]) -> Floats:
        check_shape(head, image, reshapes=False)
        values = normalised(image, head)
        outputs = [output[0] for output in ask(values.astype(np.float16) if head.half else values)]
        return heads.boxes(head.kind, outputs, *image.shape[:2])

    return find


TritonPythonModel = python_model(load)
