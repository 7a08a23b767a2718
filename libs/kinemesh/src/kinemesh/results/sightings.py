"""Who was where: what the stages associate and resolve pass on, and the tables that users get and queries read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SightingRows:
    """R boxes of people in pictures of several cameras, ordered by step, camera and track.

    :ivar step: int64 [R], step of the job's clock, the ``global_frame_index``.
    :ivar time_sec: float64 [R], of the frame on the environment's clock.
    :ivar camera: str [R], the camera's id.
    :ivar recording: str [R], name of the job's input.
    :ivar camera_frame_index: int64 [R], index of the frame in the recording.
    :ivar track_id: int32 [R], unique within the camera.
    :ivar person: int32 [R], number of the person in the job, from 1; 0 where it is not known.
    :ivar global_id: str [R], UUID of the person; empty where it is not known.
    :ivar x1, y1, x2, y2: float32 [R], the box in pixels of the upright picture.
    :ivar score: float32 [R], confidence 0 to 1.
    :ivar class_id: int16 [R], as the detector counts its classes.
    :ivar interpolated: bool [R], whether the box was filled in between frames where the person was seen.
    :ivar map_x, map_y: float64 [R], where the person stands by this camera, in the map's unit; NaN without homography.
    :ivar cov_xx, cov_xy, cov_yy: float64 [R], covariance of that, in the map's unit squared.
    :ivar feet_hidden: bool [R], whether the feet were not seen, so that the place was estimated from the body.
    """

    step: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    camera: NDArray[np.str_]
    recording: NDArray[np.str_]
    camera_frame_index: NDArray[np.int64]
    track_id: NDArray[np.int32]
    person: NDArray[np.int32]
    global_id: NDArray[np.str_]
    x1: NDArray[np.float32]
    y1: NDArray[np.float32]
    x2: NDArray[np.float32]
    y2: NDArray[np.float32]
    score: NDArray[np.float32]
    class_id: NDArray[np.int16]
    interpolated: NDArray[np.bool_]
    map_x: NDArray[np.float64]
    map_y: NDArray[np.float64]
    cov_xx: NDArray[np.float64]
    cov_xy: NDArray[np.float64]
    cov_yy: NDArray[np.float64]
    feet_hidden: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True, slots=True, eq=False)
class PathRows:
    """R places of people on the map, from all cameras together, ordered by step and person.

    :ivar step: int64 [R], step of the job's clock.
    :ivar time_sec: float64 [R], of the step on the environment's clock.
    :ivar person: int32 [R], number of the person in the job.
    :ivar global_id: str [R], UUID of the person.
    :ivar x, y: float64 [R], in the map's unit.
    :ivar vx, vy: float64 [R], in the map's unit per second.
    :ivar cameras: int32 [R], how many cameras saw the person at this step; 0 where the path was filled in.
    """

    step: NDArray[np.int64]
    time_sec: NDArray[np.float64]
    person: NDArray[np.int32]
    global_id: NDArray[np.str_]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    vx: NDArray[np.float64]
    vy: NDArray[np.float64]
    cameras: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True, slots=True, eq=False)
class PersonRows:
    """R people: those of a job, or those whom an environment's gallery knows when a job begins.

    :ivar person: int32 [R], number in the job, from 1.
    :ivar global_id: str [R], UUID.
    :ivar known: bool [R], whether the gallery knew the person before the job.
    :ivar first_sec, last_sec: float64 [R], when the person was first and last seen on the environment's clock; NaN in a
        gallery.
    :ivar cameras: str [R], ids of the cameras that saw the person, by name, with commas between.
    :ivar worth: float32 [R], how much looking went into ``embedding``.
    :ivar embedding: float32 [R, E], L2-normalised; zeros if no look at the person was worth anything.
    """

    person: NDArray[np.int32]
    global_id: NDArray[np.str_]
    known: NDArray[np.bool_]
    first_sec: NDArray[np.float64]
    last_sec: NDArray[np.float64]
    cameras: NDArray[np.str_]
    worth: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.person)
