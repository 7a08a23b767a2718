"""Signals of movement: from unevenly timed, holed samples to speed, smoothness and tempo.

Everything that needs a derivative or a spectrum is computed on a uniform grid of :data:`RATE_HZ`, so that
the frame rate, constant or not, does not enter the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, signal

from kinemesh.bodies.skeleton import Bools, Floats, Ints

RATE_HZ = 60.0
"""Rate of the uniform grid."""
LOW_PASS_HZ = 6.0
"""Cutoff (-3 dB) of the zero-lag low-pass, the usual one for human movement (Winter 2009, ch. 3)."""
SHORTEST_S = 0.2
"""Shorter stretches without a gap have no derivative."""
WINDOW_S = 2.0
"""Smoothness is measured over windows of this length, so that clips of different length compare."""

_TEMPO_WINDOW_S = 12.0
_TEMPO_HZ = (0.2, 4.0)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Signals on a uniform grid: G samples from ``start_s`` on, NaN in gaps."""

    start_s: float
    values: Floats
    """[G, C]"""

    def at(self, time_s: Floats, values: Floats) -> Floats:
        """``values`` [G, …] given on this grid, linearly interpolated at ``time_s`` [F] → [F, …].

        Beside a gap the nearer grid sample stands for both.
        """
        position = np.clip((time_s - self.start_s) * RATE_HZ, 0, len(values) - 1)
        low = np.floor(position).astype(np.int64)
        a, b = values[low], values[np.minimum(low + 1, len(values) - 1)]
        share = (position - low).reshape(-1, *[1] * (values.ndim - 1))
        between = np.where(np.isnan(a), b, np.where(np.isnan(b), a, a * (1 - share) + b * share))
        return np.asarray(between, dtype=np.float64)


def stretches(time_s: Floats, max_gap_s: float) -> list[NDArray[np.int64]]:
    """Split the samples 0 … F-1 where neighbours are more than ``max_gap_s`` apart; lists of indices."""
    return list(np.split(np.arange(len(time_s)), np.flatnonzero(np.diff(time_s) > max_gap_s) + 1))


def resample(time_s: Floats, values: Floats, max_gap_s: float) -> Uniform:
    """Cubic-spline signals onto the uniform grid and low-pass them.

    :param time_s: [F] increasing, F ≥ 1.
    :param values: [F, C], NaN where missing. Holes up to ``max_gap_s`` are bridged; longer ones stay NaN,
        and so do stretches of less than :data:`SHORTEST_S` or four samples.
    :returns: values after a second-order Butterworth filter run forwards and backwards, whose (prewarped)
        cutoff is raised by 1/0.802 so that both passes together have -3 dB at :data:`LOW_PASS_HZ` (Winter 2009).
    """
    count = int(np.floor((time_s[-1] - time_s[0]) * RATE_HZ + 1e-6)) + 1
    result = np.full((count, values.shape[1]), np.nan)
    cutoff = np.arctan(np.tan(np.pi * LOW_PASS_HZ / RATE_HZ) / 0.802) * RATE_HZ / np.pi
    sos = signal.butter(2, cutoff, fs=RATE_HZ, output="sos")
    seen = ~np.isnan(values)
    patterns, pattern_of = np.unique(seen, axis=1, return_inverse=True)  # columns that share their holes
    for pattern in range(patterns.shape[1]):
        columns = np.flatnonzero(pattern_of == pattern)
        samples = np.flatnonzero(patterns[:, pattern])
        for members in stretches(time_s[samples], max_gap_s):
            rows = samples[members]
            if len(rows) < 4 or time_s[rows[-1]] - time_s[rows[0]] < SHORTEST_S:
                continue
            first, last = (time_s[rows[[0, -1]]] - time_s[0]) * RATE_HZ
            grid = np.arange(int(np.ceil(first - 1e-6)), int(np.floor(last + 1e-6)) + 1)
            spline = interpolate.CubicSpline(time_s[rows] - time_s[0], values[rows][:, columns], axis=0)
            result[grid[:, None], columns] = signal.sosfiltfilt(sos, spline(grid / RATE_HZ), axis=0)
    return Uniform(float(time_s[0]), result)


