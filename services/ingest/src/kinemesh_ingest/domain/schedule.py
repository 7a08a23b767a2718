"""When the recordings of cameras begin on the environment's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kinemesh.errors import InvalidArgument
from kinemesh.recordings import recording_name
from kinemesh_ingest.domain.timeline import Input

_ROUNDED_SEC: Final = 0.001


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recording of a camera.

    :ivar start_sec: as the user says; None to follow the one before.
    """

    asset_id: str
    duration_sec: float
    start_sec: float | None


def schedule(camera: str, recordings: Sequence[Recorded]) -> list[Input]:
    """The recordings of one camera, in order of time.

    :raises InvalidArgument: SUB_VIDEOS_OVERLAP, or OUT_OF_ORDER if one begins before the one that stands before it.
    """
    inputs: list[Input] = []
    last_start, end = 0.0, 0.0
    for position, one in enumerate(recordings):
        start = end if one.start_sec is None else one.start_sec
        facts = {"camera": camera, "position": position}
        if position and start < last_start:
            raise InvalidArgument(
                "OUT_OF_ORDER", f"Recording {position + 1} of {camera} begins before the one before it.", **facts
            )
        if position and start < end - _ROUNDED_SEC:
            raise InvalidArgument(
                "SUB_VIDEOS_OVERLAP",
                f"Recording {position + 1} of {camera} begins at {start:.3f} s; the one before ends at {end:.3f} s.",
                **facts,
            )
        inputs.append(Input(recording_name(camera, position), one.asset_id, start))
        last_start, end = start, start + one.duration_sec
    return inputs
