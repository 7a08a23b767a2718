"""Metrics of a synthetic body whose movement is known exactly."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kinemesh.bodies import skeleton as sk
from kinemesh.bodies.mass import MASS_WEIGHTS
from kinemesh.bodies.skeleton import Floats
from kinemesh.errors import InvalidArgument
from kinemesh_pose.domain.movement import body
from kinemesh_pose.domain.movement.report import PersonTrack, empty_table, movement_metrics, symmetry_index

ASPECT = 16 / 9
HZ = 0.75
METRES = 3.0  # per picture height


def standing(count: int) -> Floats:
    """[F, 33, 3] metres: upright, arms hanging, feet forward (z negative); y down, hips at the origin."""
    pose = np.zeros((33, 3))
    places = {
        (sk.LEFT_SHOULDER, 0.2): -0.5,
        (sk.LEFT_ELBOW, 0.2): -0.2,
        (sk.LEFT_WRIST, 0.2): 0.05,
        (17, 0.2): 0.12,
        (19, 0.2): 0.13,
        (21, 0.19): 0.1,
        (sk.LEFT_HIP, 0.1): 0.0,
        (sk.LEFT_KNEE, 0.1): 0.42,
        (sk.LEFT_ANKLE, 0.1): 0.82,
        (sk.LEFT_HEEL, 0.1): 0.88,
        (sk.LEFT_FOOT_INDEX, 0.1): 0.88,
    }
    for (left, x), y in places.items():
        pose[left], pose[left + 1] = (x, y, 0), (-x, y, 0)
    for left, right in sk.PAIRS[:5]:
        pose[left], pose[right] = (0.06, -0.7, 0), (-0.06, -0.7, 0)
    pose[sk.NOSE] = (0, -0.68, -0.1)
    pose[[sk.LEFT_FOOT_INDEX, sk.RIGHT_FOOT_INDEX], 2] = -0.2
    return np.repeat(pose[None], count, axis=0)


def bend(pose: Floats, side: int, degrees: Floats) -> None:
    """Flex an elbow: forearm and hand turn forward about the x axis through the elbow."""
    elbow = pose[:, sk.LEFT_ELBOW + side]
    turn = Rotation.from_rotvec(np.radians(degrees)[:, None] * [-1.0, 0, 0])
    for landmark in (15, 17, 19, 21):
        pose[:, landmark + side] = elbow + turn.apply(pose[:, landmark + side] - elbow)


def track(times: Floats, world: Floats, path: Floats | None = None, clip: Floats | None = None) -> PersonTrack:
    """A person whose hips follow ``path`` [F, 2] in picture heights."""
    path = np.full((len(times), 2), 0.5) if path is None else path
    landmarks = np.full((len(times), 33, 5), 0.9)
    landmarks[..., :2] = (world[..., :2] / METRES + path[:, None]) / (ASPECT, 1)
    clip = times if clip is None else clip
    frame = np.searchsorted(clip, times)
    return PersonTrack(7, frame, times, landmarks.astype(np.float32), world.astype(np.float32), ASPECT, clip)


def curls(times: Floats, left: float = 40, right: float = 20) -> Floats:
    """Both elbows flex around 60° at HZ by ±left and ±right degrees."""
    pose = standing(len(times))
    for side, amplitude in ((0, left), (1, right)):
        bend(pose, side, 60 + amplitude * np.sin(2 * np.pi * HZ * times))
    return pose


CFR = np.arange(0, 12, 1 / 30)
VFR = np.cumsum(np.random.default_rng(3).uniform(0.018, 0.05, 350))


@pytest.mark.parametrize("times", [CFR, VFR], ids=["cfr", "vfr"])
def test_known_curls(times: Floats) -> None:
    report = movement_metrics(track(times, curls(times)))
    left, right = (report.summary["angles"][f"{side}_elbow_flexion"] for side in ("left", "right"))
    np.testing.assert_allclose(
        report.table["left_elbow_flexion_deg"], 60 + 40 * np.sin(2 * np.pi * HZ * times), atol=0.01
    )
    assert left["rom_deg"] == pytest.approx(80, rel=0.01)
    assert right["rom_deg"] == pytest.approx(40, rel=0.01)
    assert left["mean_deg"] == pytest.approx(60, abs=1)
    peak = 40 * 2 * np.pi * HZ
    assert left["peak_speed_deg_s"] == pytest.approx(peak, rel=0.02)
    assert left["mean_speed_deg_s"] == pytest.approx(peak * 2 / np.pi, rel=0.02)
    assert report.summary["tempo"]["frequency_hz"] == pytest.approx(HZ, abs=0.01)
    assert report.summary["tempo"]["bpm"] == pytest.approx(60 * HZ, abs=0.6)
    assert report.summary["tempo"]["confidence"] > 0.95
    wrist = report.summary["joints"]["left_wrist"]
    assert wrist["peak_speed_m_s"] == pytest.approx(0.25 * np.radians(peak), rel=0.02)
    elbow = report.summary["symmetry"]["joints"]["elbow_flexion"]
    assert elbow["rom_percent"] == pytest.approx(100 * 40 / 60, rel=0.01)
    assert elbow["mean_speed_percent"] == pytest.approx(100 * 40 / 60, rel=0.01)
    assert report.summary["angles"]["left_knee_flexion"]["rom_deg"] == pytest.approx(0, abs=0.01)
    assert report.summary["angles"]["left_knee_flexion"]["sparc"] is None


def test_frame_rate_does_not_matter() -> None:
    clip = np.arange(0, 12, 1 / 120)
    rng = np.random.default_rng(4)
    some = np.sort(rng.choice(len(clip), len(clip) // 3, replace=False))
    all_frames = movement_metrics(track(clip, curls(clip))).summary
    a_third = movement_metrics(track(clip[some], curls(clip[some]))).summary
    for key in ("rom_deg", "mean_deg", "mean_speed_deg_s", "peak_speed_deg_s", "sparc", "ldlj"):
        one, other = (report["angles"]["left_elbow_flexion"][key] for report in (all_frames, a_third))
        assert one == pytest.approx(other, rel=0.02), key


def test_angles_of_known_poses() -> None:
    names = list(body.ANGLES)
    visible = np.ones((1, 33), bool)
    upright = dict(zip(names, body.joint_angles(standing(1), visible)[0], strict=True))
    assert all(abs(angle) < 1e-6 for angle in upright.values()), upright

    pose = standing(1)
    pose[:, [13, 15], :2] = [[0.5, -0.5], [0.75, -0.5]]  # left arm level
    pose[:, [25, 27, 29, 31]] += [[0, -0.42, -0.42]] * 4  # left thigh level, shank hanging
    pose[:, 27:33:2, 1] += 0.0
    pose[:, 32] = pose[:, 30] + [0, 0.2, -0.2]  # right toes pointed by 45°
    angles = dict(zip(names, body.joint_angles(pose, visible)[0], strict=True))
    assert angles["left_shoulder_elevation"] == pytest.approx(90)
    assert angles["left_elbow_flexion"] == pytest.approx(0, abs=1e-6)
    assert angles["left_hip_flexion"] == pytest.approx(90)
    assert angles["left_knee_flexion"] == pytest.approx(90)
    assert angles["left_ankle_dorsiflexion"] == pytest.approx(0, abs=1e-6)
    assert angles["right_ankle_dorsiflexion"] == pytest.approx(-45)
    assert angles["right_hip_flexion"] == pytest.approx(0, abs=1e-6)

    leaning = Rotation.from_euler("z", 30, degrees=True).apply(standing(1)[0])[None]
    tilted = dict(zip(names, body.joint_angles(leaning, visible)[0], strict=True))
    assert tilted["trunk_lean"] == pytest.approx(30)
    assert tilted["neck_flexion"] == pytest.approx(0, abs=1e-6)


def test_angles_do_not_depend_on_direction_or_size_but_lean_does() -> None:
    world = curls(CFR) + np.random.default_rng(1).normal(0, 0.02, (len(CFR), 33, 3))
    visible = np.ones((len(CFR), 33), bool)
    turn = Rotation.from_euler("xyz", [20, 130, -40], degrees=True)
    turned = 1.7 * turn.apply(world.reshape(-1, 3)).reshape(world.shape)
    plain, other = body.joint_angles(world, visible), body.joint_angles(turned, visible)
    lean = body.ANGLES.index("trunk_lean")
    np.testing.assert_allclose(np.delete(plain, lean, 1), np.delete(other, lean, 1), atol=1e-8)
    assert np.abs(plain[:, lean] - other[:, lean]).min() > 10


def test_unseen_landmarks_make_holes_not_numbers() -> None:
    person = track(CFR, curls(CFR))
    person.landmarks[60:120, sk.LEFT_WRIST, 3] = 0.2
    person.landmarks[:, sk.RIGHT_WRIST, 3] = 0.1
    report = movement_metrics(person)
    column, speed = report.table["left_elbow_flexion_deg"], report.table["left_elbow_flexion_deg_s"]
    assert np.isnan(column[60:120]).all()
    assert np.isnan(speed[60:120]).all()
    assert not np.isnan(np.r_[column[:60], column[120:]]).any()
    left = report.summary["angles"]["left_elbow_flexion"]
    assert left["coverage_percent"] == pytest.approx(100 * 300 / 360)
    assert left["rom_deg"] == pytest.approx(80, rel=0.01)
    right = report.summary["angles"]["right_elbow_flexion"]
    assert right == {key: 0.0 if key == "coverage_percent" else None for key in right}
    assert report.summary["symmetry"]["joints"]["elbow_flexion"]["rom_percent"] is None


def test_the_centre_of_mass_travels_as_far_as_it_does() -> None:
    assert MASS_WEIGHTS.sum() == pytest.approx(1)
    there = np.stack([0.3 + 0.1 * CFR, np.full(len(CFR), 0.5)], axis=1)
    travel = movement_metrics(track(CFR, standing(len(CFR)), there)).summary["centre_of_mass"]
    assert travel["metres_per_picture_height"] == pytest.approx(METRES, rel=1e-4)
    assert travel["displacement_m"] == pytest.approx(0.1 * CFR[-1] * METRES, rel=0.01)
    assert travel["path_length_m"] == pytest.approx(travel["displacement_m"], rel=0.01)
    assert travel["mean_speed_m_s"] == pytest.approx(0.3, rel=0.01)
    back = there.copy()
    back[:, 0] = 0.3 + 0.1 * np.minimum(CFR, 12 - CFR)
    travel = movement_metrics(track(CFR, standing(len(CFR)), back)).summary["centre_of_mass"]
    assert travel["displacement_m"] == pytest.approx(0, abs=0.02)
    assert travel["path_length_heights"] == pytest.approx(1.2, rel=0.02)


def test_gaps_are_not_rest() -> None:
    clip = np.arange(0, 20, 1 / 30)
    seen = (clip < 8) | (clip >= 11)
    seen[300:302] = True
    seen &= ~((clip >= 15) & (clip < 15.1))
    times = clip[seen]
    still = times < 11
    world = np.where(still[:, None, None], standing(len(times)), curls(times, 50, 50))
    summary = movement_metrics(track(times, world, clip=clip)).summary
    presence, activity = summary["presence"], summary["activity"]
    assert presence["gaps_count"] == 2
    assert presence["longest_gap_s"] == pytest.approx(10 - 8 + 1 / 30, abs=0.01)
    assert presence["gaps"][0] == {"start_s": pytest.approx(8 - 1 / 30, abs=1e-3), "end_s": pytest.approx(10, abs=1e-3)}
    assert presence["coverage_percent"] == pytest.approx(100 * seen.mean(), abs=0.1)
    assert activity["rest_s"] == pytest.approx(8, abs=0.3)
    assert activity["unknown_s"] == pytest.approx(3, abs=0.3)
    assert activity["moving_s"] + activity["rest_s"] + activity["unknown_s"] == pytest.approx(20, abs=0.05)
    assert activity["moving_s"] > 2


def test_the_summary_is_json_and_the_table_has_one_length() -> None:
    for count in (1, 2, 5, len(CFR)):
        report = movement_metrics(track(CFR[:count], curls(CFR[:count]), clip=CFR))
        text = json.dumps(report.summary, allow_nan=False)
        assert json.loads(text) == report.summary
        assert {len(column) for column in report.table.values()} == {count}
        assert [(name, column.dtype) for name, column in report.table.items()] == [
            (name, column.dtype) for name, column in empty_table().items()
        ]
    again = movement_metrics(track(CFR, curls(CFR), clip=CFR))
    assert json.dumps(again.summary) == text


def test_the_documentation_lists_every_key_and_column() -> None:
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    written = set(re.findall(r"`([^`]*)`", text))
    words = {word for name in written for word in re.split(r"[^a-z_]+", name)}

    def keys(value: Any) -> set[str]:
        if not isinstance(value, dict):
            return set()
        return set(value) | {key for item in value.values() for key in keys(item)}

    report = movement_metrics(track(CFR, curls(CFR)))
    names = {*body.ANGLES, *body.JOINTS}
    plain = {name.removeprefix("left_").removeprefix("right_") for name in names}
    assert plain <= words
    assert keys(report.summary) - names - words == set()
    suffixes = {re.sub("|".join(sorted(names, key=len, reverse=True)), "", column) for column in report.table}
    assert {f"<angle>{s}" for s in suffixes if s.startswith("_deg")} <= written
    assert {s for s in suffixes if not s.startswith("_")} <= written


def test_one_frame_has_angles_and_nothing_that_needs_time() -> None:
    report = movement_metrics(track(CFR[:1], curls(CFR[:1])))
    assert report.table["left_elbow_flexion_deg"][0] == pytest.approx(60, abs=0.01)
    assert report.summary["angles"]["left_elbow_flexion"]["rom_deg"] is None
    assert report.summary["tempo"] == {"frequency_hz": None, "bpm": None, "confidence": None}
    assert report.table["moving"].tolist() == [-1]


def test_symmetry_index() -> None:
    assert symmetry_index(30, 30) == 0
    assert symmetry_index(30, 0) == 200
    assert symmetry_index(10, 30) == -symmetry_index(30, 10)
    assert np.isnan(symmetry_index(0.5, 0.5))
    assert np.isnan(symmetry_index(float("nan"), 10))


def test_bad_tracks_have_a_reason() -> None:
    person = track(CFR, curls(CFR))
    for wrong in (
        replace(person, time_s=CFR[::-1].copy()),
        replace(person, world=person.world[:-1]),
        replace(person, clip_time_s=CFR + 0.5),
        replace(person, aspect=0.0),
        track(CFR[:0], standing(0), clip=CFR),
    ):
        with pytest.raises(InvalidArgument) as error:
            movement_metrics(wrong)
        assert error.value.reason == "TRACK_INVALID"
