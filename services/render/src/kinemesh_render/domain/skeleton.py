"""Which of BlazePose's 33 landmarks are joined by lines, and on which side of the body they lie.

Source of the numbering: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020. "Left" and
"right" are the person's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

COUNT = 33

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR = 0, 2, 5, 7, 8
HEAD = tuple(range(11))
LEFT_SHOULDER, RIGHT_SHOULDER = 11, 12
LEFT_WRIST, RIGHT_WRIST = 15, 16
LEFT_HIP, RIGHT_HIP = 23, 24
LEFT_ANKLE, RIGHT_ANKLE = 27, 28


class Side(Enum):
    """Where a line or joint belongs."""

    LEFT = "left"
    RIGHT = "right"
    MIDDLE = "middle"


@dataclass(frozen=True, slots=True)
class Bone:
    """A line between two landmarks; ``weight`` is its share of the full thickness."""

    start: int
    stop: int
    side: Side
    weight: float = 1.0


_SMALL, _FACE = 0.6, 0.4

BONES: tuple[Bone, ...] = (
    Bone(LEFT_EAR, LEFT_EYE, Side.LEFT, _FACE),
    Bone(LEFT_EYE, NOSE, Side.LEFT, _FACE),
    Bone(RIGHT_EAR, RIGHT_EYE, Side.RIGHT, _FACE),
    Bone(RIGHT_EYE, NOSE, Side.RIGHT, _FACE),
    Bone(15, 19, Side.LEFT, _SMALL),
    Bone(15, 21, Side.LEFT, _SMALL),
    Bone(16, 20, Side.RIGHT, _SMALL),
    Bone(16, 22, Side.RIGHT, _SMALL),
    Bone(27, 29, Side.LEFT, _SMALL),
    Bone(29, 31, Side.LEFT, _SMALL),
    Bone(27, 31, Side.LEFT, _SMALL),
    Bone(28, 30, Side.RIGHT, _SMALL),
    Bone(30, 32, Side.RIGHT, _SMALL),
    Bone(28, 32, Side.RIGHT, _SMALL),
    Bone(11, 12, Side.MIDDLE),
    Bone(23, 24, Side.MIDDLE),
    Bone(11, 23, Side.LEFT),
    Bone(12, 24, Side.RIGHT),
    Bone(11, 13, Side.LEFT),
    Bone(13, 15, Side.LEFT),
    Bone(12, 14, Side.RIGHT),
    Bone(14, 16, Side.RIGHT),
    Bone(23, 25, Side.LEFT),
    Bone(25, 27, Side.LEFT),
    Bone(24, 26, Side.RIGHT),
    Bone(26, 28, Side.RIGHT),
)
"""In the order of drawing: what matters most comes last and lies on top."""

JOINTS: tuple[tuple[int, Side], ...] = tuple(
    (landmark, Side.LEFT if landmark % 2 else Side.RIGHT)
    for landmark in (11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
)
"""Landmarks that are drawn as dots."""

TRAILED: tuple[tuple[int, ...], ...] = (
    (LEFT_WRIST,),
    (RIGHT_WRIST,),
    (LEFT_ANKLE,),
    (RIGHT_ANKLE,),
    (LEFT_HIP, RIGHT_HIP),
)
"""What leaves a trail: the mean of each group of landmarks."""
