"""Embedders, whichever network runs in them: pictures of people in, vectors out that are alike for one person.

The contract: input ``image`` UINT8 [N, 256, 128, 3] RGB, each picture one person, scaled without regard to proportions;
output ``embedding`` FP32 [N, D], L2-normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.inference.client import TritonClient
from kinemesh.inference.served import config_of
from kinemesh.nv12 import Image

TASK: Final = "embedder"
HEIGHT: Final = 256
WIDTH: Final = 128


@dataclass(frozen=True, slots=True)
class Embedder:
    """A served embedder.

    :ivar dimension: length of its vectors.
    :ivar most: pictures that it takes at once.
    """

    name: str
    dimension: int
    most: int


async def embedder(triton: TritonClient, name: str) -> Embedder:
    """Ask what an embedder gives.

    :raises NotFound: ``MODEL_NOT_FOUND``.
    :raises InvalidArgument: ``WRONG_MODEL_TASK``, if it is no embedder.
    """
    config = await config_of(triton, name, TASK)
    return Embedder(name, int(config["output"][0]["dims"][-1]), max(1, int(config.get("max_batch_size", 1))))


def crops(image: Image, corners: NDArray[np.floating]) -> NDArray[np.uint8]:
    """What boxes [N, 4] ``x1 y1 x2 y2`` in pixels show of a picture [H, W, 3], as an embedder takes it.

    Boxes are cut at the picture's border; one that shows nothing of it becomes black.
    """
    height, width = image.shape[:2]
    whole = np.rint(np.clip(corners, 0, (width, height, width, height))).astype(np.int64)
    result = np.zeros((len(whole), HEIGHT, WIDTH, 3), np.uint8)
    for target, (x1, y1, x2, y2) in zip(result, whole.tolist(), strict=True):
        if x2 > x1 and y2 > y1:
            shrinks = x2 - x1 > WIDTH or y2 - y1 > HEIGHT
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            target[:] = cv2.resize(image[y1:y2, x1:x2], (WIDTH, HEIGHT), interpolation=way)
    return result


async def embed(triton: TritonClient, embedder: Embedder, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeddings [N, D] of pictures [N, 256, 128, 3], as many at once as the model takes.

    :raises KinemeshError: as :meth:`~kinemesh.inference.client.TritonClient.infer`.
    """
    found = [np.empty((0, embedder.dimension), np.float32)]
    for start in range(0, len(pictures), embedder.most):
        batch = pictures[start : start + embedder.most]
        found.append((await triton.infer(embedder.name, {"image": batch}, ["embedding"]))["embedding"])
    return cast(NDArray[np.float32], np.concatenate(found))
