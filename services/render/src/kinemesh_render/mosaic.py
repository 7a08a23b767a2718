"""The stage ``mosaic``: all cameras in step, with the map beside them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np

from kinemesh.bus.tasks import TaskContext
from kinemesh.media import Frame
from kinemesh.media.confined import Decoder
from kinemesh.media.picture import MOST_PIXELS
from kinemesh.nv12 import Image
from kinemesh.pipelining import ahead, in_thread, settled
from kinemesh.recordings import camera_of
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.domain.canvas import Rectangle
from kinemesh_render.domain.floor import TRAIL_SEC, extent_of
from kinemesh_render.domain.grid import grid_of
from kinemesh_render.domain.mosaic import HEIGHT, WIDTH, Backdrop, Shot, backdrop, compose
from kinemesh_render.domain.scene import Scene
from kinemesh_render.domain.site import Site
from kinemesh_render.encoding import write_part
from kinemesh_render.film import FINE, fitted
from kinemesh_render.joining import mosaic_key
from kinemesh_render.messages import order_of
from kinemesh_render.people import extent_of_paths, paths_between, people_in
from kinemesh_render.recorded import MosaicClock, Recording, clock_of, recordings_of
from kinemesh_render.settings import EncoderSettings, WorkSettings
from kinemesh_render.site import site_of
from kinemesh_render.sources import Reading

_ROUNDED: Final = 1e-6  # seconds


class Player:
    """One recording, frame after frame, at the size at which it is shown; held while nothing newer is asked for."""

    def __init__(self, reading: Reading, frames: Generator[Frame, None, None]) -> None:
        self.reading = reading
        self._frames = frames
        self._shown: Frame | None = None

    def show(self, number: int) -> Image:
        """The picture of a frame; not before the last that was asked for."""
        while self._shown is None or self._shown.index < number:
            self._shown = next(self._frames)
        return self._shown.image

    def close(self) -> None:
        """Let go of the file."""
        self._frames.close()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A recording's part in a window.

    :ivar cell: which of the grid's cells.
    :ivar place: of its pictures within the mosaic.
    :ivar frames: its frame for each of the mosaic's in the window, -1 for none.
    """

    cell: int
    place: Rectangle
    player: Player
    frames: tuple[int, ...]
    scene_of: Callable[[int], Scene]


Showing = Sequence[tuple[Part, int, Image]]
"""Who shows which of its frames at a moment, and its picture."""


