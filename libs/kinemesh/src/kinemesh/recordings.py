"""The recordings of a job over several cameras: their names, and how often they have a frame.

A camera's first recording bears the camera's name, the others add their number, as ``c09.2``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_DIGITS: Final = 6
"""Of a rate: 10 frames per second, not 9.999999999999858."""


def recording_name(camera: str, position: int) -> str:
    """The name of a camera's recording; ``position`` counts from 0 in order of time."""
    return camera if position == 0 else f"{camera}.{position + 1}"


def camera_of(recording: str) -> str:
    """The camera that made a recording; names of cameras hold no dot."""
    return recording.partition(".")[0]


def position_of(recording: str) -> int:
    """Which of its camera's recordings it is, from 0."""
    number = recording.partition(".")[2]
    return int(number) - 1 if number else 0


def usual_rate(times: NDArray[np.float64]) -> float:
    """Frames per second, by the usual interval between presentation times [F] in seconds; 1 for a single frame."""
    return 1.0 if len(times) < 2 else round(1 / float(np.median(np.diff(times))), _DIGITS)
