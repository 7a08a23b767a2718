"""The stages ``render`` and ``finalize``."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from kinemesh.bus.inputs import asset_of, result_key, segments_of
from kinemesh.bus.outputs import put_outputs
from kinemesh.bus.tasks import TaskContext
from kinemesh.errors import Internal
from kinemesh.media import Frame, FrameIndex
from kinemesh.media.confined import Decoder
from kinemesh.nv12 import Image, even_size
from kinemesh.pipelining import ahead, batch_size, batches, in_thread, settled
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.canvas import on_nv12, within
from kinemesh_render.domain.drawing import beside, draw_scene
from kinemesh_render.domain.faces import CARRIED_FRAMES, DETECTED_EVERY, Boxes, Carrier, heads, hide
from kinemesh_render.domain.poses import PoseTable, scene_of_poses
from kinemesh_render.domain.scene import Scene
from kinemesh_render.domain.sheet import cell_of
from kinemesh_render.domain.style import Style
from kinemesh_render.encoding import write_part
from kinemesh_render.faces import FaceFinder
from kinemesh_render.film import Film, film_of, framed
from kinemesh_render.joining import PART_SUFFIX, facts_of, followed, join_site, put_video
from kinemesh_render.messages import Order, Shown, order_of
from kinemesh_render.recorded import film_of_recording
from kinemesh_render.route import Routes
from kinemesh_render.scenes import SceneOf, poses_since, scenes
from kinemesh_render.settings import EncoderSettings, WorkSettings
from kinemesh_render.sheets import CELLS, SHEET, cells_among, put_cells, sheet_of
from kinemesh_render.sources import Parts, Reading


class Worker:
    """Turns segments and windows into parts, and parts into the video that users get."""

    def __init__(
        self, store: ObjectStore, faces: FaceFinder, decoder: Decoder, encoder: EncoderSettings, work: WorkSettings
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._faces = faces
        self._encoder = encoder
        self._work = work
        self._routes = Routes(store, decoder, encoder, work)

    async def render(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Draw one segment: every frame once, at its own time, whether anyone is in it or not.

        Of a video that only has to be playable and is already, nothing is encoded. Of climbers on a picture of their
        route, one window is drawn.
        """
        segment, order = task.segment, order_of(task)
        if order.shown is Shown.ROUTE:
            return await self._routes.render(task, context)
        count = segment.stop_frame - segment.start_frame
        first = segment.start_frame
        if order.blur_faces:
            # Faces are carried over gaps: see the frames before, so that a border changes nothing.
            first = max(0, first - CARRIED_FRAMES)
        async with self._original(task, segment.camera) as (index, source):
            if await self._is_copied(order, source, index):
                return task_pb2.TaskDone(frames=count)
            film = film_of(index)
            if order.shown is Shown.PEOPLE:
                film = await film_of_recording(self._store, task, segment.camera)
            scene_of = await scenes(self._store, task, index, film, order)
            frames = self._decoder.decode(
                cast(BinaryIO, source),
                replace(index, color_matrix=film.color_matrix),
                first,
                segment.stop_frame,
                size=film.shown[2:] if film.letterboxed else None,
                layout="nv12",
                threads=self._work.decoder_threads,
            )
            images = batches(frames, batch_size(index.width, index.height))
            if order.blur_faces:
                # Everyone whom the stage found, also those whom the job does not follow, has a face.
                seen = await poses_since(self._store, task, "pose", first)
                images = self._blurred(ahead(images), seen, index, segment.start_frame)
            chosen = range(segment.start_frame, segment.stop_frame if order.sheet else segment.start_frame)
            cells = cells_among(chosen, index.frame_count)
            drawn = _annotated(ahead(images), scene_of, film, order.style, cells)
            with self._scratch() as folder:
                part = Path(folder) / "part"
                async with aclosing(self._write(part, ahead(drawn), film, order.style)) as writing:
                    async for done in writing:
                        await context.report(done / count)
                await put_cells(self._store, result_key(task, "render", segment, CELLS), cells)
                await settled(self._store.put_file(part, result_key(task, "render", segment, PART_SUFFIX)))
        return task_pb2.TaskDone(frames=count)

    async def finalize(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Join the parts and the original's sound by stream copy, and make the sheet that shows what is in it.

        A video that is playable already is copied itself.
        """
        order, camera = order_of(task), task.inputs[0].camera
        if order.shown is Shown.ROUTE:
            return await self._routes.finalize(task, context)
        if order.shown is Shown.PEOPLE:
            with self._scratch() as folder:
                return await join_site(self._store, self._decoder, task, self._work.mosaic_rate, Path(folder), context)
        segments = segments_of(task, camera)
        async with self._original(task, camera) as (index, source):
            with (
                self._scratch() as folder,
                Parts(self._store, [result_key(task, "render", s, PART_SUFFIX) for s in segments]) as parts,
            ):
                video = Path(folder) / order.video
                if await self._is_copied(order, source, index):
                    size = (index.width, index.height)
                    copying = in_thread(self._decoder.remux, source, index, video)
                    frames = await followed(copying, [source], context)
                else:
                    size = _shown_size(index, order.style)
                    frames = await followed(
                        in_thread(self._join, parts, video, source, index), [parts, source], context
                    )
                if frames != index.frame_count:
                    raise Internal("FRAMES_MISSING", f"{frames} of {index.frame_count} frames were joined.")
                cells = [(range(s.start_frame, s.stop_frame), result_key(task, "render", s, CELLS)) for s in segments]
                sheet = await sheet_of(self._store, cells, index.frame_count) if order.sheet else b""
                outputs = [await put_video(self._store, task, video, order.video)]
            if sheet:
                outputs += await put_outputs(self._store, task.job_id, [(SHEET, "image/jpeg", sheet)])
        done = task_pb2.TaskDone(frames=frames, outputs=outputs)
        done.summary.update(facts_of(frames, index.frame_rate, size, index.duration_s))
        return done

    @asynccontextmanager
    async def _original(self, task: task_pb2.Task, camera: str) -> AsyncIterator[tuple[FrameIndex, Reading]]:
        """What a camera shows: its frame index, and the file."""
        asset_id = asset_of(task, camera)
        index = FrameIndex.from_bytes(await self._store.get_bytes(keys.asset_index(asset_id)))
        with closing(await in_thread(self._store.open_range, keys.asset_source(asset_id))) as file:
            yield index, Reading(cast(BinaryIO, file))

    async def _is_copied(self, order: Order, source: Reading, index: FrameIndex) -> bool:
        """Whether the video is the original itself, in a file that browsers play."""
        return not order.drawn and await in_thread(self._decoder.plays_in_browsers, source, index)

    def _join(self, parts: Parts, video: Path, original: Reading, index: FrameIndex) -> int:
        return self._decoder.concatenate(
            parts, video, time_base=index.time_base, audio_source=original, end_pts=index.end_pts
        )

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="kinemesh-render-", dir=self._work.scratch_dir)

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

    def _write(
        self, part: Path, source: AsyncGenerator[list[Frame], None], film: Film, style: Style
    ) -> AsyncGenerator[int, None]:
        return write_part(
            part,
            source,
            self._encoder,
            size=(film.width * (2 if style.side_by_side else 1), film.height),
            time_base=film.time_base,
            frame_rate=film.frame_rate,
            color_matrix=film.color_matrix,
        )


async def _annotated(
    source: AsyncGenerator[list[Frame], None],
    scene_of: SceneOf,
    film: Film,
    style: Style,
    cells: dict[int, Image],
) -> AsyncGenerator[list[Frame], None]:
    def annotated(batch: list[Frame]) -> list[Frame]:
        return [_annotate(frame, scene_of(frame.index), film, style, cells) for frame in batch]

    async with aclosing(source):
        async for batch in source:
            yield await in_thread(annotated, batch)


def _annotate(frame: Frame, scene: Scene, film: Film, style: Style, cells: dict[int, Image]) -> Frame:
    """Draw a frame; where ``cells`` asks for it, put it there at the size of the contact sheet."""
    image: Image = framed(frame.image, film) if film.letterboxed else frame.image
    width = image.shape[1]
    image = beside(image, image) if style.side_by_side else image
    canvas = on_nv12(image[:, -width:], film.color_matrix)
    draw_scene(within(canvas, film.shown) if film.letterboxed else canvas, scene, style)
    if frame.index in cells:
        cells[frame.index] = cell_of(on_nv12(image, film.color_matrix))
    return Frame(frame.index, int(film.stamps[frame.index]), image)


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
        boxes = heads(scene_of_poses(seen, frame.index, index.width, index.height, 0).bodies)
        if frame.index in found:
            boxes = np.concatenate([found[frame.index], boxes])
        boxes = carrier.advance(boxes)
        if frame.index >= start:
            hide(on_nv12(frame.image, index.color_matrix), boxes)
            kept.append(frame)
    return kept


def _shown_size(index: FrameIndex, style: Style) -> tuple[int, int]:
    width, height = even_size(index.width, index.height)
    return width * (2 if style.side_by_side else 1), height
