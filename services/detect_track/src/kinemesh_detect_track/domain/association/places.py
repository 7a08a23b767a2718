"""What is known of where cameras are, and how careful to be in telling who is who."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinemesh_detect_track.domain.boxes import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """What is known of where the cameras are.

    :ivar metre: length of a metre in the map's unit.
    :ivar area: of the map in its unit squared, for how likely somebody is at a place by chance.
    :ivar least_travel: float64 [C, C], least seconds from one camera to another; inf where there is no way.
    :ivar longest_travel: float64 [C, C].
    """

    metre: float
    area: float
    least_travel: Floats
    longest_travel: Floats


@dataclass(frozen=True, slots=True)
class Rules:
    """How careful to be.

    :ivar settle_s: how long a track must last before it is given to anybody.
    :ivar patience_s: how long to wait for looks before somebody is taken for new; 0 where there are none.
    :ivar bias_m: standard deviation of what calibrations are off by.
    :ivar near_s: how long after being seen a person's place says who it is by itself.
    :ivar fastest: speed of a person in metres per second.
    :ivar stray_s: after how long of being elsewhere a track is taken from its person.
    :ivar join_s: after how long of being at one place two people are one.
    :ivar least_evidence: for a person who has no track at the moment and is not near.
    """

    settle_s: float = 0.25
    patience_s: float = 1.0
    bias_m: float = 0.25
    near_s: float = 1.0
    fastest: float = 3.0
    stray_s: float = 1.0
    join_s: float = 1.5
    least_evidence: float = 1.0


def shortest(least: Floats, longest: Floats) -> tuple[Floats, Floats]:
    """Travel times [C, C] over any number of passages, from those of single ones; inf where there is none.

    Who goes through a camera's view without being noticed there takes at least as long as all passages together, and
    any time at most (Floyd, Algorithm 97, 1962).
    """
    whole = least.copy()
    np.fill_diagonal(whole, 0.0)
    for via in range(len(whole)):
        whole = np.minimum(whole, whole[:, via, None] + whole[None, via])
    return whole, np.where(whole < least, np.inf, longest)
