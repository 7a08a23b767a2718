"""The stages of the detection and tracking service: detect, track and refine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Final

import numpy as np

from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.outputs import put_outputs
from kinemesh.bus.tasks import TaskContext
from kinemesh.inference.detector import Boxes, Detector, Letterbox, letterbox, padded, resized
from kinemesh.media import Frame, FrameIndex
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import ahead, batch_size, batches, in_flight, in_thread
from kinemesh.results.columns_parquet import LOOK_SCHEMA, from_parquet, to_parquet, to_table
from kinemesh.results.looks import LookRows
from kinemesh.results.tracks import TrackRows, concatenate
from kinemesh.results.tracks_parquet import rows_from_parquet, rows_to_parquet
from kinemesh.storage import keys
from kinemesh.storage.store import ObjectStore
from kinemesh.task.v1 import task_pb2
from kinemesh_detect_track.documents import Documents, instructor_files, pitstop_files
from kinemesh_detect_track.domain.refine import Refinement
from kinemesh_detect_track.domain.state import CameraPath, TrackerState, fresh_state
from kinemesh_detect_track.domain.tracker import Parameters, parameters_for
from kinemesh_detect_track.looking import LEAST_SHARE, Looks, look_rows, looks_at, moments
from kinemesh_detect_track.messages import frame_results, job_classes, wanted_by
from kinemesh_detect_track.models import Models
from kinemesh_detect_track.rows import followed, found_rows, of_classes, refined_rows, tracked_looks, tracked_rows
from kinemesh_detect_track.settings import DetectionSettings

_STATE: Final = "state"
_CAMERA: Final = "camera"
_LOOKS: Final = "looks"
_LOST_S: Final = 1.5
"""Short, because later stages join what belongs together with more evidence than a live tracker has."""
_OFTEN: Final = 0.25
"""Share of frames that are looked at in their own size, from which on frames do not travel together: they are large."""


class Worker:
    """Turns frames into boxes, boxes into tracks, and tracks into objects and their figures."""

    def __init__(self, store: ObjectStore, models: Models, decoder: Decoder, detection: DetectionSettings) -> None:
        self._store = store
        self._decoder = decoder
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
        classes = job_classes(task.parameters, model)
        embedder = await self._models.embedder(wanted.embedder) if wanted.embedder else None
        looked = moments(index.times, self._detection.embed_interval_s) & (embedder is not None)
        found: list[Boxes] = []
        looks: list[Looks | None] = []

        async def see(frame: Frame) -> tuple[Boxes, Looks | None]:
            boxes = of_classes(await self._models.find(model, box, frame.image), classes)
            if embedder is None or frame.whole is None:
                return boxes, None
            return boxes, await looks_at(self._models, embedder, frame.whole, boxes, LEAST_SHARE * wanted.threshold)

        with closing(await in_thread(self._store.open_range, keys.asset_source(asset_id))) as source:
            frames = self._decoder.decode(
                source,
                index,
                segment.start_frame,
                segment.stop_frame,
                size=box.size,
                whole=lambda number: bool(looked[number]),
                threads=self._detection.decoder_threads,
            )
            travelling = 1 if looked.mean() > _OFTEN else batch_size(*box.padded)
            pictures = _each(ahead(batches(_padded(frames, box), travelling)))
            async with aclosing(pictures), aclosing(in_flight(pictures, see, self._detection.in_flight)) as answers:
                async for boxes, look in answers:
                    found.append(boxes)
                    looks.append(look)
                    await context.report(len(found) / count)
        if task.parameters.HasField("multi_camera"):
            made = await in_thread(look_rows, found, looks, segment.start_frame)
            await self._store.put_bytes(result_key(task, "detect", segment, _LOOKS), await in_thread(_as_bytes, made))
        rows = await in_thread(found_rows, found, index, segment.start_frame)
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
        several = task.parameters.HasField("multi_camera")
        parameters = tracker_for(wanted.threshold, several=several)
        ids, after, path = await in_thread(followed, rows, *span, index.times, state, parameters)
        if several:
            looks = from_parquet(
                LookRows, await self._store.get_bytes(result_key(task, "detect", segment, _LOOKS)), LOOK_SCHEMA
            )
            kept = await in_thread(_as_bytes, tracked_looks(looks, ids))
            await self._store.put_bytes(result_key(task, "track", segment, _LOOKS), kept)
        named = tracked_rows(rows, ids)
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


def tracker_for(threshold: float, *, several: bool) -> Parameters:
    """How carefully the stage track follows; ``several`` says whether its camera is one of a site's."""
    # Those are calibrated, so that they stand still; and nothing drops doubtful tracks afterwards.
    return parameters_for(threshold, _LOST_S, camera_motion=not several, hindsight=not several)


def _padded(frames: Generator[Frame, None, None], box: Letterbox) -> Generator[Frame, None, None]:
    """Runs where frames are decoded, in a thread."""
    with closing(frames) as decoded:
        for frame in decoded:
            yield replace(frame, image=padded(frame.image, box))


async def _each(source: AsyncGenerator[list[Frame], None]) -> AsyncGenerator[Frame, None]:
    async with aclosing(source):
        async for batch in source:
            for frame in batch:
                yield frame


def _as_bytes(looks: LookRows) -> bytes:
    return to_parquet(to_table(looks, LOOK_SCHEMA))


def _outcome(rows: TrackRows, path: CameraPath, index: FrameIndex, task: task_pb2.Task, model: Detector) -> Documents:
    objects = refined_rows(rows, index, path, Refinement(least_score=wanted_by(task.parameters).threshold))
    if task.parameters.HasField("pitstop"):
        return pitstop_files(objects, index, task.parameters.pitstop, model.labels)
    return instructor_files(objects, index, task.parameters.instructor, model.labels)
