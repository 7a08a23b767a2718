"""The stages ``render`` and ``finalize``."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, closing
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.tasks import TaskContext
from kinemesh.errors import Cancelled, Internal
from kinemesh.job.v1 import job_pb2
from kinemesh.media import Frame, FrameIndex, H264Writer, concatenate, decode
from kinemesh.media.picture import encode_picture
from kinemesh.nv12 import Image, even_size
from kinemesh.pipelining import ahead, batch_size, batches, in_thread, settled
from kinemesh.results.poses import concatenate as concatenate_rows
from kinemesh.results.poses import rows_from_parquet
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.canvas import on_nv12
from kinemesh_render.domain.drawing import beside, draw_scene
from kinemesh_render.domain.faces import CARRIED_FRAMES, DETECTED_EVERY, Boxes, Carrier, heads, hide
from kinemesh_render.domain.scene import PoseTable, scene_of
from kinemesh_render.domain.sheet import cell_of, chosen_frames, compose
from kinemesh_render.domain.style import Style
from kinemesh_render.faces import FaceFinder
from kinemesh_render.messages import pose_parameters, to_style
from kinemesh_render.settings import EncoderSettings, WorkSettings

VIDEO = "annotated.mp4"
SHEET = "contact_sheet.jpg"
PART_SUFFIX = "nut"
_CELLS = "cells"

_SHEET_QUALITY = 88
_NO_CELL: Image = np.empty((0, 0, 3), np.uint8)


class Worker:
    """Turns segments into parts, and parts into the video that users get."""

    def __init__(self, store: ObjectStore, faces: FaceFinder, encoder: EncoderSettings, work: WorkSettings) -> None:
        self._store = store
        self._faces = faces
        self._encoder = encoder
        self._work = work

    async def render(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Draw one segment: every frame once, at its own time, whether anyone is in it or not."""
        segment = task.segment
        parameters = pose_parameters(task)
        style = to_style(parameters.style)
        asset_id = asset_of(task, segment.camera)
        index = FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_id)))
        drawn = await self._poses(task, "movement", index_before(index, segment.start_frame, style.trail_sec))
        count = segment.stop_frame - segment.start_frame
        first = segment.start_frame
        if parameters.blur_faces:
            # Faces are carried over gaps: see the frames before, so that a border changes nothing.
            first = max(0, first - CARRIED_FRAMES)
        with (
            self._scratch() as folder,
            closing(await in_thread(self._store.open_range, keys.asset_source(asset_id))) as source,
        ):
            part = Path(folder) / "part"
            frames = decode(
                cast(BinaryIO, source),
                index,
                first,
                segment.stop_frame,
                layout="nv12",
                threads=self._work.decoder_threads,
            )
            images = batches(cast(Generator[Frame, None, None], frames), batch_size(index.width, index.height))
            if parameters.blur_faces:
                # Everyone whom the stage found, also those whom the job does not follow, has a face.
                seen = await self._poses(task, "pose", first)
                images = self._blurred(ahead(images), seen, index, segment.start_frame)
            chosen = range(segment.start_frame, segment.stop_frame)
            cells = {frame: _NO_CELL for frame in chosen_frames(index.frame_count) if frame in chosen}
            writing = self._write(part, ahead(_annotated(ahead(images), drawn, index, style, cells)), index, style)
            async with aclosing(writing):
                async for done in writing:
                    await context.report(done / count)
            if cells:
                await self._store.put_bytes(
                    result_key(task, "render", segment, _CELLS), _to_bytes(list(cells.values()))
                )
            await settled(self._store.put_file(part, result_key(task, "render", segment, PART_SUFFIX)))
        return task_pb2.TaskDone(frames=count)

    async def finalize(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Join the parts and the original's sound by stream copy, and make the sheet that shows what is in it."""
        camera = task.inputs[0].camera
        asset_id = asset_of(task, camera)
        segments = segments_of(task, camera)
        index = FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_id)))
        with (
            self._scratch() as folder,
            _Parts(self._store, [result_key(task, "render", s, PART_SUFFIX) for s in segments]) as parts,
            closing(await in_thread(self._store.open_range, keys.asset_source(asset_id))) as original,
        ):
            video = Path(folder) / VIDEO
            joining = asyncio.ensure_future(in_thread(_join, parts, video, original, index))
            try:
                cells = await self._cells(task, segments, index)
                sheet = await in_thread(encode_picture, compose(cells), ".jpg", _SHEET_QUALITY)
                joined: set[asyncio.Future[int]] = set()
                while not joined:
                    joined, _ = await asyncio.wait([joining], timeout=0.5)
                    await context.report(0.8 * parts.opened / max(1, len(parts)))
                frames = joining.result()
            finally:
                parts.stop()
                joining.cancel()
                await asyncio.wait([joining])
            if frames != index.frame_count:
                raise Internal("FRAMES_MISSING", f"{frames} of {index.frame_count} frames were joined.")
            await settled(self._store.put_file(video, keys.output(task.job_id, VIDEO), "video/mp4"))
            await self._store.put_bytes(keys.output(task.job_id, SHEET), sheet, "image/jpeg")
            done = task_pb2.TaskDone(
                frames=frames,
                outputs=[
                    job_pb2.JobOutput(name=VIDEO, content_type="video/mp4", size_bytes=video.stat().st_size),
                    job_pb2.JobOutput(name=SHEET, content_type="image/jpeg", size_bytes=len(sheet)),
                ],
            )
        width, height = _shown_size(index, to_style(pose_parameters(task).style))
        done.summary.update(
            {
                "frame_count": frames,
                "fps": round(float(index.frame_rate), 6),
                "width": width,
                "height": height,
                "duration_sec": round(index.duration_s, 6),
            }
        )
        return done

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="kinemesh-render-", dir=self._work.scratch_dir)

    async def _cells(self, task: task_pb2.Task, segments: Sequence[task_pb2.Segment], index: FrameIndex) -> list[Image]:
        """The contact sheet's cells, from the segments that hold their frames."""
        chosen = chosen_frames(index.frame_count)
        cells: list[Image] = []
        for segment in segments:
            if any(segment.start_frame <= frame < segment.stop_frame for frame in chosen):
                cells += _from_bytes(await self._store.get_bytes(result_key(task, "render", segment, _CELLS)))
        return cells

    async def _poses(self, task: task_pb2.Task, stage: str, since: int) -> PoseTable:
        """The poses that a stage wrote, from a frame on and up to the end of the task's segment."""
        segment = task.segment
        earlier = [
            other
            for other in segments_of(task, segment.camera)
            if other.index < segment.index and other.stop_frame > since
        ]
        results = [await self._store.get_bytes(result_key(task, stage, other)) for other in (*earlier, segment)]
        return await in_thread(_table, results)

    async def _blurred(
        self, source: AsyncGenerator[list[Frame], None], seen: PoseTable, index: FrameIndex, start: int
    ) -> AsyncGenerator[list[Frame], None]:
        """Hide faces; frames before ``start`` are looked at and dropped."""
        carrier = Carrier()
        async with aclosing(source):
            async for batch in source:
                looked_at = [frame for frame in batch if frame.index % DETECTED_EVERY == 0]
                boxes = await self._faces.find([on_nv12(frame.image, index.color_matrix) for frame in looked_at])
                found = {frame.index: faces for frame, faces in zip(looked_at, boxes, strict=True)}
                kept = await in_thread(_hide_faces, batch, found, seen, index, carrier, start)
                if kept:
                    yield kept

    async def _write(
        self, part: Path, source: AsyncGenerator[list[Frame], None], index: FrameIndex, style: Style
    ) -> AsyncGenerator[int, None]:
        """Encode the frames and yield how many are written."""
        encoder = self._encoder
        width, height = _shown_size(index, style)
        writer = H264Writer(
            part,
            width=width,
            height=height,
            layout="nv12",
            color_matrix=index.color_matrix,
            time_base=index.time_base,
            frame_rate=index.frame_rate,
            preset=encoder.preset,
            crf=encoder.crf,
            gop=encoder.gop,
            threads=encoder.threads,
        )
        written = 0
        async with AsyncExitStack() as stack:
            stack.push_async_exit(lambda *error: in_thread(writer.__exit__, *error))
            await stack.enter_async_context(aclosing(source))
            async for batch in source:
                await in_thread(_encode, writer, batch)
                written += len(batch)
                yield written


