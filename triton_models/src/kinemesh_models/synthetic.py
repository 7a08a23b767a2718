"""Synthetic people: the ``mock`` set's answers, made from the picture's mean brightness alone.

Nothing here looks for a person. Two stand at fixed places of whatever picture comes; the swing of their limbs
follows the brightness of their crop, so that the same picture always gives the same answer and a changing picture
gives movement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_DETECTOR_SIZE = 224.0
_FACE_SIZE = 192.0
_CROP = 256.0
_ROI_SCALE = 1.25
_PAD = 114
# How far a body reaches from the hip centre in crop pixels: to both sides when limbs swing, up and down.
_REACH = 40.0
_BODY = (-74.0, 76.0)
# x, height of the head, of the hips and of the feet, as fractions of the letterboxed picture.
_PEOPLE = ((0.33, 0.34, 0.5, 0.66), (0.67, 0.34, 0.5, 0.66))

# BlazePose's 33 points of a person who stands upright, facing us: x to the person's left (our right) and y down,
# in crop pixels from the hip centre.
_HEAD = [
    (0, -62),
    (3, -65),
    (5, -65),
    (7, -65),
    (-3, -65),
    (-5, -65),
    (-7, -65),
    (10, -63),
    (-10, -63),
    (4, -58),
    (-4, -58),
]
_TRUNK_AND_ARMS = [(17, -46), (-17, -46), (22, -22), (-22, -22), (25, 0), (-25, 0)]
_HANDS = [(26, 5), (-26, 5), (25, 6), (-25, 6), (23, 4), (-23, 4)]
_LEGS = [(10, 0), (-10, 0), (11, 34), (-11, 34), (12, 68), (-12, 68), (11, 72), (-11, 72), (15, 74), (-15, 74)]
_STANDING = np.array(_HEAD + _TRUNK_AND_ARMS + _HANDS + _LEGS, np.float32)
_LEFT_ARM, _RIGHT_ARM = [13, 15, 17, 19, 21], [14, 16, 18, 20, 22]
_LEFT_LEG, _RIGHT_LEG = [25, 27, 29, 31], [26, 28, 30, 32]
_METRES_PER_PIXEL = 1.7 / 140


def detect_people(image: NDArray[np.uint8]) -> dict[str, Floats]:
    """Two people side by side: [16,13] as the contract ``pose_detector`` says."""
    del image
    rows = np.zeros((16, 13), np.float32)
    for row, (x, head, hips, feet) in zip(rows, _PEOPLE, strict=False):
        width = (feet - head) / 4
        box = (x - width, head, x + width, feet)
        points = (x, hips, x, 2 * hips - feet, x, head, x, head)
        row[:12] = np.array(box + points) * _DETECTOR_SIZE
        row[12] = 0.9
    return {"detections": rows}


def detect_boxes(image: NDArray[np.uint8]) -> dict[str, Floats]:
    """Boxes around the two people's bodies: [300,6] as the contract ``person_detector`` says.

    The people stand where :func:`detect_people` has them: around the middle of the picture without what pads it.
    """
    width, height = _unpadded(image.transpose(1, 0, 2)), _unpadded(image)
    side = max(width, height)
    rows = np.zeros((300, 6), np.float32)
    for row, (x, head, hips, feet), score in zip(rows, _PEOPLE, (0.9, 0.8), strict=False):
        crop = (feet - head) * _ROI_SCALE
        low, high = (np.array((-_REACH, _BODY[0])) * crop / _CROP, np.array((_REACH, _BODY[1])) * crop / _CROP)
        middle = np.array((x - 0.5, hips - 0.5)) * side + np.array((width, height)) / 2
        row[:4] = np.concatenate([middle + low * side, middle + high * side])
        row[4] = score
    return {"boxes": rows}


def _unpadded(image: NDArray[np.uint8]) -> int:
    """How many rows come before those of plain grey that fill a letterboxed picture up to a multiple of 32."""
    tail = (image[-31:] == _PAD).all(axis=(1, 2))
    return len(image) - int(np.logical_and.accumulate(tail[::-1]).sum())


def detect_faces(image: NDArray[np.uint8]) -> dict[str, Floats]:
    """The two people's faces: [32,5] as the contract ``face_detector`` says."""
    del image
    rows = np.zeros((32, 5), np.float32)
    for row, (x, head, _hips, _feet) in zip(rows, _PEOPLE, strict=False):
        row[:4] = np.array((x - 0.02, head, x + 0.02, head + 0.05)) * _FACE_SIZE
        row[4] = 0.9
    return {"faces": rows}


def estimate_landmarks(crop: NDArray[np.uint8]) -> dict[str, Floats]:
    """A standing person in the crop's middle whose limbs swing up to 30° with the crop's brightness.

    The auxiliary points repeat the crop's own centre and size, so that a region of interest stays where it is.
    """
    phase = float(crop.mean()) * (2 * np.pi / 16)
    angle = np.float32(np.pi / 6 * np.sin(phase))
    body = _STANDING.copy()
    for chain, root, sign in ((_LEFT_ARM, 11, 1), (_RIGHT_ARM, 12, -1), (_LEFT_LEG, 23, -1), (_RIGHT_LEG, 24, 1)):
        body[chain] = _swing(body[chain], body[root], np.float32(sign) * angle)
    landmarks = np.zeros((39, 5), np.float32)
    landmarks[:33, :2] = body + _CROP / 2
    landmarks[33:, :2] = _CROP / 2
    landmarks[34, 1] -= _CROP / 2 / _ROI_SCALE
    landmarks[:, 3:] = 0.99
    world = np.zeros((39, 3), np.float32)
    world[:33, :2] = body * _METRES_PER_PIXEL
    return {"landmarks": landmarks, "world": world, "score": np.full(1, 0.99, np.float32)}


def _swing(points: Floats, root: Floats, angle: np.float32) -> Floats:
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Floats = (points - root) @ np.array([[cos, sin], [-sin, cos]], np.float32) + root
    return turned
