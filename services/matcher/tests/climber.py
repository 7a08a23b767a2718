"""A made-up climber on a wall, of whom it is known what they do when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.bodies import skeleton as sk

Floats = NDArray[np.float64]
LEFT_HAND, RIGHT_HAND, LEFT_FOOT, RIGHT_FOOT = range(4)

Reach = tuple[int, float, float, tuple[float, float]]
"""A limb, when it leaves, when it arrives, and where; places are in heights of the reference."""

STANDING: Final = ((0.42, 0.72), (0.53, 0.72), (0.45, 0.95), (0.50, 0.95))
HIPS: Final = (0.475, 0.72)
RISES: Final = ((3.4, 4.0, 0.12), (7.5, 8.2, 0.12))
"""When the trunk rises, until when, and how far."""
REACHES: Final[tuple[Reach, ...]] = (
    (LEFT_HAND, 2.2, 2.6, (0.42, 0.50)),  # the ground is not left yet
    (RIGHT_HAND, 2.8, 3.2, (0.55, 0.48)),
    (LEFT_FOOT, 3.5, 3.9, (0.43, 0.80)),
    (RIGHT_FOOT, 4.1, 4.5, (0.52, 0.78)),
    (LEFT_HAND, 7.0, 7.4, (0.45, 0.33)),
    (RIGHT_FOOT, 7.6, 8.0, (0.55, 0.66)),
    (RIGHT_HAND, 8.5, 8.9, (0.56, 0.30)),
)
SECONDS: Final = 11.0
LEAVES_SEC: Final = 3.5
LAST_MOVE_SEC: Final = 8.9
MOVES: Final = [LEFT_FOOT, RIGHT_FOOT, LEFT_HAND, RIGHT_FOOT, RIGHT_HAND]
HOLDS: Final = 7
PAUSE_SEC: Final = 3.0
"""From the foot at 4.5 s to the trunk at 7.5 s; the hand in between hardly moves the centre of mass."""


def climbing(
    time: Floats, reaches: Sequence[Reach] = REACHES, rises: Sequence[tuple[float, float, float]] = RISES
) -> Floats:
    """Landmarks at F times: [F, 33, 2] in heights of the reference."""
    limbs = np.tile(np.array(STANDING), (len(time), 1, 1))
    before = {limb: np.array(place) for limb, place in enumerate(STANDING)}
    for limb, leaves, arrives, place in reaches:
        limbs[:, limb] += _eased(time, leaves, arrives)[:, None] * (np.array(place) - before[limb])
        before[limb] = np.array(place)
    hips = np.tile(np.array(HIPS), (len(time), 1))
    for begins, ends, by in rises:
        hips[:, 1] -= by * _eased(time, begins, ends)
    return _body(hips, limbs)


def visible(points: Floats, aspect: float) -> NDArray[np.float32]:
    """Landmark rows [F, 33, 5] with fractions of the picture, all visible."""
    rows = np.zeros((len(points), sk.COUNT, 5), np.float32)
    rows[..., 0], rows[..., 1] = points[..., 0] / aspect, points[..., 1]
    rows[..., 3:] = 0.95
    return rows


def _eased(time: Floats, begins: float, ends: float) -> Floats:
    """From 0 to 1 with the least jerk."""
    u = np.clip((time - begins) / (ends - begins), 0, 1)
    return np.asarray(u**3 * (10 - 15 * u + 6 * u**2), np.float64)


def _body(hips: Floats, limbs: Floats) -> Floats:
    points = np.tile((hips + np.array([0, -0.21]))[:, None], (1, sk.COUNT, 1))  # what is of the head
    for side, across in ((0, -0.03), (1, 0.03)):
        shoulder, hip = hips + np.array([across, -0.15]), hips + np.array([0.7 * across, 0])
        hand, foot = limbs[:, side], limbs[:, 2 + side]
        points[:, sk.LEFT_SHOULDER + side], points[:, sk.LEFT_HIP + side] = shoulder, hip
        points[:, sk.LEFT_ELBOW + side], points[:, sk.LEFT_KNEE + side] = (shoulder + hand) / 2, (hip + foot) / 2
        for landmark in (sk.LEFT_WRIST, 17, sk.LEFT_INDEX, 21):
            points[:, landmark + side] = hand
        for landmark in (sk.LEFT_ANKLE, sk.LEFT_HEEL, sk.LEFT_FOOT_INDEX):
            points[:, landmark + side] = foot
    return points
