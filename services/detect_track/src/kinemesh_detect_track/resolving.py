"""The stage resolve: looks at the whole job once more, and writes down who was where."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from kinemesh.bus.inputs import asset_of
from kinemesh.bus.tasks import TaskContext
from kinemesh.environment.v1 import environment_pb2
from kinemesh.errors import KinemeshError
from kinemesh.job.v1 import job_pb2
from kinemesh.media import FrameIndex
from kinemesh.media.confined import Decoder
from kinemesh.nv12 import Image
from kinemesh.pipelining import in_thread
from kinemesh.recordings import camera_of, position_of
from kinemesh.results.columns import joined
from kinemesh.results.columns_parquet import PERSON_SCHEMA, SIGHTING_SCHEMA, from_parquet, to_parquet, to_table
from kinemesh.results.sightings import PersonRows, SightingRows
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_detect_track.domain.association.appearance import mean_looks
from kinemesh_detect_track.domain.association.clock import Clock, Recorded, clock_of
from kinemesh_detect_track.domain.association.decisions import Decision
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.domain.hindsight import Observed
from kinemesh_detect_track.domain.looks import Looks
from kinemesh_detect_track.outcome import Outcome, Whole, outcome
from kinemesh_detect_track.site import decisions_of, global_id, site_of
from kinemesh_detect_track.site_documents import Recording, Times, times_of
from kinemesh_detect_track.site_files import CONTENT_TYPES, SiteFiles

_ALL: Final = "all"
_MOST_PIXELS: Final = 64_000_000
_LONGEST: Final = 1 << 14
"""Steps for which a frame is shown at most, beside cameras that are that much faster."""

_log = structlog.get_logger()


class Resolution:
    """Turns windows into identities, ways and figures."""

    def __init__(self, store: ObjectStore, decoder: Decoder) -> None:
        self._store = store
        self._decoder = decoder

    async def resolve(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Compare everybody once more, smooth their ways, measure, and write down what the user gets."""
        environment = task.parameters.multi_camera.environment
        indexes = [await self._index(asset_of(task, given.camera)) for given in task.inputs]
        clock = clock_of(
            [
                Recorded(position_of(given.camera), given.start_sec, index.times)
                for given, index in zip(task.inputs, indexes, strict=True)
            ]
        )
        recordings = [_recording(given, index, clock) for given, index in zip(task.inputs, indexes, strict=True)]
        whole = await self._whole(task, recordings, context)
        site = site_of(environment, float(whole.state.metre[0]))
        found = await in_thread(outcome, whole, clock, site, lambda number: global_id(task.job_id, number))
        times = times_of(clock, environment)
        background = await self._background(environment)
        with tempfile.TemporaryDirectory(prefix="kinemesh-resolve-") as name:
            files = SiteFiles(Path(name), environment, times, recordings, found.ids, task.segments)
            offset = 0
            with files:
                for done, window in enumerate(_windows(task)):
                    rows = await self._rows(task, window)
                    numbers = found.person[offset : offset + len(rows)]
                    offset += len(rows)
                    for segment, part in await in_thread(files.add, rows, numbers):
                        key = keys.stage_result(task.job_id, "resolve", segment.camera, segment.index)
                        await self._store.put_bytes(key, part)
                    await context.report(0.3 + 0.5 * (done + 1) / len(task.windows))
                for segment, part in await in_thread(files.rest):
                    key = keys.stage_result(task.job_id, "resolve", segment.camera, segment.index)
                    await self._store.put_bytes(key, part)
            await in_thread(files.write, found, site.metre, background)
            await self._store.put_file(
                files.path("trajectories.parquet"), keys.stage_result(task.job_id, "resolve", _ALL, "paths")
            )
            people = await in_thread(_person_rows, found, times)
            await self._store.put_bytes(keys.stage_result(task.job_id, "resolve", _ALL, "people"), people)
            outputs = []
            for file, content_type in CONTENT_TYPES.items():
                path = files.path(file)
                await self._store.put_file(path, keys.output(task.job_id, file), content_type)
                size = (await asyncio.to_thread(path.stat)).st_size
                outputs.append(job_pb2.JobOutput(name=file, content_type=content_type, size_bytes=size))
        wanted = task.parameters.multi_camera
        done_task = task_pb2.TaskDone(frames=sum(index.frame_count for index in indexes), outputs=outputs)
        done_task.summary.update(
            {
                "environment_id": environment.environment_id,
                "cameras": len(environment.cameras),
                "persons": len(found.people),
                "known_persons": sum(person.known for person in found.people),
                "joined": len(found.reunions),
                "boxes": len(found.person),
                "step_rate": clock.rate,
                "model": wanted.model,
                "embedder": wanted.embedder,
                "source_frame_count": sum(index.frame_count for index in indexes),
            }
        )
        return done_task

    async def _whole(self, task: task_pb2.Task, recordings: Sequence[Recording], context: TaskContext) -> Whole:
        environment = task.parameters.multi_camera.environment
        cameras = [camera.camera for camera in environment.cameras]
        windows = _windows(task)
        parts: list[Observed] = []
        lasts: list[NDArray[np.int16]] = []
        decisions: list[Decision] = []
        for window in windows:
            rows = await self._rows(task, window)
            parts.append(observed_of(rows, cameras))
            lasts.append(_lasts(rows, recordings))
            said = await self._store.get_bytes(_key(task, window, "decisions"))
            decisions += decisions_of(said, environment)
            await context.report(0.3 * len(parts) / len(windows))
        state = People.from_bytes(await self._store.get_bytes(_key(task, windows[-1], "state")))
        known: dict[int, str] = {}
        recalled: dict[int, Looks] = {}
        if environment.gallery.enabled:
            data = await self._store.get_bytes(keys.stage_result(task.job_id, "recall", _ALL, 0))
            gallery = from_parquet(PersonRows, data, PERSON_SCHEMA)
            known = dict(zip(gallery.person.tolist(), gallery.global_id.tolist(), strict=True))
            looks = gallery.embedding * gallery.worth[:, None]
            recalled = dict(zip(gallery.person.tolist(), looks, strict=True))
        return Whole(joined(parts), np.concatenate(lasts), decisions, state, known, cameras, recalled)

    async def _rows(self, task: task_pb2.Task, window: task_pb2.Window) -> SightingRows:
        data = await self._store.get_bytes(_key(task, window, "parquet"))
        return await in_thread(from_parquet, SightingRows, data, SIGHTING_SCHEMA)

    async def _background(self, environment: environment_pb2.Environment) -> Image | None:
        """The map's picture; a map without one is drawn, and so is one whose picture has gone meanwhile."""
        asset_id = environment.ground_plane.image_asset_id
        if not asset_id:
            return None
        try:
            data = await self._store.get_bytes(keys.asset_source(asset_id))
            return await in_thread(self._decoder.decode_picture, data, _MOST_PIXELS)
        except KinemeshError as error:
            if error.retryable:
                raise
            _log.warning("the map's picture cannot be used", reason=error.reason)
            return None

    async def _index(self, asset_id: str) -> FrameIndex:
        return FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_id)))


