"""Any embedder of an ONNX file, as the parameters of its ``config.pbtxt`` describe it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from kinemesh_models.backends.beside import beside
from kinemesh_models.backends.triton import Answer, python_model
from kinemesh_models.embedder import Embedder, Feed, Floats, from_parameters, unit, values


def load(weights: Path, parameters: Mapping[str, str]) -> Answer:
    cv2.setNumThreads(1)  # instances are the parallelism
    feed = from_parameters(parameters)
    if network := parameters.get("network"):
        raw = _beside(network, feed)
    else:
        raw = Embedder(weights, feed, parameters["device"]).raw

    def answer(picture: NDArray[np.uint8]) -> dict[str, Floats]:
        try:
            return {"embedding": unit(raw(picture))}
        except FloatingPointError as error:
            raise pb_utils.TritonModelException(str(error)) from error

    return answer


def _beside(network: str, feed: Feed) -> Callable[[NDArray[np.uint8]], Floats]:
    ask = beside(network, feed.input, [feed.output])
    return lambda picture: ask(values(picture, feed))[0][0].ravel()


TritonPythonModel = python_model(load)
