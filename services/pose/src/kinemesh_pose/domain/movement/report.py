"""The movement metrics of one person: a table over time and a summary. docs/metrics.md lists every key."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from kinemesh.bodies import skeleton
from kinemesh.bodies.mass import centre_of_mass
from kinemesh.bodies.skeleton import Floats, Ints
from kinemesh.errors import InvalidArgument
from kinemesh_pose.domain.movement import body, signals

VERSION = 1
"""Of the summary's keys and definitions."""


@dataclass(frozen=True, slots=True)
class PersonTrack:
    """One person through a clip. F frames in which the person is seen, of the clip's C."""

    person_id: int
    frame: Ints
    """[F] ascending."""
    time_s: Floats
    """[F] increasing presentation times."""
    landmarks: NDArray[np.float32]
    """[F, 33, 5] in the picture, see :mod:`~kinemesh.bodies.skeleton`."""
    world: NDArray[np.float32]
    """[F, 33, ≥3] metres, see :mod:`~kinemesh_pose.domain.movement.body`."""
    aspect: float
    """Picture width / height."""
    clip_time_s: Floats
    """[C] presentation times of all the clip's frames."""


@dataclass(frozen=True, slots=True)
class MovementOptions:
    """Limits of what counts."""

    min_visibility: float = 0.5
    """Landmarks less visible than this do not enter."""
    max_gap_s: float = 0.25
    """Holes up to this are bridged (at slow frame rates up to 2.5 median frame durations)."""
    rest_m_s: float = 0.2
    """Below this speed a body is at rest."""
    rest_deg_s: float = 5.0
    """Below this mean speed a joint angle is at rest and has no smoothness."""
    tempo_deg: float = 10.0
    """Angles that vary less do not enter the tempo."""


@dataclass(frozen=True, slots=True)
class MovementReport:
    """What :func:`movement_metrics` returns."""

    table: dict[str, NDArray[Any]]
    """Columns of length F, NaN where unknown: ``frame`` int64, ``time_s`` float64, ``<angle>_deg``,
    ``<angle>_deg_s``, ``<joint>_speed_m_s``, ``com_x``, ``com_y``, ``com_speed_m_s``, ``activity_m_s``
    float32, ``moving`` int8 (1 moving, 0 at rest, -1 unknown)."""
    summary: dict[str, Any]
    """JSON-ready: strings, ints, finite floats, None, lists and dicts."""


def empty_table() -> dict[str, NDArray[Any]]:
    """The columns of :attr:`MovementReport.table`, for a clip in which nobody is seen."""
    floats = [name for angle in body.ANGLES for name in (f"{angle}_deg", f"{angle}_deg_s")]
    floats += [f"{joint}_speed_m_s" for joint in body.JOINTS]
    floats += ["com_x", "com_y", "com_speed_m_s", "activity_m_s"]
    return {
        "frame": np.empty(0, np.int64),
        "time_s": np.empty(0, np.float64),
        **{name: np.empty(0, np.float32) for name in floats},
        "moving": np.empty(0, np.int8),
    }


