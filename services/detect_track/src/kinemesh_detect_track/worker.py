"""The stages of the detection and tracking service: detect, track and refine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Final, cast

import numpy as np

from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.outputs import put_outputs
from kinemesh.bus.tasks import TaskContext
from kinemesh.inference.detector import Boxes, Detector, Letterbox, letterbox, padded, resized
from kinemesh.media import Frame, FrameIndex, decode
from kinemesh.nv12 import Image
from kinemesh.pipelining import ahead, batch_size, batches, in_flight, in_thread
from kinemesh.results.tracks import TrackRows, concatenate
from kinemesh.results.tracks_parquet import rows_from_parquet, rows_to_parquet
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_detect_track.documents import Documents, instructor_files, pitstop_files
from kinemesh_detect_track.domain.refine import Refinement
from kinemesh_detect_track.domain.state import CameraPath, TrackerState, fresh_state
from kinemesh_detect_track.domain.tracker import parameters_for
from kinemesh_detect_track.messages import frame_results, job_classes, wanted_by
from kinemesh_detect_track.models import Models
from kinemesh_detect_track.rows import found_rows, refined_rows, tracked_rows
from kinemesh_detect_track.settings import DetectionSettings

_STATE: Final = "state"
_CAMERA: Final = "camera"
_LOST_S: Final = 1.5
"""Short, because refinement joins what belongs together with more evidence than a live tracker has."""


class Worker:
    """Turns frames into boxes, boxes into tracks, and tracks into objects and their figures."""

    def __init__(self, store: ObjectStore, models: Models, detection: DetectionSettings) -> None:
        self._store = store
        self._models = models
        self._detection = detection

    async def detect(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Find the objects in one segment's frames, the unlikely ones too."""
        segment = task.segment
        asset_id = asset_of(task, segment.camera)
        index = await self._index(asset_id)
        wanted = wanted_by(task.parameters)
        model = resized(await self._models.detector(wanted.model), wanted.input_size, "input_size")
        box = letterbox(model, index.width, index.height)
        count = segment.stop_frame - segment.start_frame
        found: list[Boxes] = []

        async def look(image: Image) -> Boxes:
            return await self._models.find(model, box, image)

        with closing(await in_thread(self._store.open_range, keys.asset_source(asset_id))) as source:
            frames = decode(
                source,
                index,
                segment.start_frame,
                segment.stop_frame,
                size=box.size,
                threads=self._detection.decoder_threads,
            )
            pictures = _each(ahead(batches(_padded(frames, box), batch_size(*box.padded))))
            async with aclosing(pictures), aclosing(in_flight(pictures, look, self._detection.in_flight)) as answers:
                async for boxes in answers:
                    found.append(boxes)
                    await context.report(len(found) / count)
        rows = await in_thread(found_rows, found, index, segment.start_frame, job_classes(task.parameters, model))
        await self._store.put_bytes(result_key(task, "detect", segment), await in_thread(rows_to_parquet, rows))
        return task_pb2.TaskDone(frames=count)

    async def track(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Follow the objects through the next segment, and tell the job's listeners what is where."""
        segment = task.segment
        index = await self._index(asset_of(task, segment.camera))
        wanted = wanted_by(task.parameters)
        model = await self._models.detector(wanted.model)
        state = fresh_state()
        if segment.index > 0:
            before = segments_of(task, segment.camera)[segment.index - 1]
            state = TrackerState.from_bytes(await self._store.get_bytes(result_key(task, "track", before, _STATE)))
        rows = rows_from_parquet(await self._store.get_bytes(result_key(task, "detect", segment)))
        span = segment.start_frame, segment.stop_frame
        parameters = parameters_for(wanted.threshold, _LOST_S, camera_motion=True, hindsight=True)
        named, after, path = await in_thread(tracked_rows, rows, *span, index, state, parameters)
        await self._store.put_bytes(result_key(task, "track", segment, _STATE), after.to_bytes())
        await self._store.put_bytes(result_key(task, "track", segment, _CAMERA), path.to_bytes())
        await self._store.put_bytes(result_key(task, "track", segment), await in_thread(rows_to_parquet, named))
        await context.publish_frames(segment.camera, await in_thread(frame_results, named, *span, index, model))
        return task_pb2.TaskDone(frames=segment.stop_frame - segment.start_frame)

    async def refine(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Look at the whole recording once more, measure, and write down what the user gets."""
        camera = task.inputs[0].camera
        segments = segments_of(task, camera)
        index = await self._index(asset_of(task, camera))
        wanted = wanted_by(task.parameters)
        model = await self._models.detector(wanted.model)
        parts, paths = [], []
        for segment in segments:
            parts.append(rows_from_parquet(await self._store.get_bytes(result_key(task, "track", segment))))
            path = CameraPath.from_bytes(await self._store.get_bytes(result_key(task, "track", segment, _CAMERA)))
            paths.append(path.offsets)
            await context.report(0.5 * len(parts) / len(segments))
        whole = CameraPath(np.concatenate(paths))
        documents = await in_thread(_outcome, concatenate(parts), whole, index, task, model)
        for segment in segments:
            inside = (documents.drawn.frame_index >= segment.start_frame) & (
                documents.drawn.frame_index < segment.stop_frame
            )
            part = await in_thread(rows_to_parquet, documents.drawn.where(inside))
            await self._store.put_bytes(result_key(task, "refine", segment), part)
        outputs = await put_outputs(self._store, task.job_id, documents.files)
        done = task_pb2.TaskDone(frames=index.frame_count, outputs=outputs)
        done.summary.update({**documents.summary, "model": wanted.model, "source_frame_count": index.frame_count})
        return done

    async def _index(self, asset_id: str) -> FrameIndex:
        return FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_id)))


def _padded(frames: object, box: Letterbox) -> Generator[Image, None, None]:
    """Runs where frames are decoded, in a thread."""
    with closing(cast(Generator[Frame, None, None], frames)) as decoded:
        for frame in decoded:
            yield padded(frame.image, box)


async def _each(source: AsyncGenerator[list[Image], None]) -> AsyncGenerator[Image, None]:
    async with aclosing(source):
        async for batch in source:
            for image in batch:
                yield image


def _outcome(rows: TrackRows, path: CameraPath, index: FrameIndex, task: task_pb2.Task, model: Detector) -> Documents:
    objects = refined_rows(rows, index, path, Refinement(least_score=wanted_by(task.parameters).threshold))
    if task.parameters.HasField("pitstop"):
        return pitstop_files(objects, index, task.parameters.pitstop, model.labels)
    return instructor_files(objects, index, task.parameters.instructor, model.labels)
