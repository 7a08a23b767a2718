"""What the association decided, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What was decided."""

    APPEARED = "appeared"
    RECOGNISED = "recognised"
    SPLIT = "split"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class Decision:
    """Why somebody has, or no longer has, an identity.

    :ivar person: number of the person; of a merger the one who stays.
    :ivar camera: position of the camera; -1 for a merger.
    :ivar other: number of the person who was merged; 0 otherwise.
    :ivar by_place: what the place on the map said, as the log of a likelihood ratio.
    :ivar by_looks: what looks said.
    """

    kind: Kind
    time_sec: float
    person: int
    camera: int = -1
    track: int = 0
    other: int = 0
    by_place: float = 0.0
    by_looks: float = 0.0