def movement_metrics(person: PersonTrack, options: MovementOptions | None = None) -> MovementReport:
    """Measure how a person moves.

    Angles and joint speeds come from world landmarks, so joint speeds are relative to the middle of the hips;
    the centre of mass comes from the picture. Speeds, ranges and all that follows from them are taken after
    a 6 Hz low-pass on a 60 Hz grid (:func:`~kinemesh_pose.domain.movement.signals.resample`); the table's angles
    and positions are those of the frames, unfiltered. "Peak" is the 99th percentile and "range" the
    distance of the percentiles 1 and 99, so that one wrong frame does not decide.

    :raises InvalidArgument: TRACK_INVALID if there is no frame, the arrays disagree, times do not increase,
        or the person is seen at a time that is none of the clip's.
    """
    options = options or MovementOptions()
    _check(person)
    steps = np.diff(person.clip_time_s)
    max_gap_s = max(options.max_gap_s, 2.5 * float(np.median(steps)) if len(steps) else 0.0)
    visible = person.landmarks[..., 3] >= options.min_visibility
    plane = skeleton.image_plane(person.landmarks, person.aspect)

    angles = body.joint_angles(person.world, visible)
    com = centre_of_mass(plane, visible)
    joints = np.asarray(person.world[:, body.JOINT_INDEX, :3], dtype=np.float64)
    joints = np.where(visible[:, body.JOINT_INDEX, None], joints, np.nan)
    metres = body.metres_per_height(person.world, plane, visible)

    channels = np.concatenate([angles, com, joints.reshape(len(joints), -1)], axis=1)
    uniform = signals.resample(person.time_s, channels, max_gap_s)
    change = signals.velocity(uniform.values)
    first_joint = angles.shape[1] + 2
    smooth_angles, angle_speed = uniform.values[:, : angles.shape[1]], change[:, : angles.shape[1]]
    # A filter may swing beyond what was seen, and so beyond what a joint can do.
    smooth_angles = _within(smooth_angles, angles)
    com_path, com_velocity = (part[:, angles.shape[1] : first_joint] for part in (uniform.values, change))
    joint_velocity = change[:, first_joint:].reshape(len(change), len(body.JOINTS), 3)
    joint_speed = np.linalg.norm(joint_velocity, axis=2)
    com_speed = np.linalg.norm(com_velocity, axis=1)
    activity = _activity(com_speed * metres, joint_speed)

    def at_frames(values: Floats, known: Floats) -> NDArray[np.float32]:
        return np.where(np.isnan(known), np.nan, uniform.at(person.time_s, values)).astype(np.float32)

    table: dict[str, NDArray[Any]] = {"frame": person.frame, "time_s": person.time_s}
    for i, name in enumerate(body.ANGLES):
        table[f"{name}_deg"] = angles[:, i].astype(np.float32)
        table[f"{name}_deg_s"] = at_frames(angle_speed[:, i], angles[:, i])
    for i, name in enumerate(body.JOINTS):
        table[f"{name}_speed_m_s"] = at_frames(joint_speed[:, i], joints[:, i, 0])
    table["com_x"], table["com_y"] = (com[:, i].astype(np.float32) for i in (0, 1))
    table["com_speed_m_s"] = at_frames(com_speed * metres, com[:, 0])
    table["activity_m_s"] = at_frames(activity, np.zeros(len(com)))
    lively = table["activity_m_s"]
    table["moving"] = np.where(np.isnan(lively), -1, lively >= options.rest_m_s).astype(np.int8)

    presence = _presence(person, max_gap_s)
    angle_summary = {
        name: _angle(angles[:, i], smooth_angles[:, i], angle_speed[:, i], options)
        for i, name in enumerate(body.ANGLES)
    }
    beat = signals.tempo(smooth_angles, options.tempo_deg)
    summary = {
        "version": VERSION,
        "person_id": int(person.person_id),
        "presence": presence,
        "angles": angle_summary,
        "joints": {name: _joint(joints[:, i, 0], joint_velocity[:, i], options) for i, name in enumerate(body.JOINTS)},
        "symmetry": _symmetry(angle_summary),
        "tempo": {
            "frequency_hz": beat.frequency_hz,
            "bpm": 60 * beat.frequency_hz,
            "confidence": beat.confidence,
        },
        "centre_of_mass": _travel(com_path, com_speed, metres),
        "activity": _moving(activity, presence["clip_s"], options),
    }
    return MovementReport(table, _jsonable(summary))


def _within(smooth: Floats, seen: Floats) -> Floats:
    """``smooth`` [G, C], held between the least and the most of ``seen`` [F, C], column by column."""
    known = ~np.isnan(seen)
    least = np.min(seen, axis=0, initial=np.inf, where=known)
    most = np.max(seen, axis=0, initial=-np.inf, where=known)
    held: Floats = np.clip(smooth, least, most)
    return held


