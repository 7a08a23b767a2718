"""BlazePose's landmark model, with its heat-map refinement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinemesh_models import blazepose
from kinemesh_models.backends.triton import Answer, python_model
from kinemesh_models.network import Network

_SIZE = 256
_LANDMARKS = 39


def load(weights: Path, parameters: Mapping[str, str]) -> Answer:
    # Outputs: landmarks, presence, segmentation (left out), heat maps, world landmarks.
    network = Network(weights, outputs=(0, 1, 3, 4), mean=0.0, scale=255.0, device=parameters["device"])

    def answer(crop: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        raw, score, heatmap, world = network.infer(crop)
        landmarks = raw.reshape(_LANDMARKS, 5).copy()
        landmarks[:, 3:] = blazepose.sigmoid(landmarks[:, 3:])
        landmarks = blazepose.refine_with_heatmap(landmarks, heatmap, _SIZE)
        return {"landmarks": landmarks, "world": world.reshape(_LANDMARKS, 3), "score": score}

    return answer


TritonPythonModel = python_model(load)
