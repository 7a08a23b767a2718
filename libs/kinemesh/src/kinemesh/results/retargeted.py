"""What the stage retarget leaves for render: who is where on the reference image, and when.

Poses lie beside it, as rows of :mod:`kinemesh.results.poses`, one file per window: ``frame_index`` is the number of the
output's frame, ``time_sec`` its time, ``person_id`` the attempt's number from 1, and ``image`` holds fractions of the
reference's width and height.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import InvalidArgument
from kinemesh.storage import keys

STAGE: Final = "retarget"
_ALL: Final = "all"


@dataclass(frozen=True, slots=True, eq=False)
class CourseRows:
    """Where the centres of mass are: R rows, ordered by frame, then attempt, one for each pose.

    :ivar frame_index: int64 [R], number of the output's frame.
    :ivar time_sec: float64 [R], its time in the output.
    :ivar attempt: int32 [R], from 1.
    :ivar x: float64 [R], fraction of the reference's width; NaN where shoulders or hips are hidden.
    :ivar y: float64 [R], fraction of the reference's height; NaN likewise.
    :ivar interpolated: bool [R], the transform or the pose was filled in between others.
    """

    frame_index: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    attempt: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    interpolated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.frame_index)


@dataclass(frozen=True, slots=True, eq=False)
class HoldRows:
    """Touches of holds: R rows, by attempt, then time.

    :ivar attempt: int32 [R], from 1.
    :ivar limb: str [R], ``left_hand``, ``right_hand``, ``left_foot``, ``right_foot``.
    :ivar hold: int32 [R], number of the hold, from 1; attempts of one job share holds.
    :ivar x: float64 [R], fraction of the reference's width.
    :ivar y: float64 [R], fraction of the reference's height.
    :ivar start_sec: float64 [R], when the limb comes to rest, in the output's time.
    :ivar stop_sec: float64 [R], when it leaves.
    """

    attempt: NDArray[np.int32]
    limb: NDArray[np.str_]
    hold: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    start_sec: NDArray[np.float64]
    stop_sec: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.attempt)


@dataclass(frozen=True, slots=True)
class Showing:
    """The output's form.

    :ivar width: of the reference in pixels.
    :ivar height: of the reference in pixels.
    :ivar frame_rate: frames per second of the output.
    :ivar names: of the attempts, in order of their numbers.
    :ivar windows: first frame and the frame after the last of every window, in order; a window may be empty.
    """

    width: int
    height: int
    frame_rate: Fraction
    names: Sequence[str]
    windows: Sequence[tuple[int, int]]

    @property
    def frame_count(self) -> int:
        return self.windows[-1][1] if self.windows else 0

    def to_bytes(self) -> bytes:
        rate = [self.frame_rate.numerator, self.frame_rate.denominator]
        document = {
            "width": self.width,
            "height": self.height,
            "frame_rate": rate,
            "names": list(self.names),
            "windows": [list(window) for window in self.windows],
        }
        return json.dumps(document).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Showing:
        """The inverse of :meth:`to_bytes`.

        :raises InvalidArgument: INVALID_SHOWING
        """
        try:
            document = json.loads(data)
            return cls(
                width=int(document["width"]),
                height=int(document["height"]),
                frame_rate=Fraction(*document["frame_rate"]),
                names=tuple(str(name) for name in document["names"]),
                windows=tuple((int(first), int(stop)) for first, stop in document["windows"]),
            )
        except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise InvalidArgument("INVALID_SHOWING", "What is to be shown cannot be read.") from error


def poses_key(job_id: str, window: int) -> str:
    """Where the poses of a window lie."""
    return keys.stage_result(job_id, STAGE, _ALL, window)


def course_key(job_id: str) -> str:
    """Where the centres of mass of the whole output lie, as Parquet of :class:`CourseRows`."""
    return keys.stage_result(job_id, STAGE, _ALL, "course")


def holds_key(job_id: str) -> str:
    """Where the touches of holds lie, as Parquet of :class:`HoldRows`."""
    return keys.stage_result(job_id, STAGE, _ALL, "holds")


def showing_key(job_id: str) -> str:
    """Where the output's form lies."""
    return keys.stage_result(job_id, STAGE, _ALL, "showing", "json")
