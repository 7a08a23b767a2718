"""Where a multi-camera job stands, as the surface of sites tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Stages of the pipeline overlap, and told is the first that is not done; so that the status never goes back, people
# who have been followed in any recording make it PROCESSING.
_BY_STAGE = {
    "": ("INITIALIZING", "Getting ready"),
    "split": ("DOWNLOADING", "Reading the recordings"),
    "recall": ("EXTRACTING", "Recalling who has been here before"),
    "detect": ("EXTRACTING", "Finding people"),
    "track": ("PROCESSING", "Following people in each camera"),
    "associate": ("PROCESSING", "Recognising people across cameras"),
    "resolve": ("PROCESSING", "Settling who is who"),
    "remember": ("PROCESSING", "Remembering who has been here"),
    "render": ("PROCESSING", "Drawing the videos"),
    "mosaic": ("PROCESSING", "Drawing the map"),
    "finalize": ("PROCESSING", "Writing the results"),
}
_BY_STATE = {
    "QUEUED": ("QUEUED", "Waiting"),
    "SUCCEEDED": ("COMPLETED", "Done"),
    "FAILED": ("FAILED", "Failed"),
    "CANCELLED": ("CANCELLED", "Cancelled"),
}
_LATER = frozenset(stage for stage, (status, _) in _BY_STAGE.items() if status == "PROCESSING")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands.

    :ivar state: of the job, such as ``RUNNING``.
    :ivar stage: the first that is not done.
    :ivar progress: 0 to 1.
    :ivar following: whether people have been followed already.
    :ivar details: a sentence; empty when there is nothing to say.
    """

    state: str = "QUEUED"
    stage: str = ""
    progress: float = 0.0
    following: bool = False
    details: str = ""


def has_followed(fractions: Mapping[str, float]) -> bool:
    """Whether a stage has begun that comes after finding people.

    :param fractions: done of each stage, 0 to 1.
    """
    return any(fraction > 0 for stage, fraction in fractions.items() if stage in _LATER)


def status(task_id: str, standing: Standing) -> dict[str, Any]:
    """The payload of a status."""
    name, step = _BY_STATE.get(standing.state) or _BY_STAGE.get(standing.stage) or ("PROCESSING", "Working")
    if standing.following and standing.state == "RUNNING":
        name = "PROCESSING"
    progress = 1.0 if standing.state == "SUCCEEDED" else min(max(standing.progress, 0.0), 1.0)
    return {
        "task_id": task_id,
        "status": name,
        "progress": round(progress, 4),
        "current_step": step,
        "details": standing.details or None,
    }


def details(cameras: int, fractions: Iterable[tuple[str, float]]) -> str:
    """How far the stages of a job are, as a sentence."""
    seen = f"{cameras} camera{'s' if cameras != 1 else ''}"
    return ", ".join((seen, *(f"{stage} {int(100 * fraction)} %" for stage, fraction in fractions))) + "."


def failure(message: str, reason: str) -> str:
    """Why a job failed, as a sentence with the reason that programs look for."""
    return f"{message} ({reason})"