def velocity(values: Floats) -> Floats:
    """Central differences of uniform values [G, …] per second; NaN beside gaps and for fewer than two samples."""
    if len(values) < 2:
        return np.full(values.shape, np.nan)
    return np.asarray(np.gradient(values, 1 / RATE_HZ, axis=0), dtype=np.float64)


def sparc(speed: Floats, rate_hz: float = RATE_HZ) -> float:
    """Spectral arc length of a speed profile [N]: 0 would be perfectly smooth, more negative is less smooth.

    ::

        −∫₀^ωc √( (1/ωc)² + (dV̂/dω)² ) dω,   V̂ = |FFT(speed)| / |FFT(speed)|(0)

    with ωc the highest frequency up to 10 Hz at which V̂ ≥ 0.05, zero-padded sixteenfold. No unit;
    independent of amplitude. NaN for a profile that is zero.
    Source: Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet, J NeuroEng Rehabil 12:112, 2015.
    """
    if not np.abs(speed).sum() > 0:
        return float("nan")
    length = 1 << (int(np.ceil(np.log2(len(speed)))) + 4)
    spectrum = np.abs(np.fft.rfft(speed, length))
    frequency = np.fft.rfftfreq(length, 1 / rate_hz)
    inside = frequency <= 10.0
    spectrum = spectrum[inside] / spectrum[0]
    last = int(np.flatnonzero(spectrum >= 0.05)[-1])
    if last == 0:
        return float("nan")
    return -float(np.hypot(1 / last, np.diff(spectrum[: last + 1])).sum())


def log_dimensionless_jerk(velocities: Floats, rate_hz: float = RATE_HZ) -> float:
    """LDLJ of a movement [N, D] given by its velocity: higher (nearer to 0) is smoother.

    ::

        −ln( T³ / v_peak² · ∫₀ᵀ ‖d²v/dt²‖² dt )

    No unit; independent of amplitude and, for one and the same movement, of its duration. NaN for a
    velocity that is zero. A minimum-jerk movement has −ln 204.8 = −5.32.
    Source: Hogan & Sternad 2009; Balasubramanian, Melendez-Calderon, Burdet 2012.
    """
    peak = float(np.linalg.norm(velocities, axis=1).max())
    if not peak > 0 or len(velocities) < 5:
        return float("nan")
    dt = 1 / rate_hz
    jerk = np.gradient(np.gradient(velocities, dt, axis=0, edge_order=2), dt, axis=0, edge_order=2)
    duration = (len(velocities) - 1) * dt
    value = duration**3 / peak**2 * np.trapezoid(np.square(jerk).sum(axis=1), dx=dt)
    return -float(np.log(value)) if value > 0 else float("nan")


