"""The embedded embedder: colours and textures of a person's parts. See :mod:`kinemesh_models.part_colors`."""

from __future__ import annotations

import cv2

from kinemesh_models.backends.triton import Answer, python_model
from kinemesh_models.part_colors import describe


def load(_weights: object, _parameters: object) -> Answer:
    cv2.setNumThreads(1)  # instances are the parallelism
    return lambda picture: {"embedding": describe(picture)}


TritonPythonModel = python_model(load)
