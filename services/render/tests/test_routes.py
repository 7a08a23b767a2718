"""Videos of attempts at a route, with the real object store."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.tasks import TaskContext
from kinemesh.job.v1.parameters_pb2 import OverlayStyle
from kinemesh.media import build_index, decode, plays_in_browsers, probe
from kinemesh.media.picture import decode_picture, encode_picture
from kinemesh.results import poses
from kinemesh.results.columns import select
from kinemesh.results.columns_parquet import COURSE_SCHEMA, HOLD_SCHEMA, to_parquet, to_table
from kinemesh.results.retargeted import CourseRows, HoldRows, Showing, course_key, holds_key, poses_key, showing_key
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.messages import order_of
from kinemesh_render.worker import Worker

Image = NDArray[np.uint8]
Standing = Callable[..., NDArray[np.float32]]

RATE = Fraction(30000, 1001)
GREY = 120
DIMMED = 0.72 * GREY
STYLE = OverlayStyle(colors=["#FF00FF", "#00FF00"], hide_labels=True)
FRAMES = {1: range(24), 2: range(6, 18)}
"""Attempt 1 climbs at the left all the time, attempt 2 at the right and in the middle of it."""


class Climb:
    """A job whose attempts are on the picture: what retarget writes lies in the store, in windows of 10, 0 and 14."""

    def __init__(self, store: ObjectStore, job_id: str, standing: Standing, style: OverlayStyle) -> None:
        self.store, self.job_id, self.style = store, job_id, style
        self.showing = Showing(640, 360, RATE, ("Anna", "Ben"), ((0, 10), (10, 10), (10, 24)))
        observed = sorted((frame, attempt) for attempt, frames in FRAMES.items() for frame in frames)
        frame, attempt = np.array(observed).T
        x, y = np.where(attempt == 1, 0.2, 0.8), 0.7 - 0.02 * frame
        self.course = CourseRows(
            frame, frame / float(RATE), attempt.astype(np.int32), x, y, np.zeros(len(frame), np.bool_)
        )
        self.holds = HoldRows(
            np.array([1], np.int32), np.array(["left_hand"]), np.array([1], np.int32), np.array([0.5]), np.array([0.2]),
            np.array([12 / float(RATE) - 0.001]), np.array([18 / float(RATE) - 0.001]),
        )  # fmt: skip
        count = len(frame)
        self.poses = poses.PoseRows(
            frame, self.course.time_sec, self.course.attempt, np.ones(count, np.float32), np.zeros(count, np.bool_),
            np.stack([standing((a, b), 0.3, 640 / 360) for a, b in zip(x, y, strict=True)]),
            np.zeros((count, poses.LANDMARKS, 3), np.float32),
        )  # fmt: skip

    async def put(self) -> None:
        """Write everything to the store."""
        picture = encode_picture(np.full((360, 640, 3), GREY, np.uint8), ".png", 90)
        await self.store.put_bytes(keys.asset_source(f"wall-{self.job_id}"), picture)
        await self.store.put_bytes(showing_key(self.job_id), self.showing.to_bytes())
        await self.store.put_bytes(course_key(self.job_id), to_parquet(to_table(self.course, COURSE_SCHEMA)))
        await self.store.put_bytes(holds_key(self.job_id), to_parquet(to_table(self.holds, HOLD_SCHEMA)))
        for window, (first, stop) in enumerate(self.showing.windows):
            rows = self.poses.where((self.poses.frame_index >= first) & (self.poses.frame_index < stop))
            await self.store.put_bytes(poses_key(self.job_id, window), poses.rows_to_parquet(rows))

    def task(self, stage: str, window: int | None = None) -> task_pb2.Task:
        task = task_pb2.Task(task_id=f"{self.job_id}.{stage}.{window}", job_id=self.job_id, stage=stage)
        for attempt in (1, 2):
            task.inputs.add(camera=f"attempt{attempt}", asset_id=f"video-{attempt}")
        task.parameters.route_match.image_asset_id = f"wall-{self.job_id}"
        task.parameters.route_match.style.CopyFrom(self.style)
        for index in range(len(self.showing.windows)):
            task.windows.add(index=index, start_sec=index, stop_sec=index + 1)
        if window is not None:
            task.window.CopyFrom(task.windows[window])
        return task

    async def render_all(self, worker: Worker, bus: Bus) -> task_pb2.TaskDone:
        """Render every window, last first, and join them."""
        for window, (first, stop) in reversed(list(enumerate(self.showing.windows))):
            task = self.task("render", window)
            assert (await worker.render(task, TaskContext(bus, task))).frames == stop - first
        task = self.task("finalize")
        return await worker.finalize(task, TaskContext(bus, task))

    async def output(self, name: str = "annotated.mp4") -> bytes:
        return await self.store.get_bytes(keys.output(self.job_id, name))

    async def pictures(self) -> list[Image]:
        video = io.BytesIO(await self.output())
        return [frame.image for frame in decode(video, build_index(video))]

    def part_key(self, window: int, suffix: str = "nut") -> str:
        return keys.stage_result(self.job_id, "render", "all", window, suffix)


MakeClimb = Callable[..., Awaitable[Climb]]


@pytest.fixture
def make_climb(s3_store: ObjectStore, standing: Standing) -> MakeClimb:
    async def make(name: str, style: OverlayStyle = STYLE, **changes: Any) -> Climb:
        climb = Climb(s3_store, name, standing, style)
        climb.showing = replace(climb.showing, **changes)
        await climb.put()
        return climb

    return make


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def coloured(picture: Image, attempt: int, columns: Sequence[float] = (0.0, 1.0)) -> int:
    """How many pixels have an attempt's colour, within fractions of the width."""
    width = picture.shape[1]
    part = picture[:, round(columns[0] * width) : round(columns[1] * width)].astype(int)
    red, green, blue = part.transpose(2, 0, 1)
    return int(((red - green > 80) & (blue - green > 80)).sum() if attempt == 1 else (green - red > 80).sum())


