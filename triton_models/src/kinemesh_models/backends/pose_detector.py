"""BlazePose's person detector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinemesh_models import blazepose
from kinemesh_models.backends.triton import Answer, pad_rows, python_model
from kinemesh_models.network import Network

_SIZE = 224
_ROWS = 16
_MIN_SCORE = 0.5
_MAX_IOU = 0.5


def load(weights: Path, parameters: Mapping[str, str]) -> Answer:
    network = Network(weights, outputs=(0, 1), mean=127.5, scale=127.5, device=parameters["device"])
    anchors = blazepose.anchor_centres(_SIZE, strides=(8, 16, 32, 32, 32), per_cell=2)

    def answer(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        raw, logits = network.infer(image)
        found = blazepose.decode_detections(raw, logits[:, 0], anchors, _SIZE, _MIN_SCORE)
        found = blazepose.blend_overlapping(found, _MAX_IOU)
        found[:, :-1] *= _SIZE
        return {"detections": pad_rows(found, _ROWS)}

    return answer


TritonPythonModel = python_model(load)
