"""The stages ``render`` and ``finalize`` of climbers on a picture of their route."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import aclosing
from fractions import Fraction
from pathlib import Path

import numpy as np

from kinemesh.bus.outputs import put_outputs
from kinemesh.bus.tasks import TaskContext
from kinemesh.errors import Internal, InvalidArgument
from kinemesh.media import Frame
from kinemesh.media.confined import Decoder
from kinemesh.media.picture import MOST_PIXELS
from kinemesh.nv12 import Image
from kinemesh.pipelining import ahead, batch_size, batches, in_thread, settled
from kinemesh.results import poses
from kinemesh.results.columns_parquet import COURSE_SCHEMA, HOLD_SCHEMA, from_parquet
from kinemesh.results.retargeted import (
    CourseRows,
    HoldRows,
    Showing,
    course_key,
    holds_key,
    poses_key,
    showing_key,
)
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.canvas import on_nv12
from kinemesh_render.domain.paths import PathTable
from kinemesh_render.domain.poses import PoseTable
from kinemesh_render.domain.route import Route, Touches, marks_of
from kinemesh_render.domain.sheet import cell_of
from kinemesh_render.domain.style import Style
from kinemesh_render.domain.wall import MATRIX, Wall, compose, ground_of, shown_size
from kinemesh_render.encoding import write_part
from kinemesh_render.film import FINE
from kinemesh_render.joining import ALL, PART_SUFFIX, facts_of, join, put_video
from kinemesh_render.messages import order_of
from kinemesh_render.settings import EncoderSettings, WorkSettings
from kinemesh_render.sheets import CELLS, SHEET, cells_among, put_cells, sheet_of


class Routes:
    """Turns windows into parts, and parts into the video of all attempts at a route."""

    def __init__(self, store: ObjectStore, decoder: Decoder, encoder: EncoderSettings, work: WorkSettings) -> None:
        self._store = store
        self._decoder = decoder
        self._encoder = encoder
        self._work = work

    async def render(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Draw one window; of one without frames there is no part."""
        showing = await self._showing(task)
        frames = _frames_of(showing, task.window.index)
        if not frames:
            return task_pb2.TaskDone()
        wall, route, table = await self._prepared(task, showing)
        cells = cells_among(frames, showing.frame_count)
        drawn = batches(_drawn(wall, route, table, frames, showing, cells), batch_size(route.width, route.height))
        with self._scratch() as folder:
            part = Path(folder) / "part"
            writing = write_part(
                part,
                ahead(drawn),
                self._encoder,
                size=(route.width, route.height),
                time_base=FINE,
                frame_rate=showing.frame_rate,
                color_matrix=MATRIX,
            )
            async with aclosing(writing):
                async for done in writing:
                    await context.report(done / len(frames))
            await put_cells(self._store, _key(task, task.window.index, CELLS), cells)
            await settled(self._store.put_file(part, _key(task, task.window.index, PART_SUFFIX)))
        return task_pb2.TaskDone(frames=len(frames))

    async def finalize(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Join the parts of all windows that have frames, without sound, and make the contact sheet."""
        showing, name = await self._showing(task), order_of(task).video
        shown = [(number, _frames_of(showing, number)) for number in range(len(showing.windows))]
        shown = [(number, frames) for number, frames in shown if frames]
        names = [_key(task, number, PART_SUFFIX) for number, _ in shown]
        end = _stamp(showing, showing.frame_count)
        with self._scratch() as folder:
            video = Path(folder) / name
            joined = await join(self._store, self._decoder, names, video, FINE, end, context, 0.0, 0.8)
            if joined != showing.frame_count:
                raise Internal("FRAMES_MISSING", f"{joined} of {showing.frame_count} frames were joined.")
            cells = [(frames, _key(task, number, CELLS)) for number, frames in shown]
            sheet = await sheet_of(self._store, cells, showing.frame_count)
            outputs = [await put_video(self._store, task, video, name)]
        outputs += await put_outputs(self._store, task.job_id, [(SHEET, "image/jpeg", sheet)])
        size, rate = shown_size(showing.width, showing.height), showing.frame_rate
        done = task_pb2.TaskDone(frames=joined, outputs=outputs)
        done.summary.update(facts_of(joined, rate, size, float(joined / rate)))
        return done

    async def _showing(self, task: task_pb2.Task) -> Showing:
        showing = Showing.from_bytes(await self._store.get_bytes(showing_key(task.job_id)))
        if showing.frame_rate <= 0 or min(showing.width, showing.height) < 1:
            raise InvalidArgument("INVALID_SHOWING", "The output has no size or no frame rate.")
        return showing

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="kinemesh-render-", dir=self._work.scratch_dir)

    async def _prepared(self, task: task_pb2.Task, showing: Showing) -> tuple[Wall, Route, PoseTable]:
        style, store = order_of(task).style, self._store
        picture = await store.get_bytes(keys.asset_source(task.parameters.route_match.image_asset_id))
        course = await store.get_bytes(course_key(task.job_id))
        holds = await store.get_bytes(holds_key(task.job_id))
        posed = await store.get_bytes(poses_key(task.job_id, task.window.index))

        def prepared() -> tuple[Wall, Route, PoseTable]:
            route = route_of(
                showing,
                from_parquet(CourseRows, course, COURSE_SCHEMA),
                from_parquet(HoldRows, holds, HOLD_SCHEMA),
                style,
            )
            rows = poses.rows_from_parquet(posed)
            table = PoseTable(rows.frame_index, rows.time_sec, rows.person_id, rows.image)
            ground = ground_of(self._decoder.decode_picture(picture, MOST_PIXELS), (route.width, route.height))
            return Wall(ground, route), route, table

        return await in_thread(prepared)


def route_of(showing: Showing, course: CourseRows, holds: HoldRows, style: Style) -> Route:
    """What retarget found, in pixels of the output."""
    width, height = shown_size(showing.width, showing.height)
    known = np.isfinite(course.x) & np.isfinite(course.y)
    rate = float(showing.frame_rate)
    paths = PathTable(
        course.time_sec[known],
        course.attempt[known],
        course.x[known] * width,
        course.y[known] * height,
        np.ones(int(known.sum()), np.int32),
        0.5 / rate,
    )
    points = np.stack([holds.x * width, holds.y * height], axis=1).astype(np.float32)
    touches = Touches(holds.attempt, holds.hold, points, holds.start_sec, holds.stop_sec)
    guessed = course.interpolated
    filled_in = frozenset(zip(course.frame_index[guessed].tolist(), course.attempt[guessed].tolist(), strict=True))
    return Route(showing.names, width, height, rate, paths, filled_in, marks_of(touches), style)


def _drawn(
    wall: Wall, route: Route, table: PoseTable, frames: range, showing: Showing, cells: dict[int, Image]
) -> Generator[Frame, None, None]:
    """The frames; where ``cells`` asks for one, it is put there at the size of the contact sheet."""
    for number in frames:
        image = compose(wall, route, table, number)
        if number in cells:
            cells[number] = cell_of(on_nv12(image, MATRIX))
        yield Frame(number, _stamp(showing, number), image)


def _frames_of(showing: Showing, window: int) -> range:
    """:raises Internal: WINDOW_NOT_SHOWN if nobody said which frames lie in the window."""
    if not 0 <= window < len(showing.windows):
        raise Internal("WINDOW_NOT_SHOWN", "It is not known which frames lie in the window.", window=window)
    return range(*showing.windows[window])


def _stamp(showing: Showing, frame: int) -> int:
    return round(Fraction(frame) / showing.frame_rate / FINE)


def _key(task: task_pb2.Task, window: int, suffix: str) -> str:
    return keys.stage_result(task.job_id, "render", ALL, window, suffix)
