"""The figures of a climb: their units, and what may be believed of those that a job reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MOST: Final = 1e9


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, named as the field of ``ClimbMetrics``.

    :ivar counts: whether it is a whole number.
    """

    name: str
    unit: str
    counts: bool = False


FIGURES: Final = (
    Figure("time_on_route_sec", "s"),
    Figure("moves", "count", counts=True),
    Figure("pauses", "count", counts=True),
    Figure("pause_sec", "s"),
    Figure("path_length", "image heights"),
    Figure("straightness", "ratio"),
    Figure("holds_touched", "count", counts=True),
)


def figures_of(reported: Any) -> dict[str, float] | None:
    """The figures that a job reports of an attempt; None unless there are any, and all of them are numbers."""
    if not isinstance(reported, Mapping):
        return None
    found: dict[str, float] = {}
    for figure in FIGURES:
        value = reported.get(figure.name, 0.0)
        if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= _MOST:
            return None
        found[figure.name] = round(value) if figure.counts else float(value)
    return found if reported else None