def smoothness(velocities: Floats, rest: float) -> tuple[float, float]:
    """Medians of SPARC and LDLJ over windows of :data:`WINDOW_S`, one every half second, without gaps.

    For SPARC, which is made for movements from rest to rest, a window's speed is tapered (Hann); otherwise
    where the window cuts the movement would decide.

    :param velocities: [G, D] on the uniform grid.
    :param rest: windows whose mean speed is below this are at rest and left out.
    :returns: (SPARC, LDLJ); NaN where no window is left, as for anything shorter than a window.
    """
    speed = np.linalg.norm(velocities, axis=1)
    length = int(WINDOW_S * RATE_HZ)
    taper = np.hanning(length)
    pairs = []
    for first, last in runs(~np.isnan(speed)):
        for start in range(first, last - length + 1, length // 4):
            window = slice(start, start + length)
            if speed[window].mean() >= rest:
                pairs.append((sparc(speed[window] * taper), log_dimensionless_jerk(velocities[window])))
    if not pairs:
        return float("nan"), float("nan")
    arc, jerk = np.median(np.array(pairs), axis=0).tolist()
    return arc, jerk


def runs(flags: Bools) -> list[tuple[int, int]]:
    """Half-open ranges in which ``flags`` [G] holds."""
    edges: Ints = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


@dataclass(frozen=True, slots=True)
class Tempo:
    """Dominant repetition of a movement. NaN where there is none."""

    frequency_hz: float
    confidence: float
    """0–1: share of the movement's variance that repeats at the frequency and its next two harmonics."""


def tempo(values: Floats, least_range: float) -> Tempo:
    """Dominant repetition frequency of uniform signals [G, C] taken together.

    P(f) is the share of all signals' variance that a sinusoid of frequency f explains (weighted
    least-squares periodogram with a Hann window, linear trend removed, gaps weighted 0, summed over signals
    and over half-overlapping windows of up to 12 s). The tempo is the local maximum of
    P(f) + ½ (P(2f) + P(3f)) between max(0.2 Hz, two repetitions per window) and 4 Hz, so that a movement
    whose harmonics are strong is not taken for a faster one. Signals whose range (percentiles 1–99) is
    below ``least_range`` are left out. A movement that is the same after each half (a symmetric squat has
    no left and right) counts each half.
    """
    none = Tempo(float("nan"), float("nan"))
    length = min(len(values), int(_TEMPO_WINDOW_S * RATE_HZ))
    lowest = max(_TEMPO_HZ[0], 2 * RATE_HZ / length) if length else np.inf
    columns = [c for c in range(values.shape[1]) if _range(values[:, c]) >= least_range]
    if lowest >= _TEMPO_HZ[1] or not columns:
        return none
    size = 1 << int(np.ceil(np.log2(8 * length)))
    explained, total = np.zeros(size // 2 + 1), 0.0
    for start in range(0, len(values) - length + 1, max(length // 2, 1)):
        for column in columns:
            x = values[start : start + length, column]
            seen = ~np.isnan(x)
            if seen.mean() < 0.5:
                continue
            weight = np.hanning(length + 2)[1:-1] * seen
            rest = _without_trend(np.where(seen, x, 0.0), weight)
            explained += 2 * np.square(np.abs(np.fft.rfft(weight * rest, size))) / weight.sum()
            total += float((weight * rest**2).sum())
    if not total > 0:
        return none
    share = explained / total
    last = len(share) // 3
    bins = np.arange(last)
    score = share[bins] + (share[2 * bins] + share[3 * bins]) / 2
    frequency = bins * RATE_HZ / size
    peak = np.r_[False, (score[1:-1] > score[:-2]) & (score[1:-1] >= score[2:]), False]
    peak &= (frequency >= lowest) & (frequency <= _TEMPO_HZ[1])
    if not peak.any():
        return none
    k = int(np.argmax(np.where(peak, score, -1)))
    before, at, after = score[k - 1 : k + 2]
    offset = 0.5 * (before - after) / (before - 2 * at + after)  # vertex of the parabola through the three
    confidence = min(1.0, float(share[k] + share[2 * k] + share[3 * k]))
    return Tempo(float((k + offset) * RATE_HZ / size), confidence)


def _range(values: Floats) -> float:
    seen = values[~np.isnan(values)]
    return float(np.ptp(np.percentile(seen, [1, 99]))) if len(seen) else 0.0


def _without_trend(values: Floats, weight: Floats) -> Floats:
    """Values minus their weighted least-squares line."""
    position = np.linspace(-1, 1, len(values))
    position = position - (weight * position).sum() / weight.sum()
    rest = values - (weight * values).sum() / weight.sum()
    slope = (weight * position * rest).sum() / (weight * position**2).sum()
    return np.asarray(rest - slope * position, dtype=np.float64)
