"""The pipelines: which stages, on what, after which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final


class Unit(Enum):
    """What one task of a stage covers."""

    ASSET = "asset"
    SEGMENT = "segment"
    WINDOW = "window"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline.

    :ivar after: stages whose results it reads.
    :ivar ordered: whether a camera's segments, or all windows, are taken one after another.
    :ivar weight: share of the job's time, for progress.
    :ivar when: path of the parameter that asks for it, for a stage that not every job has.
    """

    name: str
    service: str
    unit: Unit
    after: tuple[str, ...] = ()
    ordered: bool = False
    weight: float = 1.0
    when: str = ""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages in the order in which they are shown.

    :ivar forgets: stages whose results are deleted once the job has succeeded, as they tell what people look like.
    """

    name: str
    description: str
    stages: tuple[Stage, ...]
    forgets: tuple[str, ...] = ()

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def has(self, name: str) -> bool:
        return any(stage.name == name for stage in self.stages)


WARMED_UP: Final = "pose"
"""The stage that has memory, and so reads frames before its segment. Others need none."""


GALLERY: Final = "multi_camera.environment.gallery.enabled"
RENDER: Final = "multi_camera.render"

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
        Pipeline(
            "multi_camera",
            "People across the cameras of an environment: one identity each, and their paths on its map.",
            (
                SPLIT,
                DETECT,
                TRACK,
                Stage("recall", "ingest", Unit.JOB, after=("split",), weight=0.5, when=GALLERY),
                Stage(
                    "associate",
                    "detect_track",
                    Unit.WINDOW,
                    after=("track", "recall"),
                    ordered=True,
                    weight=8,
                ),
                Stage("resolve", "detect_track", Unit.JOB, after=("associate",), weight=4),
                Stage("remember", "ingest", Unit.JOB, after=("resolve",), weight=0.5, when=GALLERY),
                Stage("render", "render", Unit.SEGMENT, after=("resolve",), weight=25, when=RENDER),
                Stage("mosaic", "render", Unit.WINDOW, after=("resolve",), weight=10, when=RENDER),
                Stage("finalize", "render", Unit.JOB, after=("render", "mosaic"), weight=3, when=RENDER),
            ),
            forgets=("recall", "detect", "track", "associate", "resolve"),
        ),
        Pipeline(
            "route_match",
            "Climbers' poses moved onto one reference image of the wall, attempt beside attempt, and measured there.",
            (
                SPLIT,
                Stage("pose", "pose", Unit.SEGMENT, after=("split",), weight=60),
                Stage("stitch", "pose", Unit.SEGMENT, after=("pose",), ordered=True, weight=2),
                Stage("match", "matcher", Unit.SEGMENT, after=("pose",), weight=25),
                Stage("retarget", "matcher", Unit.JOB, after=("stitch", "match"), weight=3),
                Stage("render", "render", Unit.WINDOW, after=("retarget",), weight=12),
                Stage("finalize", "render", Unit.JOB, after=("render",), weight=3),
            ),
        ),
    )
}


def pipeline_of(parameters: Mapping[str, Any]) -> Pipeline:
    """The pipeline that a job's parameters ask for, as JSON has them, with the stages that this job has.

    :raises KeyError: if there is no such pipeline.
    """
    (name,) = parameters
    whole = PIPELINES[name]
    stages = [stage for stage in whole.stages if not stage.when or _asked(parameters, stage.when)]
    present = {stage.name for stage in stages}
    left = tuple(replace(stage, after=tuple(name for name in stage.after if name in present)) for stage in stages)
    return replace(whole, stages=left)


def _asked(parameters: Mapping[str, Any], path: str) -> bool:
    value: Any = parameters
    for name in path.split("."):
        value = value.get(name) or {}
    return bool(value)
