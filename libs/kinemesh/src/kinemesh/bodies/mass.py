"""The centre of mass of a body given by its 33 landmarks."""

from __future__ import annotations

import numpy as np

from kinemesh.bodies import skeleton as sk
from kinemesh.bodies.skeleton import Bools, Floats


def _mass_weights() -> Floats:
    weights = np.zeros(sk.COUNT)
    for mass, share, proximal, distal in _SEGMENTS:
        weights[list(proximal)] += mass * (1 - share) / len(proximal)
        weights[list(distal)] += mass * share / len(distal)
    return weights


# Mass of the segment as a share of the body's, and where its centre lies from proximal to distal end:
# Winter, Biomechanics and Motor Control of Human Movement, 4th ed. 2009, table 4.1 (after Dempster 1955).
# The head's centre is taken between the ears, the trunk's half-way from shoulders to hips.
_SEGMENTS: tuple[tuple[float, float, tuple[int, ...], tuple[int, ...]], ...] = (
    (0.081, 0.5, (sk.LEFT_EAR,), (sk.RIGHT_EAR,)),
    (0.497, 0.5, (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER), (sk.LEFT_HIP, sk.RIGHT_HIP)),
    *(
        segment
        for side in (0, 1)
        for segment in (
            (0.028, 0.436, (sk.LEFT_SHOULDER + side,), (sk.LEFT_ELBOW + side,)),
            (0.016, 0.430, (sk.LEFT_ELBOW + side,), (sk.LEFT_WRIST + side,)),
            (0.006, 0.506, (sk.LEFT_WRIST + side,), (sk.LEFT_INDEX + side,)),
            (0.100, 0.433, (sk.LEFT_HIP + side,), (sk.LEFT_KNEE + side,)),
            (0.0465, 0.433, (sk.LEFT_KNEE + side,), (sk.LEFT_ANKLE + side,)),
            (0.0145, 0.5, (sk.LEFT_ANKLE + side,), (sk.LEFT_FOOT_INDEX + side,)),
        )
    ),
)
MASS_WEIGHTS = _mass_weights()
"""[33] weights of the landmarks in the centre of mass; sum 1."""


def centre_of_mass(points: Floats, visible: Bools) -> Floats:
    """Centre of mass of a body: [F, 33, D] → [F, D], same unit; NaN unless shoulders and hips are visible.

    The mean of 14 segments' centres by Winter's mass fractions. Limbs out of sight enter where the model
    guesses them: leaving them out would make the centre jump.
    """
    centre = np.einsum("fkd,k->fd", points, MASS_WEIGHTS)
    return np.where(torso_visible(visible)[:, None], centre, np.nan)


def torso_visible(visible: Bools) -> Bools:
    """Whether shoulders and hips are visible: bool [F, 33] → [F]."""
    return np.asarray(visible[:, list(sk.TORSO)].all(axis=1), dtype=np.bool_)
