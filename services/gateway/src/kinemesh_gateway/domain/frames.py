"""Frames in order: what a client of a live stream sees never repeats and never goes back."""

from __future__ import annotations

from collections.abc import Sequence


class FrameOrder:
    """Remembers the last frame of every camera."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def fresh(self, camera: str, indices: Sequence[int]) -> list[int]:
        """Positions in ``indices`` of the frames that come after all earlier ones of the camera."""
        last = self._last.get(camera, -1)
        positions = []
        for position, index in enumerate(indices):
            if index > last:
                positions.append(position)
                last = index
        self._last[camera] = last
        return positions