def limbs(picture: Image, attempt: int) -> int:
    """How many pixels have an attempt's colour beside its way, which leads straight up."""
    middle = {1: 0.2, 2: 0.8}[attempt]
    return sum(coloured(picture, attempt, side) for side in ((0, middle - 0.01), (middle + 0.01, 1)))


async def test_every_frame_appears_once_at_its_time(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_climb: MakeClimb, scratch: Path
) -> None:
    climb = await make_climb("climb-times")
    done = await climb.render_all(worker, bus)
    video = io.BytesIO(await climb.output())
    index = build_index(video)
    np.testing.assert_allclose(index.times, np.arange(24) / float(RATE), atol=1e-4)
    assert index.duration_s == pytest.approx(24 / float(RATE), abs=1e-4)
    assert (index.width, index.height) == (640, 360)
    assert plays_in_browsers(video, index)
    assert not probe(video).has_audio
    assert video.getvalue().index(b"moov") < video.getvalue().index(b"mdat")
    assert done.frames == 24
    assert dict(done.summary) == {
        "frame_count": 24,
        "fps": pytest.approx(float(RATE), abs=1e-5),
        "width": 640,
        "height": 360,
        "duration_sec": pytest.approx(24 / float(RATE), abs=1e-5),
    }
    assert {output.name: output.content_type for output in done.outputs} == {
        "annotated.mp4": "video/mp4",
        "contact_sheet.jpg": "image/jpeg",
    }
    for output in done.outputs:
        stored = await s3_store.stat(keys.output("climb-times", output.name))
        assert (stored.size, stored.content_type) == (output.size_bytes, output.content_type)
    with pytest.raises(errors.NotFound):
        await s3_store.stat(climb.part_key(1))
    assert not left_in(scratch)


async def test_attempts_are_drawn_in_their_colours_while_they_are_there(
    worker: Worker, bus: Bus, make_climb: MakeClimb
) -> None:
    climb = await make_climb("climb-people")
    await climb.render_all(worker, bus)
    pictures = await climb.pictures()
    for number, picture in enumerate(pictures):
        assert limbs(picture, 1) > 100, number
        assert not coloured(picture, 2, (0.0, 0.6)), number
        assert not coloured(picture, 1, (0.6, 1.0)), number
        there = limbs(picture, 2)
        assert there > 100 if number in FRAMES[2] else not there, (number, there)
    assert not coloured(pictures[5], 2)
    assert abs(pictures[0][:, 380:].mean() - DIMMED) < 3
    kept = pictures[23][:, 380:].astype(int)  # the way stays when the climber has gone
    assert (np.abs(kept - round(DIMMED)).max(axis=2) > 30).sum() > 20


async def test_holds_are_filled_while_they_are_held(worker: Worker, bus: Bus, make_climb: MakeClimb) -> None:
    climb = await make_climb("climb-holds")
    await climb.render_all(worker, bus)
    for number, picture in enumerate(await climb.pictures()):
        around, middle = picture[60:84, 308:332], picture[70:74, 318:322]
        assert (coloured(around, 1) > 20) == (number >= 12), number
        assert (coloured(middle, 1) > 8) == (12 <= number < 18), number


