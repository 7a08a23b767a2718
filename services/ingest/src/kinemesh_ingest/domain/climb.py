"""What may be believed of the figures of a climb that a job reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from kinemesh.results.climbs import COUNT, UNITS

_MOST: Final = 1e9


def figures_of(reported: Any) -> dict[str, float] | None:
    """The figures that a job reports of an attempt; None unless there are any, and all of them are numbers."""
    if not isinstance(reported, Mapping):
        return None
    found: dict[str, float] = {}
    for name, unit in UNITS.items():
        value = reported.get(name, 0.0)
        if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= _MOST:
            return None
        found[name] = round(value) if unit == COUNT else float(value)
    return found if reported else None
