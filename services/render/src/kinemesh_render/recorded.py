"""What a job's recordings show when: read once for each task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.media import FrameIndex
from kinemesh.recordings import camera_of, position_of, usual_rate
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.film import FINE, Film, film_of_camera

_ROUNDED: Final = 1e-6
"""Of a frame: the clock's steps are counted in floating point."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recording on the site's clock.

    :ivar name: of the job's input.
    :ivar start_sec: when its first frame is shown.
    """

    name: str
    asset_id: str
    start_sec: float
    index: FrameIndex

    @property
    def moments(self) -> NDArray[np.float64]:
        """float64 [F], when its frames are shown."""
        times = self.index.times
        return np.asarray(self.start_sec + (times - times[0]), np.float64)

    @property
    def end_sec(self) -> float:
        """When its last frame ends."""
        return self.start_sec + self.index.duration_s

    @property
    def rate(self) -> float:
        """Frames per second, by the usual interval; 1 for a single frame."""
        return usual_rate(self.index.times)


@dataclass(frozen=True, slots=True)
class MosaicClock:
    """When the mosaic's frames are shown: at every step of the job's clock, or at every n-th where these are many.

    :ivar start_sec: of the first, on the site's clock.
    :ivar end_sec: when nothing is shown any more.
    :ivar step_rate: steps per second.
    :ivar stride: steps per frame.
    """

    start_sec: float
    end_sec: float
    step_rate: float
    stride: int

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.step_rate / self.stride

    def moment(self, frame: int) -> float:
        """When a frame is shown on the site's clock."""
        return self.start_sec + frame / self.rate

    def stamp(self, frame: int) -> int:
        """The same in the mosaic, in ticks of :data:`FINE`."""
        return round(frame / self.rate / FINE)

    def frames_of(self, window: task_pb2.Window, windows: Sequence[task_pb2.Window]) -> range:
        """The frames that are shown in one of a job's windows; the first and the last reach to the ends."""
        first = self._at(window.start_sec) if window.index else 0
        stop = self._at(window.stop_sec if window.index < len(windows) - 1 else self.end_sec)
        return range(first, max(first, stop))

    def _at(self, moment: float) -> int:
        """The first frame that is not shown before a moment."""
        return max(0, math.ceil((min(moment, self.end_sec) - self.start_sec) * self.rate - _ROUNDED))


def clock_of(recordings: Sequence[Recording], most_per_sec: float) -> MosaicClock:
    """The clock of a job's mosaic that shows at most so many frames a second."""
    rate = max(recording.rate for recording in recordings)
    start = min(recording.start_sec for recording in recordings)
    end = max(recording.end_sec for recording in recordings)
    return MosaicClock(start, end, rate, max(1, math.ceil(rate / most_per_sec - _ROUNDED)))


async def recordings_of(store: ObjectStore, task: task_pb2.Task, camera: str = "") -> list[Recording]:
    """A job's recordings, or those of a camera: the cameras as they were given, each one's by time."""
    wanted = [given for given in task.inputs if not camera or camera_of(given.camera) == camera]
    order = {name: place for place, name in enumerate(dict.fromkeys(camera_of(given.camera) for given in wanted))}
    wanted.sort(key=lambda given: (order[camera_of(given.camera)], position_of(given.camera)))
    return [
        recording_of(task, given.camera, FrameIndex.from_bytes(await store.get_bytes(keys.asset_index(given.asset_id))))
        for given in wanted
    ]


def recording_of(task: task_pb2.Task, name: str, index: FrameIndex) -> Recording:
    """A recording whose index is known."""
    given = next(given for given in task.inputs if given.camera == name)
    return Recording(name, given.asset_id, given.start_sec, index)


async def film_of_recording(store: ObjectStore, task: task_pb2.Task, name: str) -> Film:
    """The form of the video that a recording becomes a part of."""
    own = await recordings_of(store, task, camera_of(name))
    position = next(place for place, recording in enumerate(own) if recording.name == name)
    return film_of_camera([each.index for each in own], [each.start_sec for each in own], position)
