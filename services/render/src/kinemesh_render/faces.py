"""Asks the model server for faces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import FailedPrecondition
from kinemesh.inference import TritonClient
from kinemesh_render.domain.drawing import Image
from kinemesh_render.domain.faces import Boxes, View, letterbox, unletterbox, views

_BATCH = 8


class FaceFinder:
    """Finds faces with any model of the contract ``face_detector``."""

    def __init__(self, triton: TritonClient, model: str) -> None:
        self._triton = triton
        self._model = model
        self._size: int | None = None

    async def find(self, images: Sequence[Image]) -> list[Boxes]:
        """The faces of each picture, as boxes in its pixels.

        :param images: uint8 [height, width, 3], RGB.
        :raises Unavailable: MODEL_UNAVAILABLE.
        :raises NotFound: MODEL_NOT_FOUND.
        """
        size = self._size = self._size or await self._input_size()
        seen = [(number, view) for number, image in enumerate(images) for view in views(image.shape[1], image.shape[0])]
        found: list[list[Boxes]] = [[np.empty((0, 4))] for _ in images]
        for start in range(0, len(seen), _BATCH):
            batch = seen[start : start + _BATCH]
            squares = await asyncio.to_thread(_squares, images, batch, size)
            answer = await self._triton.infer(self._model, {"image": squares}, ["faces"])
            for (number, (x, y, width, height)), faces in zip(batch, answer["faces"], strict=True):
                found[number].append(unletterbox(faces, width, height, size) + np.array([x, y, x, y]))
        return [np.concatenate(boxes) for boxes in found]

    async def _input_size(self) -> int:
        described = await self._triton.metadata(self._model)
        shape = [int(length) for length in described["inputs"][0]["shape"]]
        if len(shape) != 4 or shape[1] != shape[2] or shape[1] < 1 or shape[3] != 3:
            raise FailedPrecondition(
                "MODEL_CONTRACT_BROKEN", "The face model does not take square RGB pictures.", model=self._model
            )
        return shape[1]


def _squares(images: Sequence[Image], seen: Sequence[tuple[int, View]], size: int) -> NDArray[np.uint8]:
    return np.stack(
        [letterbox(images[number][y : y + height, x : x + width], size) for number, (x, y, width, height) in seen]
    )
