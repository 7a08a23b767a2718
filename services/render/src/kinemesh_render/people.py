"""What the stage ``resolve`` found, read for a span of time: who is in a recording's frames, and who is where."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any, BinaryIO, Final, cast

import numpy as np
import pyarrow.parquet as pq

from kinemesh.bus.inputs import result_key, segments_of
from kinemesh.pipelining import in_thread
from kinemesh.recordings import camera_of
from kinemesh.results.columns import joined
from kinemesh.results.columns_parquet import SIGHTING_SCHEMA, from_parquet
from kinemesh.results.sightings import SightingRows
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.people import camera_of_view, people_table, scene_of_people
from kinemesh_render.domain.scene import Scene
from kinemesh_render.domain.site import View
from kinemesh_render.domain.style import Style
from kinemesh_render.recorded import Recording
from kinemesh_render.site import site_of

_COLUMNS: Final = ("time_sec", "person", "x", "y", "cameras")
_BATCH: Final = 1 << 16
_NEAR: Final = 0.51
"""Of the time between two frames: how far a frame may be from its step."""


async def people_in(
    store: ObjectStore,
    task: task_pb2.Task,
    recording: Recording,
    size: tuple[int, int],
    shown: tuple[int, int],
    frames: range,
    paths: PathTable,
    style: Style,
) -> Callable[[int], Scene]:
    """The scenes of some of a recording's frames, of which there is at least one.

    :param size: of the pictures that the camera is calibrated for.
    :param shown: of the pictures that are drawn on.
    :param paths: at the frames' moments.
    """
    index, moments = recording.index, recording.moments
    since = int(np.searchsorted(index.times, float(index.times[frames.start]) - style.trail_sec))
    table = people_table(await _sightings(store, task, recording.name, range(since, frames.stop)))
    site, name = site_of(task.parameters.multi_camera.environment), camera_of(recording.name)
    view = site.views.get(name, View())
    camera = camera_of_view(name, view, site.zones, size, (index.width, index.height), shown)
    return lambda frame: scene_of_people(table, camera, paths, frame, float(moments[frame]), style)


async def paths_during(store: ObjectStore, task: task_pb2.Task, recording: Recording, frames: range) -> PathTable:
    """Where people are on the map while some of a recording's frames are shown."""
    first, last = recording.moments[[frames.start, frames.stop - 1]].tolist()
    return await paths_between(store, task, first, last, _NEAR / recording.rate)


async def paths_between(
    store: ObjectStore, task: task_pb2.Task, start_sec: float, stop_sec: float, reach_sec: float
) -> PathTable:
    """Where people are on the map from one moment to another; row groups that hold neither are not read."""

    def read() -> PathTable:
        parts: list[dict[str, Any]] = []
        with closing(_paths(store, task)) as file:
            parquet = pq.ParquetFile(file)
            groups = [g for g in range(parquet.num_row_groups) if _meets(parquet, g, start_sec, stop_sec, reach_sec)]
            for batch in parquet.iter_batches(_BATCH, row_groups=groups, columns=list(_COLUMNS), use_threads=False):
                columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in _COLUMNS}
                time = columns["time_sec"]
                keep = (time >= start_sec - reach_sec) & (time <= stop_sec + reach_sec)
                if keep.any():
                    parts.append({name: column[keep] for name, column in columns.items()})
        kinds = (np.float64, np.int32, np.float64, np.float64, np.int32)
        time, person, x, y, cameras = (
            np.concatenate([np.empty(0, kind), *(part[name] for part in parts)]).astype(kind)
            for name, kind in zip(_COLUMNS, kinds, strict=True)
        )
        return PathTable(time, person, x, y, cameras, reach_sec)

    return await in_thread(read)


async def extent_of_paths(store: ObjectStore, task: task_pb2.Task) -> tuple[float, float, float, float] | None:
    """The least x and y and the largest of all places, as the table's statistics say; None if there is no place."""

    def read() -> tuple[float, float, float, float] | None:
        with closing(_paths(store, task)) as file:
            metadata = pq.ParquetFile(file).metadata
            found = [
                [_column(metadata, group, name).statistics for group in range(metadata.num_row_groups)]
                for name in ("x", "y")
            ]
        known = [[each for each in column if each is not None and each.has_min_max] for column in found]
        if not all(known):
            return None
        low = [float(min(each.min for each in column)) for column in known]
        high = [float(max(each.max for each in column)) for column in known]
        return low[0], low[1], high[0], high[1]

    return await in_thread(read)


async def _sightings(store: ObjectStore, task: task_pb2.Task, recording: str, frames: range) -> SightingRows:
    """The boxes of some of a recording's frames, and more of the same segments."""
    overlapping = [
        segment
        for segment in segments_of(task, recording)
        if segment.start_frame < frames.stop and segment.stop_frame > frames.start
    ]
    data = [await store.get_bytes(result_key(task, "resolve", segment)) for segment in overlapping]
    return await in_thread(lambda: joined([from_parquet(SightingRows, each, SIGHTING_SCHEMA) for each in data]))


def _paths(store: ObjectStore, task: task_pb2.Task) -> BinaryIO:
    return cast(BinaryIO, store.open_range(keys.stage_result(task.job_id, "resolve", "all", "paths")))


def _meets(parquet: pq.ParquetFile, group: int, start_sec: float, stop_sec: float, reach_sec: float) -> bool:
    known = _column(parquet.metadata, group, "time_sec").statistics
    if known is None or not known.has_min_max:
        return True
    return bool(known.min <= stop_sec + reach_sec and known.max >= start_sec - reach_sec)


def _column(metadata: pq.FileMetaData, group: int, name: str) -> pq.ColumnChunkMetaData:
    return metadata.row_group(group).column(metadata.schema.to_arrow_schema().get_field_index(name))