def _check(person: PersonTrack) -> None:
    count = len(person.frame)
    shapes = (person.time_s.shape, person.landmarks.shape, person.world.shape[:2])
    fits = shapes == ((count,), (count, skeleton.COUNT, 5), (count, skeleton.COUNT)) and person.world.shape[2] >= 3
    if not count or not fits or not person.aspect > 0:
        raise InvalidArgument("TRACK_INVALID", "The arrays of a person's track do not fit together.", frames=count)
    if (np.diff(person.frame) <= 0).any() or (np.diff(person.time_s) <= 0).any():
        raise InvalidArgument("TRACK_INVALID", "Frames and times of a person's track must increase.")
    if (np.diff(person.clip_time_s) <= 0).any() or not np.isin(person.time_s, person.clip_time_s).all():
        raise InvalidArgument("TRACK_INVALID", "A person's times must be among the clip's, which must increase.")


def _presence(person: PersonTrack, max_gap_s: float) -> dict[str, Any]:
    """When the person is seen. A frame lasts until the clip's next one, the last as long as the median.

    coverage = seconds of frames that show the person / seconds of the clip. A gap is a time between two
    frames that show the person longer than ``max_gap_s``; absence before the first and after the last is no gap.
    """
    clip = person.clip_time_s
    steps = np.diff(clip)
    lasts = np.append(steps, np.median(steps) if len(steps) else 0.0)
    present_s = float(lasts[np.isin(clip, person.time_s)].sum())
    clip_s = float(lasts.sum())
    holes = np.flatnonzero(np.diff(person.time_s) > max_gap_s)
    gaps = [{"start_s": float(person.time_s[i]), "end_s": float(person.time_s[i + 1])} for i in holes]
    return {
        "frames": len(person.frame),
        "first_s": float(person.time_s[0]),
        "last_s": float(person.time_s[-1]),
        "present_s": present_s,
        "clip_s": clip_s,
        "coverage_percent": 100 * present_s / clip_s if clip_s > 0 else 100.0,
        "gaps_count": len(gaps),
        "longest_gap_s": max((gap["end_s"] - gap["start_s"] for gap in gaps), default=0.0),
        "gaps": gaps,
    }


def _angle(raw: Floats, smooth: Floats, speed: Floats, options: MovementOptions) -> dict[str, Any]:
    """Range and speed of one angle; None where too little is seen."""
    low, high = _percentiles(smooth, 1, 99)
    arc, jerk = signals.smoothness(speed[:, None], options.rest_deg_s)
    return {
        "coverage_percent": 100 * float((~np.isnan(raw)).mean()),
        "mean_deg": _mean(smooth),
        "min_deg": low,
        "max_deg": high,
        "rom_deg": high - low,
        "mean_speed_deg_s": _mean(np.abs(speed)),
        "peak_speed_deg_s": _percentiles(np.abs(speed), 99)[0],
        "sparc": arc,
        "ldlj": jerk,
    }


def _joint(raw: Floats, velocity: Floats, options: MovementOptions) -> dict[str, Any]:
    """Speed of one joint relative to the middle of the hips; path = Σ speed × time."""
    speed = np.linalg.norm(velocity, axis=1)
    arc, jerk = signals.smoothness(velocity, options.rest_m_s)
    return {
        "coverage_percent": 100 * float((~np.isnan(raw)).mean()),
        "mean_speed_m_s": _mean(speed),
        "peak_speed_m_s": _percentiles(speed, 99)[0],
        "path_length_m": _integral(speed),
        "sparc": arc,
        "ldlj": jerk,
    }


