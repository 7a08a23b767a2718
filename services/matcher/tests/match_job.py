"""A job of the stage match over a made-up recording: what lies in the store before it, and what after."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Final

import av
import numpy as np
import pyarrow.parquet as pq
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinemesh.bus.connection import Bus
from kinemesh.bus.tasks import TaskContext
from kinemesh.geometry.homography import apply, inverse
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh.media import FrameIndex, build_index
from kinemesh.results.columns import joined
from kinemesh.results.columns_parquet import MATCH_SCHEMA, from_parquet
from kinemesh.results.matches import MatchRows
from kinemesh.results.poses import PoseRows, rows_to_parquet
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing import climbs
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh_matcher import points
from kinemesh_matcher.references import References
from kinemesh_matcher.settings import MatchingSettings
from kinemesh_matcher.worker import Worker

from . import walls
from .walls import Floats

WALL: Final = (560, 440)
SIZE: Final = (400, 300)
FRAMES: Final = 36
WARM_UP: Final = 10


def truth(frame: int, size: tuple[int, int]) -> Floats:
    """From the frame to the wall."""
    return inverse(climbs.camera(frame / climbs.RATE, WALL, size))


@cache
def clip(size: tuple[int, int], frames: int, rotation: int, seed: int, occluded: tuple[int, ...]) -> bytes:
    """An MP4 of any size, odd ones too, whose pixels may be stored turned; a display matrix then says so."""
    whole = io.BytesIO()
    with av.open(whole, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=climbs.RATE)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size if rotation % 180 == 0 else size[::-1]
        stream.pix_fmt = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"preset": "superfast", "crf": "12", "bf": "0"}
        if rotation:
            stream.set_display_rotation(-rotation)
        shown = climbs.climb(walls.wall(seed, WALL), walls.person(), frames, size, occluded=occluded)
        for number, image in enumerate(shown):
            stored = np.ascontiguousarray(np.rot90(image, rotation // 90))
            frame = VideoFrame.from_ndarray(stored, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, climbs.RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return whole.getvalue()


def poses(index: FrameIndex, segment: task_pb2.Segment) -> PoseRows:
    """Who climbs, as a box of landmarks around them, in a segment's frames and those before."""
    frames = np.arange(max(0, segment.start_frame - WARM_UP), segment.stop_frame)
    size = index.width, index.height
    progress = frames / max(index.frame_count - 1, 1)
    risen = np.minimum(progress / 0.4, 1.0) / 2 + np.maximum((progress - 0.6) / 0.4, 0.0) / 2
    image = np.zeros((len(frames), 33, 5), np.float32)
    image[..., 3:] = 0.9
    tall = WALL[1] * 0.36
    across, along = np.meshgrid(np.linspace(-1, 1, 3) * tall / 4, np.linspace(-1, 1, 11) * tall / 2)
    for row, frame in enumerate(frames):
        middle = np.array([WALL[0] * 0.5, WALL[1] * (0.62 - 0.24 * risen[row])])
        places = middle + np.stack([across.ravel(), along.ravel()], axis=1)
        image[row, :, :2] = apply(climbs.camera(frame / climbs.RATE, WALL, size), places) / size
    count = len(frames)
    return PoseRows(
        frames.astype(np.int64),
        index.times[frames],
        np.ones(count, np.int32),
        np.full(count, 0.9, np.float32),
        frames < segment.start_frame,
        image,
        np.zeros((count, 33, 3), np.float32),
    )


