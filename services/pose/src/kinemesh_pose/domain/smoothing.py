"""One-euro filter over all landmarks of a person at once, with the frames' real times.

Source: Casiez, Roussel, Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems", CHI 2012. An exponential low-pass whose cutoff grows with speed: a body at rest does
not tremble, a fast one does not lag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemesh.bodies import skeleton
from kinemesh.bodies.skeleton import Floats
from kinemesh.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class OneEuro:
    """Parameters of the filter."""

    min_cutoff_hz: float = 1.5
    """Cutoff at rest: lower trembles less and lags more."""
    beta: float = 2.0
    """Cutoff gained per unit of speed. For landmarks speed is in body sizes per second, which makes one
    value right for near and far persons."""
    derivative_cutoff_hz: float = 1.0
    """Cutoff of the speed estimate."""
    max_gap_s: float = 0.25
    """After a longer gap the filter starts anew."""


@dataclass(frozen=True, slots=True)
class OneEuroState:
    """The filter after a sample; NaN where it has not started."""

    time_s: float
    value: Floats
    speed: Floats


def one_euro_step(
    state: OneEuroState | None, time_s: float, value: Floats, options: OneEuro, scale: float = 1.0
) -> OneEuroState:
    """Filter one sample (any shape, each element by itself); the result is ``.value`` of the new state.

    ::

        alpha(fc) = 1 / (1 + 1 / (2π · fc · dt))
        speed    += alpha(derivative_cutoff) · ((value − smoothed) / dt − speed)
        smoothed += alpha(min_cutoff + beta · |speed| / scale) · (value − smoothed)

    NaN stays NaN, and the element starts anew after it. ``scale`` is the length of one unit of speed.

    :raises InvalidArgument: TIME_NOT_INCREASING
    """
    fresh = OneEuroState(time_s, value, np.where(np.isnan(value), np.nan, 0.0))
    if state is None:
        return fresh
    dt = time_s - state.time_s
    if dt <= 0:
        raise InvalidArgument("TIME_NOT_INCREASING", "Times of frames must increase.", time_s=time_s)
    if dt > options.max_gap_s:
        return fresh
    change = value - state.value
    speed = state.speed + _alpha(options.derivative_cutoff_hz, dt) * (change / dt - state.speed)
    smoothed = state.value + _alpha(options.min_cutoff_hz + options.beta * np.abs(speed) / scale, dt) * change
    started = ~np.isnan(state.value)
    return OneEuroState(time_s, np.where(started, smoothed, value), np.where(started, speed, fresh.speed))


def _alpha(cutoff_hz: Floats | float, dt: float) -> Floats | float:
    return 1 / (1 + 1 / (2 * np.pi * cutoff_hz * dt))


def one_euro(
    time_s: Floats, values: NDArray[np.floating], options: OneEuro | None = None, scale: float = 1.0
) -> Floats:
    """Filter a series: ``time_s`` [F] increasing, ``values`` [F, …] → float64 of the same shape.

    :raises InvalidArgument: TIME_NOT_INCREASING
    """
    options = options or OneEuro()
    result = np.empty(values.shape, dtype=np.float64)
    state: OneEuroState | None = None
    for i, time in enumerate(time_s.tolist()):
        state = one_euro_step(state, time, values[i].astype(np.float64), options, scale)
        result[i] = state.value
    return result


def smooth_landmarks(
    time_s: Floats, landmarks: NDArray[np.float32], aspect: float, options: OneEuro | None = None
) -> NDArray[np.float32]:
    """Smooth x, y and z of one person's landmarks [F, 33, 5]; visibility and presence stay. A new array.

    Speed is measured in the person's median body size. :raises InvalidArgument: TIME_NOT_INCREASING
    """
    result = landmarks.astype(np.float32, copy=True)
    if not len(landmarks):
        return result
    square = np.array([aspect, 1.0, aspect])  # one unit on all axes, or a speed across would count less
    size = float(np.nanmedian(skeleton.body_size(skeleton.image_plane(landmarks, aspect))))
    smoothed = one_euro(time_s, landmarks[..., :3] * square, options, scale=max(size, 1e-6))
    result[..., :3] = smoothed / square
    return result


def smooth_world(time_s: Floats, world: NDArray[np.float32], options: OneEuro | None = None) -> NDArray[np.float32]:
    """Smooth x, y and z of one person's world landmarks [F, 33, ≥3] in metres; other columns stay.

    A body size of 0.45 m makes the same parameters act as in the picture.
    """
    result = world.astype(np.float32, copy=True)
    result[..., :3] = one_euro(time_s, world[..., :3], options, scale=_BODY_SIZE_M)
    return result


_BODY_SIZE_M = 0.45