async def test_what_was_filled_in_looks_different(worker: Worker, bus: Bus, make_climb: MakeClimb) -> None:
    climb = await make_climb("climb-filled-in")
    climb.course = replace(climb.course, interpolated=climb.course.frame_index >= 20)
    await climb.put()
    await climb.render_all(worker, bus)
    pictures = await climb.pictures()
    # Without joints, which are white; what there is of bones is left.
    assert [int((picture.min(axis=2) > 170).sum()) > 10 for picture in pictures[18:22]] == [True, True, False, False]
    assert 20 < limbs(pictures[21], 1) < limbs(pictures[19], 1)


async def test_rendering_twice_gives_the_same_bytes(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_climb: MakeClimb
) -> None:
    climb = await make_climb("climb-twice", OverlayStyle(trail_sec=0.3, side_by_side=True))
    names = [
        *(climb.part_key(window, suffix) for window in (0, 2) for suffix in ("nut", "cells")),
        *(keys.output("climb-twice", name) for name in ("annotated.mp4", "contact_sheet.jpg")),
    ]
    kept = []
    for _ in range(2):
        done = await climb.render_all(worker, bus)
        kept.append([await s3_store.get_bytes(name) for name in names])
    assert kept[0] == kept[1]
    assert not order_of(climb.task("render", 0)).style.side_by_side
    assert (done.summary["width"], done.summary["height"]) == (640, 360)  # nothing to be put beside it