class _Parts(Sequence[BinaryIO]):
    """Parts in the store, each opened when it is reached and closed when the next is: only one is held in memory."""

    def __init__(self, store: ObjectStore, names: list[str]) -> None:
        self._store = store
        self._names = names
        self._reader: tuple[int, BinaryIO] | None = None
        self._stopped = False
        self.opened = 0

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> BinaryIO:  # type: ignore[override]
        if self._stopped:
            raise Cancelled("CANCELLED", "The work was cancelled.")
        if self._reader is None or self._reader[0] != number:
            name = self._names[number]
            self._close()
            self._reader = number, cast(BinaryIO, self._store.open_range(name))
            self.opened = number + 1
        return self._reader[1]

    def stop(self) -> None:
        """Let the next access raise."""
        self._stopped = True

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader[1].close()
            self._reader = None


def index_before(index: FrameIndex, frame: int, seconds: float) -> int:
    """The first frame that is shown no longer than ``seconds`` before a frame."""
    return int(np.searchsorted(index.times, float(index.times[frame]) - seconds))


def _table(results: Iterable[bytes]) -> PoseTable:
    """The rows of consecutive segments, without those that only overlap."""
    parts = [rows_from_parquet(result) for result in results]
    rows = concatenate_rows([part.where(~part.warm_up) for part in parts])
    return PoseTable(rows.frame_index, rows.time_sec, rows.person_id, rows.image)


