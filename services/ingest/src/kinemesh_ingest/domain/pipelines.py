"""The pipelines: which stages, on what, after which."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Unit(Enum):
    """What one task of a stage covers."""

    ASSET = "asset"
    SEGMENT = "segment"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline.

    :ivar after: stages whose results it reads.
    :ivar ordered: whether a camera's segments are taken one after another.
    :ivar weight: share of the job's time, for progress.
    """

    name: str
    service: str
    unit: Unit
    after: tuple[str, ...] = ()
    ordered: bool = False
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages in the order in which they are shown."""

    name: str
    description: str
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def has(self, name: str) -> bool:
        return any(stage.name == name for stage in self.stages)


WARMED_UP: Final = "pose"
"""The stage that has memory, and so reads frames before its segment. Others need none."""


SPLIT: Final = Stage("split", "ingest", Unit.ASSET, weight=2)
DETECT: Final = Stage("detect", "detect_track", Unit.SEGMENT, after=("split",), weight=50)
TRACK: Final = Stage("track", "detect_track", Unit.SEGMENT, after=("detect",), ordered=True, weight=3)
REFINE: Final = Stage("refine", "detect_track", Unit.JOB, after=("track",), weight=2)

PIPELINES: Final = {
    pipeline.name: pipeline
    for pipeline in (
        Pipeline(
            "pose",
            "Poses of everyone in a clip with an identity each, their movement in figures, and an annotated video.",
            (
                SPLIT,
                Stage("pose", "pose", Unit.SEGMENT, after=("split",), weight=60),
                Stage("stitch", "pose", Unit.SEGMENT, after=("pose",), ordered=True, weight=2),
                Stage("movement", "pose", Unit.JOB, after=("stitch",), weight=3),
                Stage("render", "render", Unit.SEGMENT, after=("movement",), weight=30),
                Stage("finalize", "render", Unit.JOB, after=("render",), weight=3),
            ),
        ),
        Pipeline(
            "pitstop",
            "Objects of the user's own classes, tracked, timed in zones, and drawn.",
            (
                SPLIT,
                DETECT,
                TRACK,
                REFINE,
                Stage("render", "render", Unit.SEGMENT, after=("refine",), weight=30),
                Stage("finalize", "render", Unit.JOB, after=("render",), weight=3),
            ),
        ),
        Pipeline(
            "instructor",
            "The track of one person through a recorded session in figures, and the session playable in a browser.",
            (
                SPLIT,
                DETECT,
                TRACK,
                REFINE,
                Stage("render", "render", Unit.SEGMENT, after=("split",), weight=20),
                Stage("finalize", "render", Unit.JOB, after=("render",), weight=3),
            ),
        ),
    )
}
