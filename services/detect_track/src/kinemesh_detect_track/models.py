"""Detectors, as Triton serves them at the moment."""

from __future__ import annotations

import time

from kinemesh.errors import KinemeshError
from kinemesh.inference.client import TritonClient
from kinemesh.inference.detector import (
    TASK,
    Boxes,
    Detector,
    Letterbox,
    detector,
    find,
    letterbox,
    padded,
    scaled,
)
from kinemesh.inference.served import default_model
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_thread


class Detectors:
    """Finds objects, and keeps for a moment what each detector takes: models are added and replaced at any time."""

    def __init__(self, triton: TritonClient, known_s: float) -> None:
        self._triton = triton
        self._known_s = known_s
        self._known: dict[str, tuple[float, Detector]] = {}

    async def named(self, name: str) -> Detector:
        """A detector; the default one if the name is empty.

        :raises FailedPrecondition: MODEL_REQUIRED
        :raises NotFound: MODEL_NOT_FOUND
        :raises InvalidArgument: WRONG_MODEL_TASK
        """
        asked_at, known = self._known.get(name, (0.0, None))
        if known is None or time.monotonic() - asked_at > self._known_s:
            asked_at = time.monotonic()
            known = await detector(self._triton, name or await default_model(self._triton, TASK))
            self._known[name] = asked_at, known
        return known

    async def find(self, model: Detector, box: Letterbox, image: Image) -> Boxes:
        """The objects in a padded picture."""
        try:
            return await find(self._triton, model, box, image)
        except KinemeshError:
            self._known.clear()  # it may have been replaced by one that takes something else
            raise

    async def look(self, model: Detector, image: Image) -> Boxes:
        """The objects in a picture of any size."""
        box = letterbox(model, image.shape[1], image.shape[0])
        return await self.find(model, box, await in_thread(_fitted, image, box))

    async def ready(self) -> bool:
        """Whether the model server answers; which detectors there are is the user's business."""
        return await self._triton.ready()


def _fitted(image: Image, box: Letterbox) -> Image:
    return padded(scaled(image, box), box)
