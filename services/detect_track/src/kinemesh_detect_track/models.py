"""Detectors and embedders, as Triton serves them at the moment."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import KinemeshError
from kinemesh.inference import detector, embedder
from kinemesh.inference.client import TritonClient
from kinemesh.inference.detector import Boxes, Detector, Letterbox, letterbox, padded, scaled
from kinemesh.inference.embedder import Embedder
from kinemesh.inference.served import default_model
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_thread

M = TypeVar("M")


class Models:
    """Finds and tells apart. Keeps for a moment what each model takes: models are added and replaced at any time."""

    def __init__(self, triton: TritonClient, known_s: float) -> None:
        self._triton = triton
        self._known_s = known_s
        self._detectors: dict[str, tuple[float, Detector]] = {}
        self._embedders: dict[str, tuple[float, Embedder]] = {}

    async def detector(self, name: str) -> Detector:
        """A detector; the default one if the name is empty.

        :raises FailedPrecondition: MODEL_REQUIRED
        :raises NotFound: MODEL_NOT_FOUND
        :raises InvalidArgument: WRONG_MODEL_TASK
        """
        return await self._remembered(self._detectors, name, detector.TASK, detector.detector)

    async def embedder(self, name: str) -> Embedder:
        """An embedder; raises as :meth:`detector`."""
        return await self._remembered(self._embedders, name, embedder.TASK, embedder.embedder)

    async def find(self, model: Detector, box: Letterbox, image: Image) -> Boxes:
        """The objects in a padded picture."""
        try:
            return await detector.find(self._triton, model, box, image)
        except KinemeshError:
            self._detectors.clear()  # it may have been replaced by one that takes something else
            raise

    async def look(self, model: Detector, image: Image) -> Boxes:
        """The objects in a picture of any size."""
        box = letterbox(model, image.shape[1], image.shape[0])
        return await self.find(model, box, await in_thread(_fitted, image, box))

    async def embed(self, model: Embedder, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings [N, D] of pictures [N, 256, 128, 3] as :func:`kinemesh.inference.embedder.crops` gives them."""
        try:
            return await embedder.embed(self._triton, model, pictures)
        except KinemeshError:
            self._embedders.clear()
            raise

    async def ready(self) -> bool:
        """Whether the model server answers; which models there are is the user's business."""
        return await self._triton.ready()

    async def _remembered(
        self,
        known: dict[str, tuple[float, M]],
        name: str,
        task: str,
        ask: Callable[[TritonClient, str], Awaitable[M]],
    ) -> M:
        asked_at, model = known.get(name, (0.0, None))
        if model is None or time.monotonic() - asked_at > self._known_s:
            asked_at = time.monotonic()
            model = await ask(self._triton, name or await default_model(self._triton, task))
            known[name] = asked_at, model
        return model


def _fitted(image: Image, box: Letterbox) -> Image:
    return padded(scaled(image, box), box)
