"""A climber's signals on the reference, on an even grid of time.

Distances are in heights of the reference along both axes; speeds are in body sizes (see
:func:`kinemesh.bodies.skeleton.body_size`; about 0.43 m of an adult) per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kinemesh.bodies import skeleton as sk
from kinemesh.bodies.mass import centre_of_mass
from kinemesh.bodies.skeleton import Bools, Floats, Ints
from kinemesh_matcher.domain.transfer import LONGEST_GAP_S

RATE_HZ: Final = 30.0
VISIBLE: Final = 0.5
LIMBS: Final = ("left_hand", "right_hand", "left_foot", "right_foot")
_LIMB_LANDMARKS: Final = (
    (sk.INDEX["left_pinky"], sk.LEFT_INDEX),
    (sk.INDEX["right_pinky"], sk.RIGHT_INDEX),
    (sk.LEFT_FOOT_INDEX,),
    (sk.RIGHT_FOOT_INDEX,),
)
"""Knuckles and toes: what is nearest to a hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """G samples, 30 per second, NaN where something is not seen.

    :ivar start_sec: time of the first, from the recording's first frame.
    :ivar centre: float64 [G, 2], the centre of mass.
    :ivar limbs: float64 [G, 4, 2], in the order of :data:`LIMBS`.
    :ivar size: the body's median size.
    """

    start_sec: float
    centre: Floats
    limbs: Floats
    size: float

    def time_of(self, sample: int) -> float:
        return self.start_sec + sample / RATE_HZ

    def sample_at(self, time_sec: float) -> int:
        return int(np.clip(round((time_sec - self.start_sec) * RATE_HZ), 0, len(self.centre)))


def centres(image: NDArray[np.float32], aspect: float) -> Floats:
    """Centres of mass of bodies on the reference: [R, 33, 5] → [R, 2] heights; NaN where the torso is not visible.

    :param aspect: width / height of the reference.
    """
    return centre_of_mass(sk.image_plane(image, aspect), image[:, :, 3] >= VISIBLE)


def motion_of(time_sec: Floats, image: NDArray[np.float32], aspect: float) -> Motion:
    """The signals of a body on the reference.

    :param time_sec: float64 [R], increasing.
    :param image: float32 [R, 33, 5], x and y as fractions of the reference.
    :param aspect: width / height of the reference.
    """
    if not len(image):
        return Motion(0.0, np.empty((0, 2)), np.empty((0, len(LIMBS), 2)), 1.0)
    plane = sk.image_plane(image, aspect)
    signals = [centres(image, aspect)]
    for landmarks in _LIMB_LANDMARKS:
        seen = image[:, list(landmarks), 3].mean(axis=1) >= VISIBLE
        signals.append(np.where(seen[:, None], plane[:, list(landmarks)].mean(axis=1), np.nan))
    count = int(np.floor((time_sec[-1] - time_sec[0]) * RATE_HZ + 1e-6)) + 1
    at = time_sec[0] + np.arange(count) / RATE_HZ
    even = [_even(time_sec, signal, at) for signal in signals]
    size = max(float(np.median(sk.body_size(plane))), 1e-6)
    return Motion(float(time_sec[0]), even[0], np.stack(even[1:], axis=1), size)


def _even(time_sec: Floats, values: Floats, at: Floats) -> Floats:
    """A signal [R, 2] at other times, linear between samples that are near enough to each other; NaN elsewhere."""
    seen = np.flatnonzero(np.isfinite(values).all(axis=1))
    if not len(seen):
        return np.full((len(at), values.shape[1]), np.nan)
    time = time_sec[seen]
    right = np.clip(np.searchsorted(time, at - 1e-6), 0, len(time) - 1)
    left = np.maximum(right - 1, 0)
    within = (at >= time[0] - 1e-6) & (at <= time[-1] + 1e-6)
    within &= (time[right] - time[left] <= LONGEST_GAP_S + 1e-6) | (np.abs(at - time[right]) <= 1e-6)
    columns = [np.where(within, np.interp(at, time, column), np.nan) for column in values[seen].T]
    return np.stack(columns, axis=1)


def calmed(values: Floats, sigma_sec: float) -> Floats:
    """Values [G, D] under a Gaussian; NaN stays NaN and counts for nothing."""
    if not len(values):
        return values
    seen = np.isfinite(values)
    sigma = sigma_sec * RATE_HZ

    def blurred(given: Floats) -> Floats:
        return np.asarray(ndimage.gaussian_filter1d(given, sigma, axis=0, mode="constant"), np.float64)

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seen, blurred(np.where(seen, values, 0.0)) / blurred(seen.astype(np.float64)), np.nan)


def speed_of(values: Floats) -> Floats:
    """Distance per second of values [G, 2] → [G]; NaN beside what is not seen."""
    if len(values) < 2:
        return np.full(len(values), np.nan)
    return np.asarray(np.linalg.norm(np.gradient(values, 1 / RATE_HZ, axis=0), axis=1), np.float64)


def resting(speed: Floats, below: float, above: float) -> Bools:
    """Where something rests: from when its speed [G] falls below one limit until it rises above another."""
    decided = np.where(speed < below, 1, np.where((speed > above) | np.isnan(speed), 0, -1))
    known = np.maximum.accumulate(np.where(decided >= 0, np.arange(len(decided)), -1))
    return np.asarray((known >= 0) & (decided[np.maximum(known, 0)] == 1), np.bool_)


def runs(flags: Bools) -> Ints:
    """Half-open ranges in which flags [G] hold: int64 [N, 2]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return np.asarray(edges.reshape(-1, 2), np.int64)
