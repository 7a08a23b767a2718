"""The figures of a climb, as they are named everywhere: in metrics.json, in the catalogue, in comparisons."""

from __future__ import annotations

from typing import Final

COUNT: Final = "count"

UNITS: Final = {
    "time_on_route_sec": "s",
    "moves": COUNT,
    "pauses": COUNT,
    "pause_sec": "s",
    "path_length": "heights of the reference",
    "straightness": "ratio",
    "holds_touched": COUNT,
}
"""Units by the fields of ``kinemesh.route.v1.ClimbMetrics``, in their order."""