def _symmetry(angles: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Symmetry index of Robinson, Herzog, Nigg (1987), signed: 100 · (L − R) / ((L + R) / 2) percent.

    0 is symmetric, +200 left only, −200 right only. Of range of motion and of mean angular speed per joint;
    None if a side is not seen or both together move less than 2° (2°/s), where a ratio says nothing.
    ``overall_percent`` is the mean of the absolute indices of range of motion.
    """
    result: dict[str, Any] = {}
    for joint in body.SIDED_ANGLES:
        left, right = angles[f"left_{joint}"], angles[f"right_{joint}"]
        result[joint] = {
            "rom_percent": symmetry_index(left["rom_deg"], right["rom_deg"]),
            "mean_speed_percent": symmetry_index(left["mean_speed_deg_s"], right["mean_speed_deg_s"]),
        }
    indices = np.array([abs(entry["rom_percent"]) for entry in result.values()])
    return {"joints": result, "overall_percent": _mean(indices)}


def symmetry_index(left: float, right: float, least: float = 2.0) -> float:
    """100 · (left − right) / ((left + right) / 2); NaN if left + right < ``least``."""
    return 200 * (left - right) / (left + right) if left + right >= least else float("nan")


def _travel(path: Floats, speed: Floats, metres: float) -> dict[str, Any]:
    """How far the centre of mass goes across the picture: Σ speed × time, and end minus start.

    In picture heights, and in metres by the person's own size; movement towards the camera is not seen.
    """
    seen = np.flatnonzero(~np.isnan(path[:, 0]))
    heights = _integral(speed)
    apart = float(np.linalg.norm(path[seen[-1]] - path[seen[0]])) if len(seen) else float("nan")
    return {
        "metres_per_picture_height": metres,
        "path_length_heights": heights,
        "displacement_heights": apart,
        "path_length_m": heights * metres,
        "displacement_m": apart * metres,
        "mean_speed_m_s": _mean(speed) * metres,
        "peak_speed_m_s": _percentiles(speed, 99)[0] * metres,
    }


_ENDS = ("elbow", "wrist", "knee", "ankle")
_LIMBS = np.array([i for i, joint in enumerate(body.JOINTS) if joint.endswith(_ENDS)])


def _activity(com_speed_m_s: Floats, joint_speed: Floats) -> Floats:
    """[G] m/s: root mean square over half a second of the larger of two speeds: the centre of mass's, and the root
    mean square of the elbows', wrists', knees' and ankles' that are seen. NaN where neither is known.

    Half a second, so that the turning points of a repeated movement are no rest.
    """
    limbs = np.square(joint_speed[:, _LIMBS])
    known = (~np.isnan(limbs)).sum(axis=1)
    square = np.where(known > 0, np.nansum(limbs, axis=1) / np.maximum(known, 1), np.nan)
    square = np.fmax(np.square(com_speed_m_s), square)
    seen = ~np.isnan(square)
    box = np.ones(int(0.5 * signals.RATE_HZ) + 1)
    share = signal.convolve(seen.astype(np.float64), box, mode="same", method="direct")
    total = signal.convolve(np.where(seen, square, 0.0), box, mode="same", method="direct")
    return np.where(seen, np.sqrt(total / np.maximum(share, 1)), np.nan)


def _moving(activity: Floats, clip_s: float, options: MovementOptions) -> dict[str, Any]:
    """Seconds in motion and at rest; the rest of the clip is unknown, so that a gap is not taken for rest."""
    moving_s = float((activity >= options.rest_m_s).sum()) / signals.RATE_HZ
    rest_s = float((activity < options.rest_m_s).sum()) / signals.RATE_HZ
    known_s = moving_s + rest_s
    return {
        "moving_s": moving_s,
        "rest_s": rest_s,
        "unknown_s": max(0.0, clip_s - known_s),
        "moving_percent": 100 * moving_s / known_s if known_s > 0 else float("nan"),
        "mean_activity_m_s": _mean(activity),
    }


def _mean(values: Floats) -> float:
    seen = values[~np.isnan(values)]
    return float(seen.mean()) if len(seen) else float("nan")


def _percentiles(values: Floats, *percents: float) -> tuple[float, ...]:
    seen = values[~np.isnan(values)]
    if not len(seen):
        return (float("nan"),) * len(percents)
    return tuple(np.percentile(seen, percents).tolist())


def _integral(speed: Floats) -> float:
    seen = speed[~np.isnan(speed)]
    return float(seen.sum()) / signals.RATE_HZ if len(seen) else float("nan")


def _jsonable(value: Any) -> Any:
    """NaN and infinities become None; floats keep six decimals, more than any of them means."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
