"""Joint angles and the scale of a body given by its 33 landmarks.

World landmarks are in metres, origin between the hips, axes of the camera: x to the right of the picture,
y down, z away from the camera. Angles are in degrees and in space; they are plain angles between segments
(as in the ISB's "included angle" practice), not Cardan decompositions, which the landmarks cannot support.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinemesh.bodies import skeleton as sk
from kinemesh.bodies.mass import torso_visible
from kinemesh.bodies.skeleton import Bools, Floats

SIDED_ANGLES = ("shoulder_elevation", "elbow_flexion", "hip_flexion", "knee_flexion", "ankle_dorsiflexion")
MIDDLE_ANGLES = ("trunk_lean", "neck_flexion")
ANGLES = (*(f"{side}_{angle}" for angle in SIDED_ANGLES for side in ("left", "right")), *MIDDLE_ANGLES)
"""Names of all angles, in the order of the columns of :func:`joint_angles`."""

JOINTS = tuple(
    f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
)
JOINT_INDEX = np.array([sk.INDEX[joint] for joint in JOINTS])


def joint_angles(world: NDArray[np.floating], visible: Bools) -> Floats:
    """Angles of a body over time.

    :param world: [F, 33, ≥3] in metres (any unit: angles do not depend on scale).
    :param visible: [F, 33]; an angle is NaN where one of its landmarks is not visible, or a segment has no length.
    :returns: float64 [F, 12] degrees, columns as in :data:`ANGLES`.

    ``trunk`` is the vector from the middle of the hips to the middle of the shoulders.

    - shoulder_elevation: between upper arm (shoulder→elbow) and −trunk. 0 hanging, 90 level, 180 overhead.
    - elbow_flexion: between upper arm (shoulder→elbow) and forearm (elbow→wrist). 0 straight.
    - hip_flexion: between thigh (hip→knee) and −trunk. 0 standing, 90 sitting; abduction counts too.
    - knee_flexion: between thigh (hip→knee) and shank (knee→ankle). 0 straight.
    - ankle_dorsiflexion: 90 − angle between shank (ankle→knee) and foot (heel→toes). 0 with the foot at a
      right angle to the shank, positive with the toes drawn up, negative with them pointed.
    - trunk_lean: between trunk and the picture's upward axis (−y); to any side. The only angle that
      depends on how the camera stands: it is the lean from the vertical if the camera is level.
    - neck_flexion: between trunk and the vector from the middle of the shoulders to the middle of the
      ears; to any side. 0 with the head in line with the trunk.
    """
    points = np.asarray(world[..., :3], dtype=np.float64)

    def middle(left: int) -> Floats:
        return np.asarray((points[:, left] + points[:, left + 1]) / 2, dtype=np.float64)

    hips, shoulders = middle(sk.LEFT_HIP), middle(sk.LEFT_SHOULDER)
    trunk = shoulders - hips
    up = np.broadcast_to(np.array([0.0, -1.0, 0.0]), trunk.shape)
    torso = list(sk.TORSO)
    columns: list[Floats] = []
    for left_proximal, left_middle, left_distal, name in (
        (sk.LEFT_SHOULDER, sk.LEFT_ELBOW, sk.LEFT_WRIST, "arm"),
        (sk.LEFT_HIP, sk.LEFT_KNEE, sk.LEFT_ANKLE, "leg"),
    ):
        elevation, flexion, ankle = [], [], []
        for side in (0, 1):
            a, b, c = left_proximal + side, left_middle + side, left_distal + side
            upper, lower = points[:, b] - points[:, a], points[:, c] - points[:, b]
            elevation.append(_gated(_between(upper, -trunk), visible, [*torso, a, b]))
            flexion.append(_gated(_between(upper, lower), visible, [a, b, c]))
            if name == "leg":
                heel, toes = sk.LEFT_HEEL + side, sk.LEFT_FOOT_INDEX + side
                foot = points[:, toes] - points[:, heel]
                ankle.append(_gated(90 - _between(-lower, foot), visible, [b, c, heel, toes]))
        columns += [*elevation, *flexion, *ankle]
    neck = middle(sk.LEFT_EAR) - shoulders
    columns.append(_gated(_between(trunk, up), visible, torso))
    columns.append(_gated(_between(trunk, neck), visible, [*torso, sk.LEFT_EAR, sk.RIGHT_EAR]))
    return np.stack(columns, axis=1)


def _between(a: Floats, b: Floats) -> Floats:
    """Angle in degrees, 0–180, between vectors [F, 3]; exact near 0 and 180, NaN for a vector of no length."""
    cross = np.linalg.norm(np.cross(a, b), axis=1)
    dot = (a * b).sum(axis=1)
    angle = np.degrees(np.arctan2(cross, dot))
    return np.where((np.linalg.norm(a, axis=1) > 0) & (np.linalg.norm(b, axis=1) > 0), angle, np.nan)


def _gated(values: Floats, visible: Bools, landmarks: list[int]) -> Floats:
    return np.where(visible[:, landmarks].all(axis=1), values, np.nan)


def metres_per_height(world: NDArray[np.floating], plane: Floats, visible: Bools) -> float:
    """Metres that one picture height spans at the person: median over frames of body size in the world's
    x-y plane divided by body size in the picture (weak perspective). NaN if the torso is never visible."""
    rows = torso_visible(visible)
    size = sk.body_size(plane[rows])
    metres = sk.body_size(np.asarray(world[rows][..., :2], dtype=np.float64))
    return float(np.median(metres[size > 0] / size[size > 0])) if (size > 0).any() else float("nan")
