"""How boxes move: a Kalman filter of constant velocity for each of the four numbers of every box, all in one step.

The four do not influence one another, so that covariances are 2×2 and a step is a handful of array operations
whatever the number of tracks. All noise is proportional to the box's height, as in SORT's descendants (Wojke et al.,
Simple online and realtime tracking with a deep association metric, 2017), which makes the filter independent of the
picture's scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import solveh_banded

from kinemesh_detect_track.domain.boxes import Floats, Ints

NOMINAL_RATE: Final = 30.0
"""Frames per second that all noise and all spans of frames refer to, whatever the rate of a video."""

# Standard deviations in box heights.
_DRIFT: Final = 0.05  # of a position per frame
_ACCELERATION: Final = 0.00625  # of a velocity per frame
_MEASUREMENT: Final = 0.05  # of a detection
_START: Final = 2 * _MEASUREMENT
_START_VELOCITY: Final = 10 * _ACCELERATION


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """T boxes in motion.

    :ivar box: float64 [T, 4], ``cx cy w h`` in pixels.
    :ivar velocity: float64 [T, 4], of the same, per frame.
    :ivar covariance: float64 [T, 4, 3], of position, of position with velocity, of velocity.
    """

    box: Floats
    velocity: Floats
    covariance: Floats


def started(box: Floats) -> Motion:
    """Boxes [T, 4] seen for the first time."""
    height = np.repeat(box[:, 3:], 4, axis=1)
    covariance = np.stack([(_START * height) ** 2, np.zeros_like(height), (_START_VELOCITY * height) ** 2], axis=2)
    return Motion(box, np.zeros_like(box), covariance)


def predicted(motion: Motion, frames: float) -> Motion:
    """Where the boxes are after a time, given in frames of the nominal rate."""
    height = np.maximum(motion.box[:, 3:], 1)
    position, mixed, velocity = np.moveaxis(motion.covariance, 2, 0)
    covariance = np.stack(
        [
            position + frames * (2 * mixed + frames * velocity) + frames * (_DRIFT * height) ** 2,
            mixed + frames * velocity,
            velocity + frames * (_ACCELERATION * height) ** 2,
        ],
        axis=2,
    )
    return Motion(motion.box + frames * motion.velocity, motion.velocity, covariance)


def corrected(motion: Motion, box: Floats) -> Motion:
    """The same after every box was seen at ``box`` [T, 4]."""
    position, mixed, velocity = np.moveaxis(motion.covariance, 2, 0)
    noise = (_MEASUREMENT * np.maximum(motion.box[:, 3:], 1)) ** 2
    gain = position / (position + noise)
    velocity_gain = mixed / (position + noise)
    miss = box - motion.box
    covariance = np.stack([position * (1 - gain), mixed * (1 - gain), velocity - velocity_gain * mixed], axis=2)
    return Motion(motion.box + gain * miss, motion.velocity + velocity_gain * miss, covariance)


def smoothed(time: Floats, boxes: Floats, seen: Ints) -> Floats:
    """One object's boxes from its first to its last, by the same motion model looked at from both ends.

    Frames in which the object was not seen are filled in; the others lose the detector's noise. What Rauch, Tung and
    Striebel's smoother (Maximum likelihood estimates of linear dynamic systems, 1965) finds with two passes is the
    solution of one system of equations: every step and every detection pulls with the inverse of its variance. All
    noise is in box heights, which cancel.

    :param time: float64 [F] of the frames, ascending, in frames of the nominal rate.
    :param boxes: float64 [N, 4], ``cx cy w h``.
    :param seen: int64 [N], ascending: the frame of each; the first is 0 and the last F - 1.
    :return: float64 [F, 4].
    """
    passed = np.diff(time)
    drift, turn = 1 / (_DRIFT**2 * passed), 1 / (_ACCELERATION**2 * passed)
    # Unknowns are position and velocity of each frame in turn; row k holds what couples each with the k-th after it.
    system = np.zeros((3, 2 * len(time)))
    own, next_one, after_next = system
    own[2 * seen] = 1 / _MEASUREMENT**2
    own[1] += 1 / _START_VELOCITY**2
    own[2::2] += drift
    own[:-2:2] += drift
    own[3::2] += turn
    own[1:-2:2] += turn + passed**2 * drift
    next_one[:-2:2] += passed * drift
    next_one[1:-2:2] -= passed * drift
    after_next[:-2:2] -= drift
    after_next[1:-2:2] -= turn
    pull = np.zeros((2 * len(time), 4))
    pull[2 * seen] = boxes / _MEASUREMENT**2
    result: Floats = solveh_banded(system, pull, lower=True, check_finite=False)[::2]
    return result
