"""Scores that mean what the teacher's do, so that users' thresholds suit whichever detector they choose."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinemesh_training.finding import Cells, find
from kinemesh_training.pictures import Picture

THRESHOLD = 0.5
_PICTURES = 400


def lift(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """What is to be added to my scores, as logits, so that the threshold keeps as many of them as of theirs.

    Args:
        mine, theirs: float32 [N], [M], probabilities of all boxes found in the same pictures.

    Raises:
        ValueError: none of theirs reaches the threshold, or more than I have found at all.
    """
    wanted = int((theirs >= THRESHOLD).sum())
    if not 0 < wanted <= len(mine):
        raise ValueError(f"{wanted} of the teacher's boxes are sure, {len(mine)} were found: scores cannot be compared")
    least = float(np.sort(mine)[-wanted])
    return _logit(THRESHOLD) - _logit(least)


def between(mine: Cells, theirs: Cells, shown: Sequence[Picture], size: int) -> float:
    """The lift on some hundred pictures, evenly chosen."""
    chosen = shown[:: max(1, len(shown) // _PICTURES)]
    return lift(*(np.concatenate([find(cells, one.pixels, size)[:, 4] for one in chosen]) for cells in (mine, theirs)))


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
