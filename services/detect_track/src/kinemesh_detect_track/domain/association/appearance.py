"""What looking alike says about being the same person, whatever network made the embeddings.

Networks differ in how alike the same person and different people look to them. A job tells by itself: two tracks that
one camera shows at once are different people, and a track is one person. From the cosines of both kinds follow two
normal distributions, and from these how much a cosine speaks for one person (the log of the likelihood ratio).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kinemesh_detect_track.domain.boxes import Floats
from kinemesh_detect_track.domain.looks import Looks

SAME: Final = 0
DIFFERENT: Final = 1

# What is believed before anything was seen, worth as many cosines.
_PRIOR_MEAN: Final = np.array([0.75, 0.45])
_PRIOR_DEVIATION: Final = np.array([0.12, 0.15])
_PRIOR_WEIGHT: Final = 20.0
_LEAST_DEVIATION: Final = 0.03
_ELSEWHERE: Final = 0.3
"""How far the same person's cosine moves towards that of others, when another camera, or another time, shows them."""
_MOST: Final = 10.0


def unknown() -> Floats:
    """Sums [2, 3] of no cosine: number, sum, and sum of squares, of the same person and of different ones."""
    return np.zeros((2, 3))


def noted(sums: Floats, kind: int, cosine: Floats) -> Floats:
    """The sums after more cosines; NaN are left out."""
    known = cosine[np.isfinite(cosine)]
    after = sums.copy()
    after[kind] += len(known), known.sum(), (known**2).sum()
    return after


def evidence(sums: Floats, cosine: Floats) -> Floats:
    """How much cosines speak for one person: log of the likelihood ratio; 0 where the cosine is NaN, "not known"."""
    count = sums[:, 0] + _PRIOR_WEIGHT
    mean = (sums[:, 1] + _PRIOR_WEIGHT * _PRIOR_MEAN) / count
    # Around what was seen, not around the prior: that this was off does not make cosines vary more.
    scatter = np.maximum(sums[:, 2] - sums[:, 1] ** 2 / np.maximum(sums[:, 0], 1), 0.0)
    deviation = np.sqrt(np.maximum((scatter + _PRIOR_WEIGHT * _PRIOR_DEVIATION**2) / count, _LEAST_DEVIATION**2))
    same, different = mean
    if same <= different:
        return np.zeros(cosine.shape)
    # Beyond either mean a normal distribution would say less about what looks still more, or less, alike.
    value = np.minimum(cosine, same)
    same -= _ELSEWHERE * (same - different)
    short = np.maximum(same - value, 0) / deviation[SAME]
    beyond = np.maximum(value - different, 0) / deviation[DIFFERENT]
    log = (beyond**2 - short**2) / 2 + np.log(deviation[DIFFERENT] / deviation[SAME])
    result: Floats = np.clip(log, -_MOST, _MOST)
    return np.where(np.isnan(cosine), 0.0, result)


def mean_looks(total: Looks) -> Looks:
    """Sums of weighted embeddings [N, E], L2-normalised; zeros where none is known."""
    length = np.linalg.norm(total, axis=1, keepdims=True)
    result: Looks = (total / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
    return result
