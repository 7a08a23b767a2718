"""Cutting work into tasks, and telling which of them are ready."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Final

from kinemesh_ingest.domain.pipelines import Pipeline, Stage, Unit
from kinemesh_ingest.domain.timeline import Segment, Timeline

_NO_TIMELINE: Final = Timeline()

_DECODING_SHARE: Final = 0.1
"""Time to decode a frame by the time to estimate poses in it and draw them."""


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work.

    :ivar camera: empty for a task over a window or the whole job.
    :ivar segment: index of the segment or the window; None for a task over an asset or the whole job.
    """

    stage: str
    camera: str = ""
    segment: int | None = None

    def id_in(self, job_id: str) -> str:
        """The task's id; the same work always has the same."""
        parts = [job_id, self.stage]
        if self.camera:
            parts.append(self.camera)
        if self.segment is not None:
            parts.append(str(self.segment))
        return ".".join(parts)


def plan_segments(
    camera: str, frames: int, keys: Sequence[int], *, workers: int, shortest: int, longest: int, warm_up: int
) -> tuple[Segment, ...]:
    """Cut ``frames`` frames into segments of nearly equal work.

    There are as many as keep all workers busy to the end, a multiple of ``workers``, unless that makes them shorter
    than ``shortest``: warm-up and start cost too much then. No segment is longer than ``longest``.

    :param keys: ascending, the frames besides the first at which decoding can start.
    """
    rounds = max(1, ceil(frames / (workers * longest)))
    count = max(1, ceil(frames / longest), min(workers * rounds, frames // shortest))
    equal = [0, *_equal_work(frames, count, longest, warm_up), frames]
    lengths = [stop - start for start, stop in pairwise(equal)]
    reach = max(0, min(min(lengths) // 4, (longest - max(lengths)) // 2))
    starts = [0, *keys]
    bounds = [0, *(_near_key(border, starts, warm_up, reach, rounds) for border in equal[1:-1]), frames]
    return tuple(
        Segment(camera, i, start, stop, min(warm_up, start)) for i, (start, stop) in enumerate(pairwise(bounds))
    )


def _equal_work(frames: int, count: int, longest: int, warm_up: int) -> list[int]:
    """Borders between ``count`` segments. All but the first do their warm-up as well, so that the first is longer."""
    most = (longest * count - frames) // max(count - 1, 1)
    lead = min(warm_up, frames // (2 * count), most)
    length = (frames - lead) / count
    return [round(lead + length * i) for i in range(1, count)]


def _near_key(border: int, keys: Sequence[int], warm_up: int, reach: int, rounds: int) -> int:
    """The border, or a place within ``reach`` at a keyframe where less decoding outweighs that work is less equal.

    Unequal work matters less the more segments a worker takes in turn.
    """

    def skipped(frame: int) -> int:
        return frame - keys[bisect_right(keys, frame) - 1]

    def cost(candidate: int) -> float:
        decoded = skipped(candidate) + skipped(max(candidate - warm_up, 0))
        return abs(candidate - border) / rounds + _DECODING_SHARE * decoded

    at = bisect_right(keys, border)
    # From a keyframe on nothing is decoded in vain to draw the segment; warm-up earlier, to estimate its poses.
    near = [place for key in keys[at - 1 : at + 1] for place in (key, key + warm_up) if abs(place - border) <= reach]
    return min([border, *near], key=cost)


def first_tasks(pipeline: Pipeline, cameras: Iterable[str]) -> tuple[Task, ...]:
    """The tasks that need no segments."""
    return tuple(
        Task(stage.name, camera) for stage in pipeline.stages if stage.unit is Unit.ASSET for camera in cameras
    )


def later_tasks(pipeline: Pipeline, segments: Sequence[Segment], windows: int = 0) -> tuple[Task, ...]:
    """The tasks that follow once all segments are known, and how many windows there are."""
    tasks: list[Task] = []
    for stage in pipeline.stages:
        if stage.unit is Unit.SEGMENT:
            tasks += [Task(stage.name, segment.camera, segment.index) for segment in segments]
        elif stage.unit is Unit.WINDOW:
            tasks += [Task(stage.name, segment=index) for index in range(windows)]
        elif stage.unit is Unit.JOB:
            tasks.append(Task(stage.name))
    return tuple(tasks)


def ready_tasks(
    pipeline: Pipeline,
    done: Iterable[Task],
    queued: Iterable[Task],
    waiting: Sequence[Task],
    window: int,
    timeline: Timeline = _NO_TIMELINE,
) -> tuple[Task, ...]:
    """Those of ``waiting`` that can be queued now.

    At most ``window`` tasks of a job are queued at once, so that a long job leaves room for short ones; earlier
    stages come last in that choice, because finishing what was begun frees results sooner. Within a stage, what
    happened first comes first, on whichever camera.
    """
    finished = set(done)
    room = window - sum(1 for _ in queued)
    open_units: dict[str, set[str]] = defaultdict(set)
    for task in (*waiting, *queued):
        open_units[task.stage].add(task.camera)
    order = {stage.name: position for position, stage in enumerate(pipeline.stages)}
    candidates = [task for task in waiting if _is_ready(pipeline, task, finished, open_units, timeline)]
    candidates.sort(
        key=lambda task: (
            -order[task.stage],
            timeline.begin(task.camera, task.segment or 0),
            task.segment or 0,
            task.camera,
        )
    )
    return tuple(candidates[: max(room, 0)])


def _is_ready(
    pipeline: Pipeline, task: Task, finished: set[Task], open_units: Mapping[str, set[str]], timeline: Timeline
) -> bool:
    stage = pipeline.stage(task.stage)
    if stage.ordered and task.segment and Task(task.stage, task.camera, task.segment - 1) not in finished:
        return False
    return all(_has_result(pipeline.stage(name), stage, task, finished, open_units, timeline) for name in stage.after)


def _has_result(
    before: Stage,
    stage: Stage,
    task: Task,
    finished: set[Task],
    open_units: Mapping[str, set[str]],
    timeline: Timeline,
) -> bool:
    if before.unit is stage.unit is not Unit.ASSET and task.segment is not None:
        return Task(before.name, task.camera, task.segment) in finished
    if before.unit is Unit.SEGMENT and stage.unit is Unit.WINDOW:
        units = timeline.before(task.segment or 0)
        return all(Task(before.name, camera, index) in finished for camera, index in units)
    if before.unit is Unit.ASSET and task.camera:
        return task.camera not in open_units[before.name]
    return not open_units[before.name]


def progress(pipeline: Pipeline, fractions: Mapping[str, Sequence[float]]) -> tuple[dict[str, float], float]:
    """Progress of every stage and of the job, 0 to 1, from the fractions done of each stage's tasks.

    A stage whose tasks are not known yet has done nothing.
    """
    stages = {
        stage.name: (sum(values) / len(values) if (values := fractions.get(stage.name, ())) else 0.0)
        for stage in pipeline.stages
    }
    total = sum(stage.weight for stage in pipeline.stages)
    return stages, sum(stage.weight * stages[stage.name] for stage in pipeline.stages) / total