async def test_borders_of_windows_do_not_show(worker: Worker, bus: Bus, make_climb: MakeClimb) -> None:
    cut = await make_climb("climb-cut", windows=((0, 5), (5, 6), (6, 13), (13, 24)))
    whole = await make_climb("climb-whole", windows=((0, 24),))
    for climb in (cut, whole):
        await climb.render_all(worker, bus)
    for one, other in zip(await cut.pictures(), await whole.pictures(), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 1  # coded anew from every keyframe, so not quite equal


async def test_the_contact_sheet_is_spread_over_all_windows(worker: Worker, bus: Bus, make_climb: MakeClimb) -> None:
    climb = await make_climb("climb-sheet")
    await climb.render_all(worker, bus)
    sheet = decode_picture(await climb.output("contact_sheet.jpg"), 10_000_000)
    assert sheet.shape == (3 * 184 + 4, 3 * 324 + 4, 3)
    cells = [sheet[4 + row * 184 :, 4 + column * 324 :][:180, :320] for row in range(3) for column in range(3)]
    assert [limbs(cell, 2) > 15 for cell in cells] == [False] * 2 + [True] * 5 + [False] * 2


@pytest.mark.parametrize(
    ("size", "shown"), [((641, 361), (640, 360)), ((4000, 3000), (1920, 1440)), ((900, 2700), (640, 1920))]
)
async def test_the_output_is_even_and_not_too_large(
    worker: Worker, bus: Bus, make_climb: MakeClimb, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    climb = await make_climb(f"climb-{size[0]}", width=size[0], height=size[1], windows=((0, 2),))
    picture = encode_picture(np.full((size[1], size[0], 3), GREY, np.uint8), ".jpg", 90)
    await climb.store.put_bytes(keys.asset_source(f"wall-{climb.job_id}"), picture)
    done = await climb.render_all(worker, bus)
    assert (done.summary["width"], done.summary["height"]) == shown
    assert (await climb.pictures())[0].shape == (shown[1], shown[0], 3)


async def test_labels_can_be_hidden(worker: Worker, bus: Bus, make_climb: MakeClimb) -> None:
    bare = await make_climb("climb-bare", windows=((0, 2),))
    labelled = await make_climb("climb-labelled", OverlayStyle(colors=STYLE.colors), windows=((0, 2),))
    legends = []
    for climb in (bare, labelled):
        await climb.render_all(worker, bus)
        legends.append((await climb.pictures())[0][:80, :90])
    assert np.ptp(legends[0].astype(int)) < 8
    assert coloured(legends[1], 1) > 300
    assert np.ptp(legends[1].astype(int)) > 100


async def test_progress_is_told_frame_by_frame(worker: Worker, bus: Bus, make_climb: MakeClimb) -> None:
    climb = await make_climb("climb-progress", windows=((0, 24),), width=1920, height=1080)
    told: list[float] = []

    class Told(TaskContext):
        async def report(self, fraction: float) -> None:
            told.append(fraction)

    task = climb.task("render", 0)
    await worker.render(task, Told(bus, task))
    assert told == pytest.approx([(frame + 1) / 24 for frame in range(24)])


async def test_cancelling_leaves_nothing(
    worker: Worker,
    bus: Bus,
    s3_store: ObjectStore,
    make_climb: MakeClimb,
    scratch: Path,
    cancelling: type[TaskContext],
) -> None:
    climb = await make_climb("climb-cancelled")
    task = climb.task("render", 0)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(worker.render(task, cancelling(bus, task)))
    assert not left_in(scratch)
    with pytest.raises(errors.NotFound):
        await s3_store.stat(climb.part_key(0))
    await climb.render_all(worker, bus)
    await s3_store.delete([keys.output("climb-cancelled", "annotated.mp4")])
    task = climb.task("finalize")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(worker.finalize(task, cancelling(bus, task)))
    assert not left_in(scratch)
    with pytest.raises(errors.NotFound):
        await s3_store.stat(keys.output("climb-cancelled", "annotated.mp4"))


@pytest.mark.parametrize("missing", ["picture", "course", "holds", "showing", "poses"])
async def test_what_is_missing_is_an_answer(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_climb: MakeClimb, scratch: Path, missing: str
) -> None:
    name = f"climb-no-{missing}"
    climb = await make_climb(name)
    key = {
        "picture": keys.asset_source(f"wall-{name}"),
        "course": course_key(name),
        "holds": holds_key(name),
        "showing": showing_key(name),
        "poses": poses_key(name, 0),
    }[missing]
    await s3_store.delete([key])
    task = climb.task("render", 0)
    with pytest.raises(errors.NotFound) as caught:
        await worker.render(task, TaskContext(bus, task))
    assert caught.value.reason == "OBJECT_NOT_FOUND"
    assert not left_in(scratch)


async def test_parts_that_are_missing_or_short_are_an_answer(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_climb: MakeClimb
) -> None:
    climb = await make_climb("climb-short")
    await climb.render_all(worker, bus)
    task = climb.task("finalize")
    more = replace(climb.showing, windows=((0, 10), (10, 10), (10, 25)))
    await s3_store.put_bytes(showing_key("climb-short"), more.to_bytes())
    with pytest.raises(errors.Internal) as caught:
        await worker.finalize(task, TaskContext(bus, task))
    assert caught.value.reason == "FRAMES_MISSING"
    await s3_store.delete([climb.part_key(2)])
    with pytest.raises(errors.NotFound):
        await worker.finalize(task, TaskContext(bus, task))
    nothing = replace(climb.showing, windows=((0, 0), (0, 0), (0, 0)))
    await s3_store.put_bytes(showing_key("climb-short"), nothing.to_bytes())
    with pytest.raises(errors.InvalidArgument) as refused:
        await worker.finalize(task, TaskContext(bus, task))
    assert refused.value.reason == "NO_PARTS"


async def test_what_cannot_be_is_refused(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_climb: MakeClimb
) -> None:
    climb = await make_climb("climb-broken")

    async def reason(task: task_pb2.Task) -> str:
        with pytest.raises(errors.KinemeshError) as caught:
            await worker.render(task, TaskContext(bus, task))
        return caught.value.reason

    unknown = climb.task("render", 0)
    unknown.window.index = 3
    assert await reason(unknown) == "WINDOW_NOT_SHOWN"
    styled = climb.task("render", 0)
    styled.parameters.route_match.style.colors.append("pink")
    assert await reason(styled) == "INVALID_STYLE"
    nameless = climb.task("render", 0)
    nameless.parameters.route_match.image_asset_id = ""
    assert await reason(nameless) == "INVALID_ID"
    await s3_store.put_bytes(keys.asset_source("wall-climb-broken"), b"no picture")
    assert await reason(climb.task("render", 0)) == "NOT_A_PICTURE"
    for changed in (b"{}", replace(climb.showing, frame_rate=Fraction(0)).to_bytes()):
        await s3_store.put_bytes(showing_key("climb-broken"), changed)
        assert await reason(climb.task("render", 0)) == "INVALID_SHOWING"


async def test_nobody_at_all(worker: Worker, bus: Bus, make_climb: MakeClimb) -> None:
    climb = await make_climb("climb-nobody")
    nobody = np.zeros(len(climb.course), np.bool_)
    climb.course, climb.poses = select(climb.course, nobody), climb.poses.where(nobody)
    climb.holds = select(climb.holds, np.zeros(1, np.bool_))
    await climb.put()
    assert (await climb.render_all(worker, bus)).frames == 24
    assert abs((await climb.pictures())[12].mean() - DIMMED) < 3
