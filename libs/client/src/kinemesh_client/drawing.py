"""Detections drawn on a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2

from kinemesh.errors import InvalidArgument
from kinemesh_client.detections import Detection

# Blue, green, red.
_COLORS: Final = ((0, 212, 255), (255, 229, 0), (216, 79, 255), (80, 220, 100), (40, 120, 255), (230, 230, 230))


def draw(picture: Path, size: tuple[int, int], detections: Sequence[Detection], out: Path) -> None:
    """Write a picture with boxes, labels and scores on it, as ``out``'s ending says.

    :param size: width and height that boxes refer to: those of the picture turned upright, or as it is stored.
    :raises InvalidArgument: ``PICTURE_UNREADABLE``, ``PICTURE_UNWRITABLE``.
    """
    image = cv2.imread(str(picture))
    if image is not None and image.shape[1::-1] != size:
        image = cv2.imread(str(picture), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape[1::-1] != size:
        raise InvalidArgument("PICTURE_UNREADABLE", f"{picture} cannot be read here.", path=picture)
    scale = max(image.shape[:2]) / 1000
    thickness = max(1, round(2 * scale))
    for found in reversed(detections):  # the best on top
        color = _COLORS[found.class_id % len(_COLORS)]
        left, top, right, bottom = (round(side) for side in found.box.corners)
        cv2.rectangle(image, (left, top), (right, bottom), color, thickness, cv2.LINE_AA)
        text, font = f"{found.label} {found.score:.2f}", max(0.4, 0.6 * scale)
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, font, thickness)
        base = max(top, height + below + thickness)
        cv2.rectangle(image, (left, base - height - below - thickness), (left + width, base), color, cv2.FILLED)
        cv2.putText(
            image, text, (left, base - below), cv2.FONT_HERSHEY_SIMPLEX, font, (0, 0, 0), thickness, cv2.LINE_AA
        )
    if not cv2.imwrite(str(out), image):
        raise InvalidArgument("PICTURE_UNWRITABLE", f"{out} cannot be written.", path=out)
