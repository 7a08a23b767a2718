"""Detectors, whichever network runs in them: a letterboxed picture in, boxes in the picture's own pixels out.

The contract: input ``image`` UINT8 [N, H, W, 3] RGB, the picture at the top left, the rest grey; output ``boxes`` FP32
[N, K, 6], ``x1 y1 x2 y2`` in pixels of the input, score, class, best first, overlaps suppressed; rows of score 0 pad.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import InvalidArgument
from kinemesh.inference.client import TritonClient
from kinemesh.inference.served import config_of, facts_of
from kinemesh.nv12 import Image

TASK: Final = "detector"
DEFAULT_THRESHOLD: Final = 0.5
"""Least score of a box for those who name none."""

_PAD: Final = 114
_MULTIPLE: Final = 32
_LEAST_SIZE: Final = 64
_MOST_SIZE: Final = 1536


@dataclass(frozen=True, slots=True)
class Detector:
    """A served detector.

    :ivar width: of its input in pixels.
    :ivar height: of its input in pixels.
    :ivar resizable: whether its input may be any multiple of 32; ``width`` and ``height`` are then its best size.
    :ivar labels: names of its classes, by class.
    """

    name: str
    width: int
    height: int
    resizable: bool
    labels: tuple[str, ...]

    def label(self, class_id: int) -> str:
        """The name of a class; its number if it has none."""
        return self.labels[class_id] if 0 <= class_id < len(self.labels) else str(class_id)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture fits into a detector's input. Sizes are (width, height).

    :ivar picture: of the picture itself.
    :ivar size: that it is scaled to.
    :ivar padded: of the input, at whose top left it lies.
    """

    picture: tuple[int, int]
    size: tuple[int, int]
    padded: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """D objects in one picture, best first.

    :ivar corners: float32 [D, 4], ``x1 y1 x2 y2`` in pixels of the picture.
    :ivar scores: float32 [D], 0 to 1.
    :ivar classes: int16 [D].
    """

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int16]


async def detector(triton: TritonClient, name: str) -> Detector:
    """Ask what a detector takes.

    :raises NotFound: ``MODEL_NOT_FOUND``.
    :raises InvalidArgument: ``WRONG_MODEL_TASK``, if it is no detector.
    """
    config = await config_of(triton, name, TASK)
    facts = facts_of(config)
    height, width = (int(size) for size in config["input"][0]["dims"][:2])
    resizable = width < 0
    if resizable:
        width = height = int(facts["size"])
    return Detector(name, width, height, resizable, tuple(json.loads(facts["labels"])))


def resized(detector: Detector, size: int, field: str) -> Detector:
    """The same detector with pictures scaled to another longest side than its own; 0 is its own.

    :param field: what a refusal names.
    :raises InvalidArgument: ``OUT_OF_RANGE``; ``FIXED_INPUT_SIZE``, if it takes no other.
    """
    if not size:
        return detector
    if size % _MULTIPLE or not _LEAST_SIZE <= size <= _MOST_SIZE:
        raise InvalidArgument(
            "OUT_OF_RANGE",
            f"{field} must be a multiple of {_MULTIPLE} between {_LEAST_SIZE} and {_MOST_SIZE}.",
            field=field,
        )
    if not detector.resizable:
        raise InvalidArgument(
            "FIXED_INPUT_SIZE",
            f"The model {detector.name} takes pictures of {detector.width}×{detector.height} only: leave {field} out.",
            field=field,
            model=detector.name,
        )
    return replace(detector, width=size, height=size)


def letterbox(detector: Detector, width: int, height: int) -> Letterbox:
    """Fit a picture into a detector's input: as large as possible, without changing its proportions."""
    scale = min(detector.width / width, detector.height / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    padded = (detector.width, detector.height)
    if detector.resizable:
        padded = _round_up(size[0]), _round_up(size[1])
    return Letterbox((width, height), size, padded)


def scaled(image: Image, box: Letterbox) -> Image:
    """A picture [H, W, 3] at the letterbox's ``size``."""
    if image.shape[1::-1] == box.size:
        return image
    smaller = image.shape[1] > box.size[0]
    return cast(Image, cv2.resize(image, box.size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def padded(image: Image, box: Letterbox) -> Image:
    """A picture of the letterbox's ``size`` as the detector's input [H, W, 3]."""
    whole = np.full((box.padded[1], box.padded[0], 3), _PAD, np.uint8)
    whole[: box.size[1], : box.size[0]] = image
    return whole


async def find(triton: TritonClient, detector: Detector, box: Letterbox, image: Image) -> Boxes:
    """The objects in a padded picture, cut at the picture's border.

    :raises KinemeshError: as :meth:`~kinemesh.inference.client.TritonClient.infer`.
    """
    answer = await triton.infer(detector.name, {"image": image[None]}, ["boxes"])
    rows: NDArray[np.float32] = answer["boxes"][0]
    return in_picture(rows, box)


def in_picture(rows: NDArray[np.float32], box: Letterbox) -> Boxes:
    """A detector's answer [K, 6] in pixels of the picture; what pads it, or lies outside the picture, is left out."""
    corners = rows[:, :4] * np.tile(np.divide(box.picture, box.size), 2).astype(np.float32)
    np.clip(corners, 0, np.tile(box.picture, 2), out=corners)
    kept = (rows[:, 4] > 0) & (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return Boxes(corners[kept].astype(np.float32), rows[kept, 4].astype(np.float32), rows[kept, 5].astype(np.int16))


def _round_up(pixels: int) -> int:
    return -(-pixels // _MULTIPLE) * _MULTIPLE
