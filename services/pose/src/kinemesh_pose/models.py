"""BlazePose's two networks, as Triton serves them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.inference.client import TritonClient
from kinemesh_pose.domain.roi import Image
from kinemesh_pose.domain.tracking import CropLandmarks

DETECTOR: Final = "pose_detector"
LANDMARKS: Final = "pose_landmarks"


class TritonModels:
    """Implements :class:`kinemesh_pose.domain.tracking.Models`."""

    def __init__(self, triton: TritonClient) -> None:
        self._triton = triton

    async def detect(self, image: Image) -> NDArray[np.float32]:
        """Detections [K,13] in a letterboxed image [224,224,3]."""
        answer = await self._triton.infer(DETECTOR, {"image": image[None]}, ["detections"])
        detections: NDArray[np.float32] = answer["detections"][0]
        return detections

    async def landmarks(self, crops: Image) -> CropLandmarks:
        """Landmarks of crops [P,256,256,3]."""
        answer = await self._triton.infer(LANDMARKS, {"crop": crops}, ["landmarks", "world", "score"])
        return CropLandmarks(answer["landmarks"], answer["world"], answer["score"].reshape(len(crops)))

    async def ready(self) -> bool:
        """Whether both are served."""
        return await self._triton.ready([DETECTOR, LANDMARKS])