@dataclass
class MatchJob:
    """A recording whose source, index and poses lie in the store, and the worker."""

    job_id: str
    store: ObjectStore
    bus: Bus
    worker: Worker
    index: FrameIndex
    segments: list[task_pb2.Segment]
    order: parameters_pb2.RouteMatchParameters

    def task(self, segment: int) -> task_pb2.Task:
        return task_pb2.Task(
            task_id=f"{self.job_id}.match.main.{segment}",
            job_id=self.job_id,
            stage="match",
            parameters=parameters_pb2.JobParameters(route_match=self.order),
            inputs=[job_pb2.JobInput(camera="main", asset_id=f"{self.job_id}-clip")],
            segment=self.segments[segment],
            segments=self.segments,
        )

    async def do(self, segment: int) -> task_pb2.TaskDone:
        task = self.task(segment)
        return await self.worker.match(task, TaskContext(self.bus, task))

    async def all(self) -> MatchRows:
        """The rows of all segments; the last is done first."""
        for segment in reversed(range(len(self.segments))):
            await self.do(segment)
        return joined([await self.rows(segment) for segment in range(len(self.segments))])

    async def bytes_of(self, segment: int, suffix: str = "parquet") -> bytes:
        return await self.store.get_bytes(keys.stage_result(self.job_id, "match", "main", segment, suffix))

    async def rows(self, segment: int) -> MatchRows:
        return from_parquet(MatchRows, await self.bytes_of(segment), MATCH_SCHEMA)

    async def pairs(self, segment: int) -> points.PointRows:
        return points.from_bytes(await self.bytes_of(segment, "points"))

    async def features(self, segment: int) -> Any:
        return pq.ParquetFile(io.BytesIO(await self.bytes_of(segment, "features"))).read()

    def errors(self, rows: MatchRows) -> Floats:
        """How far off each row is on the wall: [R] pixels, NaN without a transform."""
        size = self.index.width, self.index.height
        off = [
            walls.off(matrix.reshape(3, 3), truth(int(frame), size), size)
            for frame, matrix in zip(rows.frame_index, rows.matrix, strict=True)
        ]
        return np.array(off)


@dataclass
class Jobs:
    """Makes jobs."""

    store: ObjectStore
    bus: Bus

    async def make(
        self,
        name: str,
        cuts: Sequence[int] = (0,),
        mode: str = "MULTI",
        *,
        size: tuple[int, int] = SIZE,
        frames: int = FRAMES,
        rotation: int = 0,
        seed: int = 1,
        occluded: tuple[int, ...] = (),
        wall: bytes = b"",
        nobody: bool = False,
        settings: MatchingSettings | None = None,
        **order: Any,
    ) -> MatchJob:
        """:param seed: of the wall that the recording shows; the reference shows that of 1.
        :param wall: the reference's bytes, if they are not what they should be.
        """
        source = clip(size, frames, rotation, seed, occluded)
        index = build_index(io.BytesIO(source))
        segments = [
            task_pb2.Segment(camera="main", index=number, start_frame=start, stop_frame=stop, warm_up_frames=WARM_UP)
            for number, (start, stop) in enumerate(zip(cuts, [*cuts[1:], frames], strict=True))
        ]
        await self.store.put_bytes(keys.asset_source(f"{name}-clip"), source)
        await self.store.put_bytes(keys.asset_index(f"{name}-clip"), index.to_bytes())
        reference = f"{name}-wall" if wall else "match-wall"
        await self.store.put_bytes(keys.asset_source(reference), wall or walls.png(walls.wall(1, WALL)))
        for segment in segments:
            rows = poses(index, segment)
            rows = rows.where(np.zeros(len(rows), np.bool_)) if nobody else rows
            key = keys.stage_result(name, "pose", "main", segment.index, "parquet")
            await self.store.put_bytes(key, rows_to_parquet(rows))
        given = settings or MatchingSettings(frame_features=700)
        references = References(self.store, IN_PROCESS, given.max_pixels, given.kept_references)
        worker = Worker(self.store, references, IN_PROCESS, given)
        order = {"transform_model": matcher_pb2.TRANSFORM_MODEL_HOMOGRAPHY, **order}
        asked = parameters_pb2.RouteMatchParameters(
            image_asset_id=reference, mode=parameters_pb2.MatchMode.Value(f"MATCH_MODE_{mode}"), **order
        )
        return MatchJob(name, self.store, self.bus, worker, index, segments, asked)
