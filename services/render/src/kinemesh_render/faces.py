"""Asks the model server for faces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import FailedPrecondition
from kinemesh.inference import TritonClient
from kinemesh_render.domain.canvas import Canvas, Rectangle
from kinemesh_render.domain.faces import Boxes, letterbox, unletterbox, views

_BATCH = 8


class FaceFinder:
    """Finds faces with any model of the contract ``face_detector``."""

    def __init__(self, triton: TritonClient, model: str) -> None:
        self._triton = triton
        self._model = model
        self._size: int | None = None

    async def find(self, pictures: Sequence[Canvas]) -> list[Boxes]:
        """The faces of each picture, as boxes in its pixels.

        :raises Unavailable: MODEL_UNAVAILABLE.
        :raises NotFound: MODEL_NOT_FOUND.
        """
        size = self._size = self._size or await self._input_size()
        seen = [(number, view) for number, it in enumerate(pictures) for view in views(it.width, it.height)]
        found: list[list[Boxes]] = [[np.empty((0, 4))] for _ in pictures]
        for start in range(0, len(seen), _BATCH):
            batch = seen[start : start + _BATCH]
            squares = await asyncio.to_thread(_squares, pictures, batch, size)
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


def _squares(pictures: Sequence[Canvas], seen: Sequence[tuple[int, Rectangle]], size: int) -> NDArray[np.uint8]:
    return np.stack([letterbox(pictures[number], view, size) for number, view in seen])