async def _annotated(
    source: AsyncGenerator[list[Frame], None],
    table: PoseTable,
    index: FrameIndex,
    style: Style,
    cells: dict[int, Image],
) -> AsyncGenerator[list[Frame], None]:
    async with aclosing(source):
        async for batch in source:
            yield await in_thread(
                lambda batch: [_annotate(frame, table, index, style, cells) for frame in batch], batch
            )


def _annotate(frame: Frame, table: PoseTable, index: FrameIndex, style: Style, cells: dict[int, Image]) -> Frame:
    """Draw a frame; where ``cells`` asks for it, put it there at the size of the contact sheet."""
    scene = scene_of(table, frame.index, index.width, index.height, style.trail_sec)
    width = frame.image.shape[1]
    image: Image = beside(frame.image, frame.image) if style.side_by_side else frame.image
    draw_scene(on_nv12(image[:, -width:], index.color_matrix), scene, style)
    if frame.index in cells:
        cells[frame.index] = cell_of(on_nv12(image, index.color_matrix))
    return Frame(frame.index, frame.pts, image)


def _hide_faces(
    batch: list[Frame],
    found: dict[int, Boxes],
    seen: PoseTable,
    index: FrameIndex,
    carrier: Carrier,
    start: int,
) -> list[Frame]:
    kept = []
    for frame in batch:
        boxes = heads(scene_of(seen, frame.index, index.width, index.height, 0).bodies)
        if frame.index in found:
            boxes = np.concatenate([found[frame.index], boxes])
        boxes = carrier.advance(boxes)
        if frame.index >= start:
            hide(on_nv12(frame.image, index.color_matrix), boxes)
            kept.append(frame)
    return kept


def _encode(writer: H264Writer, batch: list[Frame]) -> None:
    for frame in batch:
        writer.write(frame.image, frame.pts)


def _join(parts: _Parts, video: Path, original: BinaryIO, index: FrameIndex) -> int:
    return concatenate(parts, video, time_base=index.time_base, audio_source=original, end_pts=index.end_pts)


def _shown_size(index: FrameIndex, style: Style) -> tuple[int, int]:
    width, height = even_size(index.width, index.height)
    return width * (2 if style.side_by_side else 1), height


def _to_bytes(cells: list[Image]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.stack(cells), allow_pickle=False)
    return buffer.getvalue()


def _from_bytes(data: bytes) -> list[Image]:
    return list(np.load(io.BytesIO(data), allow_pickle=False))
