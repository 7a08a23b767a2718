"""Where a pit-stop job stands, as its surface tells it: one stage at a time, and per cent."""

from __future__ import annotations

from collections.abc import Mapping

# Stages of the pipeline overlap; told is the first that is not done, so that neither stage nor per cent goes back.
_BANDS = (
    ("split", "UPLOAD", 0, 15),
    ("detect", "DETECTING", 15, 40),
    ("track", "TRACKING", 40, 65),
    ("refine", "TRACKING", 65, 70),
    ("render", "RENDERING", 70, 90),
    ("finalize", "TRANSCODING", 90, 100),
)
_ALMOST = 99

STATUSES = {
    "QUEUED": "QUEUED",
    "RUNNING": "PROCESSING",
    "SUCCEEDED": "COMPLETE",
    "FAILED": "FAILED",
    "CANCELLED": "FAILED",
}
"""States of jobs as this surface calls them; it knows no cancelling."""


def stage_and_percent(state: str, fractions: Mapping[str, float]) -> tuple[str, int]:
    """The stage's name and whole per cent of the job, within the stage's band.

    :param state: of the job, such as ``RUNNING``.
    :param fractions: done of each stage of the pipeline, 0 to 1.
    """
    if state == "SUCCEEDED":
        return "COMPLETE", 100
    for name, stage, low, high in _BANDS:
        done = min(max(fractions.get(name, 0.0), 0.0), 1.0)
        if done < 1:
            return stage, low + int((high - low) * done)
    return "TRANSCODING", _ALMOST
