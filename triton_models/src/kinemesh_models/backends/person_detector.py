"""The embedded detector of people: BlazePose's, on the whole picture and on squares of it.

It was trained for one person or a few near the camera, and is no substitute for a detector: see :data:`BLIND`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh_models import blazepose
from kinemesh_models.backends.triton import Answer, pad_rows, python_model
from kinemesh_models.heads import ROWS, Floats
from kinemesh_models.network import Network

BLIND = (
    "The embedded person detector finds a few upright people near the camera. It misses crowds, people shorter than"
    " a third of the picture, lying or cut off by its border, and everything that is no person."
    " Add a real one: kinemesh models add rtmdet_nano_person"
)
_SIZE = 224
_MIN_SCORE = 0.3
_MAX_IOU = 0.4
_MAX_COVER = 0.6
_LONG = 1.2  # pictures longer than this, in heights or widths, are looked at in squares too
_HALF_WIDTH = 0.43  # of a body, in radii of BlazePose's circle around hips and feet; measured against RTMDet's boxes


def load(weights: Path, parameters: Mapping[str, str]) -> Answer:
    network = Network(weights, outputs=(0, 1), mean=127.5, scale=127.5, device=parameters["device"])
    anchors = blazepose.anchor_centres(_SIZE, strides=(8, 16, 32, 32, 32), per_cell=2)
    logging.getLogger(__name__).warning(BLIND)

    def answer(image: NDArray[np.uint8]) -> dict[str, Floats]:
        found = []
        for left, top, width, height in windows(image.shape[1], image.shape[0]):
            tile = image[top : top + height, left : left + width]
            scale = _SIZE / max(width, height)
            square = np.zeros((_SIZE, _SIZE, 3), np.uint8)
            small = cv2.resize(tile, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
            square[: small.shape[0], : small.shape[1]] = small
            raw, logits = network.infer(square)
            people = blazepose.decode_detections(raw, logits[:, 0], anchors, _SIZE, _MIN_SCORE)
            bodies = body_boxes(blazepose.blend_overlapping(people, _MAX_IOU))
            bodies[:, :4] = bodies[:, :4] * (_SIZE / scale) + (left, top, left, top)
            found.append(bodies)
        bodies = np.concatenate(found)
        np.clip(bodies[:, :4], 0, np.tile(image.shape[1::-1], 2), out=bodies[:, :4])
        return {"boxes": pad_rows(np.pad(apart(bodies), ((0, 0), (0, 1))), ROWS)}

    return answer


def windows(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of what is looked at: the whole, and the squares at both ends of a long picture."""
    side = min(width, height)
    whole = [(0, 0, width, height)]
    if max(width, height) < _LONG * side:
        return whole
    return [*whole, (0, 0, side, side), (width - side, height - side, side, side)]


def body_boxes(people: Floats) -> Floats:
    """Boxes [M,5] with scores around the bodies of BlazePose's detections [M,13]: its own box holds a head alone.

    The second point lies on a circle around the first, the hips' centre, that holds the body; straight above it, if the
    person stands upright.
    """
    hips, axis = people[:, 4:6], people[:, 6:8] - people[:, 4:6]
    half = np.abs(axis) + _HALF_WIDTH * np.abs(axis[:, ::-1])
    boxes: Floats = np.concatenate([hips - half, hips + half, people[:, 12:]], axis=1)
    return boxes


def apart(bodies: Floats) -> Floats:
    """The best of every group of boxes [M,5] that cover one another, best first: a square may show half of a body."""
    bodies = bodies[np.argsort(-bodies[:, 4], kind="stable")]
    low = np.maximum(bodies[:, None, :2], bodies[None, :, :2])
    high = np.minimum(bodies[:, None, 2:4], bodies[None, :, 2:4])
    area = (bodies[:, 2:4] - bodies[:, :2]).prod(axis=1)
    covered = np.clip(high - low, 0, None).prod(axis=2) > _MAX_COVER * np.minimum(area[:, None], area[None, :])
    kept: list[int] = []
    for row in range(len(bodies)):  # a handful
        if area[row] > 0 and not covered[row, kept].any():
            kept.append(row)
    return bodies[kept]


TritonPythonModel = python_model(load)
