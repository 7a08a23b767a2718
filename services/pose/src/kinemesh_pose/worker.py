"""The stages of the pose service: pose, stitch and movement."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from typing import Final, cast

import numpy as np

from kinemesh.bodies.subject import select
from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.outputs import put_outputs
from kinemesh.bus.tasks import TaskContext
from kinemesh.media import Frame, FrameIndex
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import ahead, batches, in_thread
from kinemesh.results.poses import PoseRows, concatenate, rows_from_parquet, rows_to_parquet
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_pose.domain.roi import Image
from kinemesh_pose.domain.snapshot import Snapshot
from kinemesh_pose.domain.stitch import SegmentRows, stitch
from kinemesh_pose.domain.tracking import FramePoses, Models, Options, estimate
from kinemesh_pose.messages import frame_results, to_selection
from kinemesh_pose.results import Outcome, to_documents
from kinemesh_pose.settings import EstimationSettings

_STATE: Final = "state"
_DEFAULT_PERSONS: Final = 4
_BATCH: Final = 2


class Worker:
    """Turns frames into poses, poses into persons, and persons into figures."""

    def __init__(self, store: ObjectStore, models: Models, decoder: Decoder, estimation: EstimationSettings) -> None:
        self._store = store
        self._decoder = decoder
        self._models = models
        self._estimation = estimation

    async def pose(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Estimate one segment's poses, beginning with the frames that overlap the segment before."""
        segment = task.segment
        asset_id = asset_of(task, segment.camera)
        index = await self._index(asset_id)
        first = segment.start_frame - segment.warm_up_frames
        options = Options(
            max_poses=task.parameters.pose.max_persons or _DEFAULT_PERSONS, detect_every=self._estimation.detect_every
        )
        found: list[FramePoses] = []
        with closing(await in_thread(self._store.open_range, keys.asset_source(asset_id))) as source:
            frames = self._decoder.decode(
                source, index, first, segment.stop_frame, threads=self._estimation.decoder_threads
            )
            images = _images(ahead(batches(frames, _BATCH)))
            async with aclosing(images), aclosing(_estimates(images, self._models, options, first)) as estimates:
                async for poses in estimates:
                    found.append(poses)
                    await context.report(len(found) / (segment.stop_frame - first))
        rows = await in_thread(_rows, found, index, first, segment.start_frame)
        await self._store.put_bytes(result_key(task, "pose", segment), await in_thread(rows_to_parquet, rows))
        return task_pb2.TaskDone(frames=segment.stop_frame - segment.start_frame)

    async def stitch(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Name the persons of the next segment, and tell the job's listeners who is where."""
        segment = task.segment
        index = await self._index(asset_of(task, segment.camera))
        rows = rows_from_parquet(await self._store.get_bytes(result_key(task, "pose", segment)))
        snapshot = None
        if segment.index > 0:
            before = segments_of(task, segment.camera)[segment.index - 1]
            snapshot = Snapshot.from_bytes(await self._store.get_bytes(result_key(task, "stitch", before, _STATE)))
        named, after = await in_thread(stitched, rows, snapshot, index.width / index.height)
        await self._store.put_bytes(result_key(task, "stitch", segment, _STATE), after.to_bytes())
        await self._store.put_bytes(result_key(task, "stitch", segment), rows_to_parquet(named))
        frames = range(segment.start_frame, segment.stop_frame)
        results = await in_thread(frame_results, named, frames, index)
        await context.publish_frames(segment.camera, results)
        return task_pb2.TaskDone(frames=len(frames))

    async def movement(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Choose whom the job is about, smooth if asked to, and measure how they move."""
        camera = task.inputs[0].camera
        segments = segments_of(task, camera)
        index = await self._index(asset_of(task, camera))
        parts = []
        for segment in segments:
            parts.append(rows_from_parquet(await self._store.get_bytes(result_key(task, "stitch", segment))))
            await context.report(0.5 * len(parts) / len(segments))
        outcome = await in_thread(_measure, concatenate(parts), task, index)
        for segment in segments:
            inside = (outcome.drawn.frame_index >= segment.start_frame) & (
                outcome.drawn.frame_index < segment.stop_frame
            )
            part = await in_thread(rows_to_parquet, outcome.drawn.where(inside))
            await self._store.put_bytes(result_key(task, "movement", segment), part)
        outputs = await put_outputs(self._store, task.job_id, outcome.files)
        done = task_pb2.TaskDone(frames=index.frame_count, outputs=outputs)
        done.summary.update({"persons": outcome.persons, "source_frame_count": index.frame_count})
        return done

    async def _index(self, asset_id: str) -> FrameIndex:
        return FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_id)))


async def _images(source: AsyncGenerator[list[Frame], None]) -> AsyncGenerator[Image, None]:
    async with aclosing(source):
        async for batch in source:
            for frame in batch:
                yield frame.image


def _estimates(
    images: AsyncGenerator[Image, None], models: Models, options: Options, first: int
) -> AsyncGenerator[FramePoses, None]:
    return cast(AsyncGenerator[FramePoses, None], estimate(images, models, options, first))


def _rows(found: list[FramePoses], index: FrameIndex, first: int, start: int) -> PoseRows:
    """The poses of consecutive frames as rows; frames before ``start`` are warm-up."""
    counts = np.array([len(poses.ids) for poses in found])
    frame_index = first + np.repeat(np.arange(len(found), dtype=np.int64), counts)
    return PoseRows(
        frame_index=frame_index,
        time_sec=index.times[frame_index],
        person_id=np.concatenate([poses.ids for poses in found]).astype(np.int32),
        score=np.concatenate([poses.score for poses in found]).astype(np.float32),
        warm_up=frame_index < start,
        image=np.concatenate([poses.landmarks for poses in found]).astype(np.float32),
        world=np.concatenate([poses.world for poses in found]).astype(np.float32),
    )


def stitched(rows: PoseRows, snapshot: Snapshot | None, aspect: float) -> tuple[PoseRows, Snapshot]:
    """A segment's rows under the ids that hold through the clip, without warm-up, and what the next segment needs."""
    segment = SegmentRows(rows.frame_index, rows.time_sec, rows.person_id.astype(np.int64), rows.image, rows.warm_up)
    ids, after = stitch(segment, snapshot, aspect)
    named = rows.where(~rows.warm_up).with_ids(ids.astype(np.int32))
    named = named.where(named.person_id > 0)  # 0 marks the second estimate of one body
    return named.where(np.lexsort((named.person_id, named.frame_index))), after


def _measure(rows: PoseRows, task: task_pb2.Task, index: FrameIndex) -> Outcome:
    wanted = task.parameters.pose
    aspect = index.width / index.height
    persons = select(rows.person_id.astype(np.int64), rows.time_sec, rows.image, aspect, to_selection(wanted))
    return to_documents(rows.where(np.isin(rows.person_id, persons)), index, smooth=wanted.smooth)