class Mosaics:
    """Turns windows into parts of the mosaic."""

    def __init__(self, store: ObjectStore, decoder: Decoder, encoder: EncoderSettings, work: WorkSettings) -> None:
        self._store = store
        self._decoder = decoder
        self._encoder = encoder
        self._work = work

    async def mosaic(self, task: task_pb2.Task, context: TaskContext) -> task_pb2.TaskDone:
        """Draw one window."""
        recordings = await recordings_of(self._store, task)
        clock = clock_of(recordings, self._work.mosaic_rate)
        frames = clock.frames_of(task.window, task.windows)
        if not frames:
            return task_pb2.TaskDone()
        async with AsyncExitStack() as stack:
            behind, parts = await self._prepared(task, recordings, clock, frames, stack)
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="kinemesh-render-", dir=self._work.scratch_dir)
            )
            path = Path(folder) / "part"
            drawn = _drawn(ahead(_pictures(parts, frames)), behind, clock)
            writing = write_part(
                path,
                ahead(drawn),
                self._encoder,
                size=(WIDTH, HEIGHT),
                time_base=FINE,
                frame_rate=Fraction(clock.rate).limit_denominator(1000),
                layout="rgb",
            )
            async with aclosing(writing):
                async for done in writing:
                    await context.report(done / len(frames))
            await settled(self._store.put_file(path, mosaic_key(task, task.window.index)))
        return task_pb2.TaskDone(frames=len(frames))

    async def _prepared(
        self,
        task: task_pb2.Task,
        recordings: Sequence[Recording],
        clock: MosaicClock,
        frames: range,
        stack: AsyncExitStack,
    ) -> tuple[Backdrop, list[Part]]:
        style, site = order_of(task).style, site_of(task.parameters.multi_camera.environment)
        cameras = list(dict.fromkeys([*site.cameras, *(camera_of(recording.name) for recording in recordings)]))
        firsts = {camera_of(recording.name): recording.index for recording in reversed(recordings)}
        shapes = sorted(index.width / index.height for index in firsts.values())
        grid = grid_of(len(cameras), WIDTH, HEIGHT, shapes[len(shapes) // 2])
        moments = [clock.moment(frame) for frame in frames]
        half = 0.5 / clock.step_rate
        since = moments[0] - (style.trail_sec or TRAIL_SEC)
        paths = await paths_between(self._store, task, since, moments[-1], half * 1.02)
        chosen = choose(recordings, moments, half)
        parts = []
        for recording, numbers in zip(recordings, chosen, strict=True):
            shown = [number for number in numbers if number >= 0]
            if not shown:
                continue
            camera = camera_of(recording.name)
            cell = cameras.index(camera)
            place = fitted((recording.index.width, recording.index.height), grid.cells[cell])
            span = range(shown[0], shown[-1] + 1)
            first = firsts[camera]
            file = await in_thread(self._store.open_range, keys.asset_source(recording.asset_id))
            stack.callback(file.close)
            reading = Reading(cast(BinaryIO, file))
            decoded = self._decoder.decode(
                cast(BinaryIO, reading),
                recording.index,
                span.start,
                span.stop,
                size=place[2:],
                threads=self._work.decoder_threads,
            )
            player = Player(reading, decoded)
            stack.callback(player.close)
            scene_of = await people_in(
                self._store, task, recording, (first.width, first.height), place[2:], span, paths, style
            )
            parts.append(Part(cell, place, player, numbers, scene_of))
        picture = await self._picture(site)
        extent = extent_of(site.floor, picture, site.zones, await extent_of_paths(self._store, task))
        titles = [site.cameras.get(camera, camera) for camera in cameras]
        return await in_thread(backdrop, site, grid, titles, picture, extent, paths, style), parts

    async def _picture(self, site: Site) -> Image | None:
        if not site.floor.picture:
            return None
        data = await self._store.get_bytes(keys.asset_source(site.floor.picture))
        return await in_thread(self._decoder.decode_picture, data, MOST_PIXELS)


def choose(recordings: Sequence[Recording], moments: Sequence[float], half_step: float) -> list[tuple[int, ...]]:
    """Each recording's frame at each moment: the nearest at a step, the last before it where frames are rarer; else -1.

    Of a camera's recordings at most one shows something at a moment.
    """
    now = np.array(moments)
    at = now + half_step
    chosen: list[tuple[int, ...]] = []
    taken: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] = {}
    for recording in reversed(recordings):
        camera = camera_of(recording.name)
        free = ~taken.get(camera, np.zeros(len(at), np.bool_))
        shows = (at > recording.start_sec) & (now < recording.end_sec - _ROUNDED) & free
        numbers = np.searchsorted(recording.moments, at) - 1
        chosen.append(tuple(np.where(shows, np.maximum(numbers, 0), -1).tolist()))
        taken[camera] = ~free | shows
    return chosen[::-1]


async def _pictures(parts: Sequence[Part], frames: range) -> AsyncGenerator[tuple[int, Showing], None]:
    """What the cameras show, frame by frame; each recording is decoded in a thread of its own."""
    for place, number in enumerate(frames):
        showing = [part for part in parts if part.frames[place] >= 0]
        decoding = [asyncio.ensure_future(in_thread(part.player.show, part.frames[place])) for part in showing]
        if decoding:
            await _all_ended(decoding, [part.player for part in showing])
        images = [decoded.result() for decoded in decoding]
        yield number, [(part, part.frames[place], image) for part, image in zip(showing, images, strict=True)]


async def _all_ended(decoding: Sequence[asyncio.Future[Image]], players: Sequence[Player]) -> None:
    """Wait for threads; if cancelled, take from them what they read, so that they end at once."""
    try:
        await asyncio.wait(decoding)
    finally:
        if not all(one.done() for one in decoding):
            for player in players:
                player.reading.stop()
            await settled(asyncio.wait(decoding))
        for one in decoding:
            one.exception()  # asking tells asyncio that somebody has seen it


async def _drawn(
    source: AsyncGenerator[tuple[int, Showing], None], behind: Backdrop, clock: MosaicClock
) -> AsyncGenerator[list[Frame], None]:
    def drawn(number: int, showing: Showing) -> list[Frame]:
        shots = [Shot(part.cell, part.place, image, part.scene_of(frame)) for part, frame, image in showing]
        return [Frame(number, clock.stamp(number), compose(behind, shots, clock.moment(number)))]

    async with aclosing(source):
        async for number, showing in source:
            yield await in_thread(drawn, number, showing)
