"""Names of recordings: a camera's first bears the camera's name, the others add their number, as ``c09.2``."""

from __future__ import annotations


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
