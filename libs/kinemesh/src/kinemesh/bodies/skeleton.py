"""The 33 landmarks of BlazePose, the bones between them, and a body's place and size.

Source: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020.
"Left" and "right" are the person's own.

A landmark row is ``[33, 5]``: x and y normalised by the picture's width and height, z in the scale of x
(towards the camera is negative), visibility 0–1, presence 0–1. Distances are measured in the *image
plane*: x is multiplied by the aspect ratio, so that one unit is one picture height on both axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LANDMARKS: tuple[str, ...] = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)
COUNT = len(LANDMARKS)
INDEX: dict[str, int] = {name: i for i, name in enumerate(LANDMARKS)}

NOSE = 0
LEFT_EAR, RIGHT_EAR = 7, 8
LEFT_SHOULDER, RIGHT_SHOULDER = 11, 12
LEFT_ELBOW, RIGHT_ELBOW = 13, 14
LEFT_WRIST, RIGHT_WRIST = 15, 16
LEFT_INDEX, RIGHT_INDEX = 19, 20
LEFT_HIP, RIGHT_HIP = 23, 24
LEFT_KNEE, RIGHT_KNEE = 25, 26
LEFT_ANKLE, RIGHT_ANKLE = 27, 28
LEFT_HEEL, RIGHT_HEEL = 29, 30
LEFT_FOOT_INDEX, RIGHT_FOOT_INDEX = 31, 32

TORSO: tuple[int, ...] = (LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP)

PAIRS: tuple[tuple[int, int], ...] = (
    (1, 4),
    (2, 5),
    (3, 6),
    (7, 8),
    (9, 10),
    *((left, left + 1) for left in range(11, 33, 2)),
)
"""(left, right) indices of every landmark that has a mirror image; only the nose has none."""

BONES: tuple[tuple[int, int], ...] = (
    (0, 1),
    (1, 2),
    (2, 3),
    (3, 7),
    (0, 4),
    (4, 5),
    (5, 6),
    (6, 8),
    (9, 10),
    (11, 12),
    (11, 13),
    (13, 15),
    (15, 17),
    (15, 19),
    (15, 21),
    (17, 19),
    (12, 14),
    (14, 16),
    (16, 18),
    (16, 20),
    (16, 22),
    (18, 20),
    (11, 23),
    (12, 24),
    (23, 24),
    (23, 25),
    (25, 27),
    (27, 29),
    (27, 31),
    (29, 31),
    (24, 26),
    (26, 28),
    (28, 30),
    (28, 32),
    (30, 32),
)
"""(from, to) indices of the lines of a drawn skeleton."""


def image_plane(landmarks: NDArray[np.floating], aspect: float) -> Floats:
    """Put normalised landmarks on square axes.

    :param landmarks: ``[..., 33, ≥2]``, x and y as fractions of the picture's width and height.
    :param aspect: picture width / height.
    :returns: float64 ``[..., 33, 2]`` in picture heights.
    """
    plane: Floats = landmarks[..., :2].astype(np.float64)
    plane[..., 0] *= aspect
    return plane


def body_centre(points: Floats) -> Floats:
    """Mean of shoulders and hips: ``[..., 33, 2]`` → ``[..., 2]``, same unit."""
    return np.asarray(points[..., TORSO, :].mean(axis=-2), dtype=np.float64)


def body_size(points: Floats) -> Floats:
    """Radius of gyration of the 33 landmarks, ``[..., 33, 2]`` → ``[...]``, same unit.

    About a quarter of a standing person's height. It turns with the body and, unlike one bone, does
    not collapse when that bone points at the camera.
    """
    spread = points - points.mean(axis=-2, keepdims=True)
    return np.asarray(np.sqrt(np.square(spread).sum(axis=-1).mean(axis=-1)), dtype=np.float64)
