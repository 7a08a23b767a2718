"""Bodies to draw, and jobs to render with the real object store and model server."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.tasks import TaskContext
from kinemesh.environment.v1 import environment_pb2
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.media import FrameIndex, H264Writer, Image, build_index, concatenate, decode
from kinemesh.media.synthetic import write_clip
from kinemesh.results.columns import select
from kinemesh.results.columns_parquet import PATH_SCHEMA, SIGHTING_SCHEMA, to_parquet, to_table
from kinemesh.results.poses import LANDMARKS, PoseRows, rows_to_parquet
from kinemesh.results.sightings import PathRows, SightingRows
from kinemesh.results.tracks import TrackRows
from kinemesh.results.tracks_parquet import rows_to_parquet as tracks_to_parquet
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh.testing.fixtures import NatsServer, TritonServer
from kinemesh_render.faces import FaceFinder
from kinemesh_render.mosaic import Mosaics
from kinemesh_render.settings import EncoderSettings, WorkSettings
from kinemesh_render.worker import Worker

Floats = NDArray[np.float32]
Standing = Callable[..., Floats]

# A standing person who faces us, in body heights from the middle of the hips: x to our right, y down.
_RIGHT_HALF = {
    8: (-0.04, -0.42), 5: (-0.02, -0.43), 10: (-0.01, -0.39), 12: (-0.1, -0.3), 14: (-0.14, -0.14), 16: (-0.16, 0.02),
    18: (-0.17, 0.06), 20: (-0.17, 0.07), 22: (-0.15, 0.05), 24: (-0.05, 0.0), 26: (-0.06, 0.24), 28: (-0.06, 0.48),
    30: (-0.05, 0.5), 32: (-0.08, 0.52), 4: (-0.015, -0.43), 6: (-0.03, -0.43),
}  # fmt: skip


@pytest.fixture(scope="session")
def standing() -> Standing:
    """Landmarks of a standing person: float32 [33, 5], x and y from ``centre`` in units of ``size``."""

    def make(centre: tuple[float, float] = (0.5, 0.5), size: float = 0.6, aspect: float = 1.0) -> Floats:
        landmarks = np.zeros((LANDMARKS, 5), np.float32)
        landmarks[0, :2] = (0, -0.41)
        for index, (x, y) in _RIGHT_HALF.items():
            landmarks[index, :2] = (x, y)
            left = {4: 1, 5: 2, 6: 3}.get(index, index - 1)
            landmarks[left, :2] = (-x, y)
        landmarks[:, :2] = landmarks[:, :2] * size / (aspect, 1) + centre
        landmarks[:, 3:] = 0.95
        return landmarks

    return make


@dataclass
class Job:
    """A job whose earlier stages are done: source, index and poses lie in the store."""

    store: ObjectStore
    job_id: str
    clip: Path
    index: FrameIndex
    segments: list[task_pb2.Segment]
    pipeline: str = "pose"

    def task(self, stage: str, segment: int | None = None, **options: Any) -> task_pb2.Task:
        parameters = parameters_pb2.JobParameters()
        asked = getattr(parameters, self.pipeline)
        asked.MergeFrom(type(asked)(**options))
        asked.SetInParent()
        return task_pb2.Task(
            task_id=f"{self.job_id}.{stage}.main.{segment}",
            job_id=self.job_id,
            stage=stage,
            parameters=parameters,
            inputs=[job_pb2.JobInput(camera="main", asset_id=f"asset-{self.job_id}")],
            segment=None if segment is None else self.segments[segment],
            segments=self.segments,
        )

    async def render_all(self, worker: Worker, bus: Bus, **options: Any) -> task_pb2.TaskDone:
        """Render every segment, last first, and join them."""
        for segment in reversed(range(len(self.segments))):
            task = self.task("render", segment, **options)
            done = await worker.render(task, TaskContext(bus, task))
            assert done.frames == task.segment.stop_frame - task.segment.start_frame
        task = self.task("finalize", **options)
        return await worker.finalize(task, TaskContext(bus, task))

    async def video(self, name: str = "annotated.mp4") -> io.BytesIO:
        return io.BytesIO(await self.store.get_bytes(keys.output(self.job_id, name)))

    async def pictures(self) -> list[Image]:
        video = await self.video()
        return [frame.image for frame in decode(video, build_index(video))]

    def part_key(self, segment: int) -> str:
        return keys.stage_result(self.job_id, "render", "main", segment, "nut")

    async def put_poses(self, stage: str, rows: PoseRows) -> None:
        for segment in self.segments:
            mine = (rows.frame_index >= segment.start_frame) & (rows.frame_index < segment.stop_frame)
            key = keys.stage_result(self.job_id, stage, "main", segment.index)
            await self.store.put_bytes(key, rows_to_parquet(rows.where(mine)))

    async def put_tracks(self, rows: TrackRows, report: Mapping[str, Any]) -> None:
        for segment in self.segments:
            mine = (rows.frame_index >= segment.start_frame) & (rows.frame_index < segment.stop_frame)
            key = keys.stage_result(self.job_id, "refine", "main", segment.index)
            await self.store.put_bytes(key, tracks_to_parquet(rows.where(mine)))
        await self.store.put_bytes(keys.output(self.job_id, "report.json"), json.dumps(report).encode())


@dataclass
class SiteJob:
    """A job over a site whose people are known: recordings, sightings and paths lie in the store."""

    store: ObjectStore
    task: task_pb2.Task
    indexes: dict[str, FrameIndex]

    def of(self, stage: str, part: task_pb2.Segment | task_pb2.Window | None = None) -> task_pb2.Task:
        task = task_pb2.Task()
        task.CopyFrom(self.task)
        task.stage = stage
        if isinstance(part, task_pb2.Segment):
            task.segment.CopyFrom(part)
        elif part is not None:
            task.window.CopyFrom(part)
        return task

    async def render_all(self, worker: Worker, mosaics: Mosaics, bus: Bus) -> task_pb2.TaskDone:
        """Render every segment and every window, last first, and join them."""
        for segment in reversed(self.task.segments):
            task = self.of("render", segment)
            assert (
                await worker.render(task, TaskContext(bus, task))
            ).frames == segment.stop_frame - segment.start_frame
        for window in reversed(self.task.windows):
            task = self.of("mosaic", window)
            await mosaics.mosaic(task, TaskContext(bus, task))
        task = self.of("finalize")
        return await worker.finalize(task, TaskContext(bus, task))

    async def video(self, name: str) -> io.BytesIO:
        return io.BytesIO(await self.store.get_bytes(keys.output(self.task.job_id, name)))

    async def pictures(self, name: str) -> list[Image]:
        video = await self.video(name)
        return [frame.image for frame in decode(video, build_index(video))]

    async def put_people(self, rows: Sequence[Mapping[str, Any]], paths: Sequence[Mapping[str, Any]]) -> None:
        """Rows with some of the columns; all others are 0."""
        whole = columns_of(SightingRows, SIGHTING_SCHEMA, rows)
        for segment in self.task.segments:
            frames = whole.camera_frame_index
            mine = (whole.recording == segment.camera) & (frames >= segment.start_frame) & (frames < segment.stop_frame)
            key = keys.stage_result(self.task.job_id, "resolve", segment.camera, segment.index)
            await self.store.put_bytes(key, to_parquet(to_table(select(whole, mine), SIGHTING_SCHEMA)))
        key = keys.stage_result(self.task.job_id, "resolve", "all", "paths")
        await self.store.put_bytes(key, to_parquet(to_table(columns_of(PathRows, PATH_SCHEMA, paths), PATH_SCHEMA)))


T = TypeVar("T")


def columns_of(kind: type[T], schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> T:
    def column(field: pa.Field) -> NDArray[Any]:
        if pa.types.is_string(field.type):
            return np.array([row.get(field.name, "") for row in rows], np.str_)
        return np.array([row.get(field.name, 0) for row in rows], field.type.to_pandas_dtype())

    return kind(*(column(field) for field in schema))


MakeJob = Callable[..., Awaitable[Job]]
MakeSite = Callable[..., Awaitable[SiteJob]]


@pytest.fixture
def make_site(s3_store: ObjectStore, tmp_path: Path) -> MakeSite:
    """Prepare a job over a site: ``await make_site("name", recordings={"a": (images, pts, start_sec, cuts)})``.

    :param environment: its cameras are those of the recordings unless it has some.
    :param windows: edges of the windows in seconds.
    """

    async def make(
        name: str,
        *,
        recordings: Mapping[str, tuple[Sequence[Image], Sequence[int], float, Sequence[int]]],
        windows: Sequence[float],
        environment: environment_pb2.Environment,
        style: parameters_pb2.OverlayStyle | None = None,
    ) -> SiteJob:
        task = task_pb2.Task(task_id=f"{name}.x", job_id=name)
        asked = task.parameters.multi_camera
        asked.MergeFrom(parameters_pb2.MultiCameraParameters(render=True, environment=environment, style=style))
        indexes = {}
        for recording, (images, pts, start_sec, cuts) in recordings.items():
            path, asset = tmp_path / f"{recording}.mp4", f"asset-{name}-{recording}"
            write_images(path, images, pts)
            indexes[recording] = index = build_index(path)
            await s3_store.put_file(path, keys.asset_source(asset))
            await s3_store.put_bytes(keys.asset_index(asset), index.to_bytes())
            task.inputs.add(camera=recording, asset_id=asset, start_sec=start_sec)
            for number, (start, stop) in enumerate(pairwise([*cuts, len(images)])):
                task.segments.add(camera=recording, index=number, start_frame=start, stop_frame=stop)
        for number, (begin, end) in enumerate(pairwise(windows)):
            task.windows.add(index=number, start_sec=begin, stop_sec=end)
        job = SiteJob(s3_store, task, indexes)
        await job.put_people([], [])
        return job

    return make


@pytest.fixture
def make_job(s3_store: ObjectStore, standing: Standing, tmp_path: Path) -> MakeJob:
    """Prepare a job: ``await make_job("name", cuts=[0, 10], pts=…)``.

    Its clip shows ``images``, or is made by ``write_clip`` with all further options.
    """

    async def make(
        name: str,
        *,
        cuts: Sequence[int],
        pts: Sequence[int],
        poses: PoseRows | None = None,
        images: Sequence[Image] | None = None,
        pipeline: str = "pose",
        suffix: str = ".mp4",
        **clip: Any,
    ) -> Job:
        path = tmp_path / f"{name}{suffix}"
        if images is None:
            write_clip(path, pts=pts, **clip)
        else:
            write_images(path, images, pts)
        index = build_index(path)
        stops = [*cuts[1:], index.frame_count]
        segments = [
            task_pb2.Segment(camera="main", index=number, start_frame=start, stop_frame=stop)
            for number, (start, stop) in enumerate(zip(cuts, stops, strict=True))
        ]
        job = Job(s3_store, name, path, index, segments, pipeline)
        await s3_store.put_file(path, keys.asset_source(f"asset-{name}"))
        await s3_store.put_bytes(keys.asset_index(f"asset-{name}"), index.to_bytes())
        if pipeline != "pose":
            return job
        rows = poses if poses is not None else walking(index, standing)
        await job.put_poses("movement", rows)
        await job.put_poses("pose", rows)
        return job

    return make


def write_images(path: Path, images: Sequence[Image], pts: Sequence[int]) -> None:
    time_base, part = Fraction(1, 90_000), path.with_suffix(".nut")
    height, width = images[0].shape[:2]
    with H264Writer(part, width=width, height=height, time_base=time_base, crf=4) as writer:
        for image, stamp in zip(images, pts, strict=True):
            writer.write(image, stamp)
    concatenate([part], path, time_base=time_base)


def walking(index: FrameIndex, standing: Standing) -> PoseRows:
    """One small person who crosses the upper edge of the picture in the middle third of the clip."""
    frames = np.arange(index.frame_count // 3, 2 * index.frame_count // 3)
    image = np.stack([standing((0.3 + 0.4 * f / index.frame_count, 0.15), 0.3) for f in frames])
    count = len(frames)
    return PoseRows(
        frames.astype(np.int64),
        index.times[frames],
        np.ones(count, np.int32),
        np.ones(count, np.float32),
        np.zeros(count, np.bool_),
        image,
        np.zeros((count, LANDMARKS, 3), np.float32),
    )


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=nats_server.url), "test") as connected:
        yield connected


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest_asyncio.fixture(loop_scope="session")
async def mosaics(s3_store: ObjectStore, scratch: Path) -> Mosaics:
    return Mosaics(s3_store, IN_PROCESS, EncoderSettings(), WorkSettings(scratch_dir=scratch))


@pytest_asyncio.fixture(loop_scope="session")
async def worker(s3_store: ObjectStore, scratch: Path) -> AsyncIterator[Worker]:
    """A worker for jobs that blur no faces: there is no model server to ask."""
    async with TritonClient(TritonSettings()) as triton:
        work = WorkSettings(scratch_dir=scratch)
        yield Worker(s3_store, FaceFinder(triton, "none"), IN_PROCESS, EncoderSettings(), work)


@pytest_asyncio.fixture(loop_scope="session")
async def faces(triton_server: TritonServer) -> AsyncIterator[FaceFinder]:
    """Faces from the mock set, through the real model server."""
    async with TritonClient(triton_server.settings) as triton:
        yield FaceFinder(triton, "face_detector")


class _Cancelling(TaskContext):
    async def report(self, fraction: float) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()


@pytest.fixture
def cancelling() -> type[TaskContext]:
    """Cancels the task that reports."""
    return _Cancelling