def _windows(task: task_pb2.Task) -> list[task_pb2.Window]:
    return sorted(task.windows, key=lambda window: window.index)


def _key(task: task_pb2.Task, window: task_pb2.Window, suffix: str) -> str:
    return keys.stage_result(task.job_id, "associate", _ALL, window.index, suffix)


def _recording(given: job_pb2.JobInput, index: FrameIndex, clock: Clock) -> Recording:
    usual = float(np.median(np.diff(index.times))) if index.frame_count > 1 else 0.0
    return Recording(
        name=given.camera,
        camera=camera_of(given.camera),
        start_sec=given.start_sec,
        frames=index.frame_count,
        interval=min(max(1, round(usual * clock.rate)), _LONGEST),
        width=index.width,
        height=index.height,
    )


def observed_of(rows: SightingRows, cameras: Sequence[str]) -> Observed:
    """What of sightings is needed to look at a whole job.

    :param cameras: ids, in the site's order.
    """
    known, which = np.unique(rows.camera, return_inverse=True)
    camera = np.array([cameras.index(name) for name in known.tolist()], np.int16)
    return Observed(
        rows.step.astype(np.int32),
        camera[which.ravel()] if len(rows) else np.empty(0, np.int16),
        rows.track_id.astype(np.int32),
        rows.person.astype(np.int32),
        np.stack([rows.map_x, rows.map_y], axis=1),
        np.stack([rows.cov_xx, rows.cov_xy, rows.cov_yy], axis=1).astype(np.float32),
    )


def _lasts(rows: SightingRows, recordings: Sequence[Recording]) -> NDArray[np.int16]:
    lasts = np.ones(len(rows), np.int16)
    for one in recordings:
        lasts[rows.recording == one.name] = one.interval
    return lasts


def _person_rows(found: Outcome, times: Times) -> bytes:
    people = found.people
    size = max((len(look) for look in found.looks.values()), default=0)
    total = np.zeros((len(people), size), np.float32)
    for row, one in enumerate(people):
        total[row] = found.looks.get(one.number, 0)
    rows = PersonRows(
        person=np.array([one.number for one in people], np.int32),
        global_id=np.array([one.global_id for one in people], np.str_),
        known=np.array([one.known for one in people], np.bool_),
        first_sec=np.array([times.seconds(one.start) for one in people], np.float64),
        last_sec=np.array([times.seconds(one.stop) for one in people], np.float64),
        cameras=np.array([",".join(sorted(shown.camera for shown in one.shown)) for one in people], np.str_),
        worth=np.linalg.norm(total, axis=1).astype(np.float32),
        embedding=mean_looks(total),
    )
    return to_parquet(to_table(rows, PERSON_SCHEMA))
