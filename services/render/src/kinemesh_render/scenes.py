"""What the stages before found, as scenes to draw: one reader for each kind of video."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from kinemesh.bus.inputs import result_key, segments_of
from kinemesh.errors import Internal
from kinemesh.media import FrameIndex
from kinemesh.pipelining import in_thread
from kinemesh.results import poses, tracks, tracks_parquet
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.poses import PoseTable, scene_of_poses
from kinemesh_render.domain.scene import Scene
from kinemesh_render.domain.style import Style
from kinemesh_render.domain.tracks import Zone, scene_of_tracks, table_of
from kinemesh_render.film import Film
from kinemesh_render.messages import Order, Shown
from kinemesh_render.people import paths_during, people_in
from kinemesh_render.recorded import recording_of

REPORT: Final = "report.json"

SceneOf = Callable[[int], Scene]
"""What there is to draw on a frame, by its index."""


async def scenes(store: ObjectStore, task: task_pb2.Task, index: FrameIndex, film: Film, order: Order) -> SceneOf:
    """The scenes of the frames of a task's segment. Trails reach back over its border."""
    if order.shown is Shown.PEOPLE:
        return await _of_people(store, task, index, film, order.style)
    return await _READERS[order.shown](store, task, index, order.style)


async def poses_since(store: ObjectStore, task: task_pb2.Task, stage: str, since: int) -> PoseTable:
    """The poses that a stage wrote, from a frame on and up to the end of the task's segment."""
    return await in_thread(_pose_table, await _results(store, task, stage, since))


def index_before(index: FrameIndex, frame: int, seconds: float) -> int:
    """The first frame that is shown no longer than ``seconds`` before a frame."""
    return int(np.searchsorted(index.times, float(index.times[frame]) - seconds))


async def _of_poses(store: ObjectStore, task: task_pb2.Task, index: FrameIndex, style: Style) -> SceneOf:
    since = index_before(index, task.segment.start_frame, style.trail_sec)
    table = await poses_since(store, task, "movement", since)
    return lambda frame: scene_of_poses(table, frame, index.width, index.height, style.trail_sec)


async def _of_tracks(store: ObjectStore, task: task_pb2.Task, index: FrameIndex, style: Style) -> SceneOf:
    since = index_before(index, task.segment.start_frame, style.trail_sec)
    results = await _results(store, task, "refine", since)
    rows = await in_thread(lambda: tracks.concatenate([tracks_parquet.rows_from_parquet(result) for result in results]))
    labels, zones = _reported(await store.get_bytes(keys.output(task.job_id, REPORT)))
    table, times, size = table_of(rows), index.times, (index.width, index.height)
    return lambda frame: scene_of_tracks(table, labels, zones, frame, float(times[frame]), size, style.trail_sec)


async def _of_people(store: ObjectStore, task: task_pb2.Task, index: FrameIndex, film: Film, style: Style) -> SceneOf:
    segment = task.segment
    frames = range(segment.start_frame, segment.stop_frame)
    recording = recording_of(task, segment.camera, index)
    paths = await paths_during(store, task, recording, frames)
    size = (film.width, film.height)
    return await people_in(store, task, recording, size, film.shown[2:], frames, paths, style)


async def _of_nothing(store: ObjectStore, task: task_pb2.Task, index: FrameIndex, style: Style) -> SceneOf:
    del store, task, index, style
    return lambda _: Scene()


_READERS: Final[Mapping[Shown, Callable[[ObjectStore, task_pb2.Task, FrameIndex, Style], Awaitable[SceneOf]]]] = {
    Shown.POSES: _of_poses,
    Shown.TRACKS: _of_tracks,
    Shown.NOTHING: _of_nothing,
}


async def _results(store: ObjectStore, task: task_pb2.Task, stage: str, since: int) -> list[bytes]:
    """What a stage wrote for the segments from a frame on and up to the task's own."""
    segment = task.segment
    earlier = [
        other for other in segments_of(task, segment.camera) if other.index < segment.index and other.stop_frame > since
    ]
    return [await store.get_bytes(result_key(task, stage, other)) for other in (*earlier, segment)]


def _pose_table(results: Sequence[bytes]) -> PoseTable:
    """The rows of consecutive segments, without those that only overlap."""
    parts = [poses.rows_from_parquet(result) for result in results]
    rows = poses.concatenate([part.where(~part.warm_up) for part in parts])
    return PoseTable(rows.frame_index, rows.time_sec, rows.person_id, rows.image)


def _reported(document: bytes) -> tuple[dict[int, str], list[Zone]]:
    """The tracks' classes and who was where when, as the stage ``refine`` reports them."""
    try:
        report: dict[str, Any] = json.loads(document)
        labels = {int(each["track_id"]): str(each["label"]) for each in report["objects"]}
        return labels, [_zone(each) for each in report["zones"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Internal("INVALID_REPORT", "The job's report cannot be read.") from error


def _zone(reported: dict[str, Any]) -> Zone:
    visits = reported["visits"]
    return Zone(
        str(reported["name"]),
        np.array([(corner["x"], corner["y"]) for corner in reported["polygon"]], np.float32),
        np.array([visit["start_sec"] for visit in visits], np.float64),
        np.array([visit["end_sec"] for visit in visits], np.float64),
    )
