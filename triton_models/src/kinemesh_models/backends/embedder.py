"""Any embedder of an ONNX file, as the parameters of its ``config.pbtxt`` describe it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from kinemesh_models.backends.triton import Answer, python_model
from kinemesh_models.embedder import Embedder, Floats, from_parameters


def load(weights: Path, parameters: Mapping[str, str]) -> Answer:
    cv2.setNumThreads(1)  # instances are the parallelism
    embedder = Embedder(weights, from_parameters(parameters), parameters["device"])

    def answer(picture: NDArray[np.uint8]) -> dict[str, Floats]:
        try:
            return {"embedding": embedder.embedding(picture)}
        except FloatingPointError as error:
            raise pb_utils.TritonModelException(str(error)) from error

    return answer


TritonPythonModel = python_model(load)
