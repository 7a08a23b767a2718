"""Rendering and joining, with the real broker and object store."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.events import job_event, publish_event
from kinemesh.bus.tasks import TaskContext, work
from kinemesh.bus.topology import outcome_subject, task_subject
from kinemesh.event.v1 import event_pb2
from kinemesh.inference import TritonClient, TritonSettings
from kinemesh.job.v1.parameters_pb2 import OverlayStyle
from kinemesh.media import build_index, decode, probe
from kinemesh.media.synthetic import read_number
from kinemesh.results.poses import PoseRows, concatenate, empty_rows
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh_render.domain.canvas import on_rgb
from kinemesh_render.faces import FaceFinder
from kinemesh_render.settings import EncoderSettings, WorkSettings
from kinemesh_render.worker import Worker

MakeJob = Callable[..., Awaitable[Any]]
Image = NDArray[np.uint8]

STEADY = [3000 * number for number in range(40)]
UNEVEN = list(accumulate([5000, *(1500 * (1 + number % 3) + number for number in range(39))]))
OUTPUTS = ("annotated.mp4", "contact_sheet.jpg")


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def noise(frames: int, lines: int = 216) -> list[Image]:
    """Pictures whose detail can be destroyed: the same noise again and again."""
    image = np.kron(np.random.default_rng(2).integers(0, 256, (lines // 2, 192, 1)), np.ones((2, 2, 3)))
    return [image.astype(np.uint8)] * frames


@pytest.mark.parametrize("pts", [STEADY, UNEVEN], ids=["steady", "uneven"])
async def test_every_frame_appears_once_at_its_time(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob, pts: list[int], scratch: Path
) -> None:
    job = await make_job(f"times-{pts[0]}", cuts=[0, 7, 8, 29], pts=pts, audio="aac")
    done = await job.render_all(worker, bus)

    video = io.BytesIO(await s3_store.get_bytes(keys.output(job.job_id, "annotated.mp4")))
    index = build_index(video)
    np.testing.assert_allclose(index.times, job.index.times, atol=1e-3)
    assert [read_number(frame.image) for frame in decode(video, index)] == list(range(40))
    assert probe(video).audio_codec == "aac"
    assert video.getvalue().index(b"moov") < video.getvalue().index(b"mdat")
    assert dict(done.summary) == {
        "frame_count": 40,
        "fps": pytest.approx(float(job.index.frame_rate), rel=1e-3),
        "width": 192,
        "height": 108,
        "duration_sec": pytest.approx(job.index.duration_s, abs=2e-3),
    }
    assert {output.name: output.content_type for output in done.outputs} == {
        "annotated.mp4": "video/mp4",
        "contact_sheet.jpg": "image/jpeg",
    }
    for output in done.outputs:
        stored = await s3_store.stat(keys.output(job.job_id, output.name))
        assert (stored.size, stored.content_type) == (output.size_bytes, output.content_type)
    assert not left_in(scratch)


async def test_people_are_drawn_where_they_are_and_nobody_elsewhere(
    bus: Bus, s3_store: ObjectStore, make_job: MakeJob, worker: Worker
) -> None:
    job = await make_job("people", cuts=[0, 20], pts=STEADY)
    await job.render_all(worker, bus, style=OverlayStyle(colors=["#FF00FF"], hide_labels=True))
    originals = [frame.image for frame in decode(job.clip, job.index)]
    for number, (drawn, original) in enumerate(zip(await job.pictures(), originals, strict=True)):
        changed = int((np.abs(drawn.astype(int) - original)[:40].max(axis=2) > 100).sum())
        assert changed > 50 if 40 // 3 <= number < 80 // 3 else changed < 5, (number, changed)


@pytest.mark.parametrize("lines", [216, 214])
async def test_what_is_not_drawn_on_keeps_its_colours(
    bus: Bus, s3_store: ObjectStore, make_job: MakeJob, scratch: Path, lines: int
) -> None:
    """Frames are drawn on as they were decoded: nothing but the encoder's rounding changes them."""
    async with TritonClient(TritonSettings()) as triton:
        work = WorkSettings(scratch_dir=scratch)
        worker = Worker(s3_store, FaceFinder(triton, "none"), IN_PROCESS, EncoderSettings(crf=0), work)
        pictured = noise(6, lines)
        job = await make_job(f"colours-{lines}", cuts=[0], pts=STEADY[:6], images=pictured, poses=empty_rows())
        await job.render_all(worker, bus)
    originals = [frame.image for frame in decode(job.clip, job.index)]
    for drawn, original in zip(await job.pictures(), originals, strict=True):
        np.testing.assert_array_equal(drawn, original)


async def test_segment_borders_do_not_show(worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob) -> None:
    """Trails reach back over borders: however a clip is cut, the drawn pictures are alike."""
    style = OverlayStyle(trail_sec=1.0, line_thickness=12)
    whole = await make_job("whole", cuts=[0], pts=STEADY)
    cut = await make_job("cut", cuts=[0, 15, 18, 25], pts=STEADY)
    await whole.render_all(worker, bus, style=style)
    await cut.render_all(worker, bus, style=style)
    for one, other in zip(await whole.pictures(), await cut.pictures(), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 3  # coded anew from every keyframe, so not quite equal


async def test_rendering_twice_gives_the_same_bytes(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob
) -> None:
    job = await make_job("twice", cuts=[0, 13], pts=UNEVEN, audio="aac")
    names = [
        job.part_key(0),
        job.part_key(1),
        *(keys.output("twice", n) for n in ("annotated.mp4", "contact_sheet.jpg")),
    ]
    style = OverlayStyle(trail_sec=0.5, side_by_side=True)
    await job.render_all(worker, bus, style=style)
    first = [await s3_store.get_bytes(name) for name in names]
    await job.render_all(worker, bus, style=style)
    assert [await s3_store.get_bytes(name) for name in names] == first


async def test_side_by_side_is_twice_as_wide_and_keeps_the_original(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob
) -> None:
    job = await make_job("beside", cuts=[0, 20], pts=STEADY)
    done = await job.render_all(worker, bus, style=OverlayStyle(side_by_side=True))
    assert (done.summary["width"], done.summary["height"]) == (384, 108)
    picture = (await job.pictures())[20]
    original = next(decode(job.clip, job.index, 20, 21)).image
    assert np.abs(picture[:, :192].astype(int) - original).mean() < 8
    assert (np.abs(picture[:40, 192:].astype(int) - original[:40]).max(axis=2) > 80).any()


async def test_rotated_sources_come_out_upright(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob
) -> None:
    job = await make_job("rotated", cuts=[0, 20], pts=STEADY, rotation=90)
    done = await job.render_all(worker, bus)
    assert (done.summary["width"], done.summary["height"]) == (job.index.width, job.index.height)
    assert [read_number(image) for image in await job.pictures()] == list(range(40))


async def test_nobody_at_all(worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob) -> None:
    job = await make_job("nobody", cuts=[0], pts=STEADY[:5], poses=empty_rows())
    assert (await job.render_all(worker, bus, style=OverlayStyle(trail_sec=2))).frames == 5


async def test_cancelling_stops_soon_and_leaves_nothing(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob, scratch: Path
) -> None:
    job = await make_job("cancelled", cuts=[0], pts=[3000 * n for n in range(600)])
    task = job.task("render", 0)
    begun = asyncio.Event()

    class Watched(TaskContext):
        async def report(self, fraction: float) -> None:
            begun.set()

    threads = threading.active_count()
    running = asyncio.create_task(worker.render(task, Watched(bus, task)))
    await asyncio.wait_for(begun.wait(), 30)
    assert left_in(scratch)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    assert not left_in(scratch)
    assert threading.active_count() <= threads + 16  # only the pools' idle threads
    with pytest.raises(errors.NotFound):
        await s3_store.stat(job.part_key(0))


async def test_cancelling_while_parts_are_joined_leaves_nothing(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob, scratch: Path, cancelling: type[TaskContext]
) -> None:
    job = await make_job("half-joined", cuts=[0, 20], pts=STEADY)
    for segment in range(2):
        task = job.task("render", segment)
        await worker.render(task, TaskContext(bus, task))

    task = job.task("finalize")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(worker.finalize(task, cancelling(bus, task)))
    assert not left_in(scratch)
    for name in OUTPUTS:
        with pytest.raises(errors.NotFound):
            await s3_store.stat(keys.output(job.job_id, name))


async def test_a_missing_part_is_an_answer(worker: Worker, bus: Bus, make_job: MakeJob, scratch: Path) -> None:
    job = await make_job("missing", cuts=[0, 20], pts=STEADY)
    task = job.task("finalize")
    with pytest.raises(errors.NotFound):
        await worker.finalize(task, TaskContext(bus, task))
    assert not left_in(scratch)


async def test_bad_styles_and_other_pipelines_are_refused(worker: Worker, bus: Bus, make_job: MakeJob) -> None:
    job = await make_job("refused", cuts=[0], pts=STEADY[:3])
    task = job.task("render", 0, style=OverlayStyle(colors=["pink"]))
    with pytest.raises(errors.InvalidArgument, match="#RRGGBB"):
        await worker.render(task, TaskContext(bus, task))
    task.parameters.Clear()
    with pytest.raises(errors.Unimplemented):
        await worker.render(task, TaskContext(bus, task))


async def test_faces_are_blurred_on_both_sides_and_across_borders(
    bus: Bus, s3_store: ObjectStore, make_job: MakeJob, faces: FaceFinder, scratch: Path
) -> None:
    worker = Worker(s3_store, faces, IN_PROCESS, EncoderSettings(crf=8), WorkSettings(scratch_dir=scratch))
    job = await make_job("faces", cuts=[0, 5, 7], pts=STEADY[:12], images=noise(12), poses=empty_rows())
    await job.render_all(worker, bus, blur_faces=True, style=OverlayStyle(side_by_side=True))
    original = next(decode(job.clip, job.index, 0, 1)).image
    (boxes,) = await faces.find([on_rgb(original)])
    assert len(boxes) >= 2
    for picture in await job.pictures():
        for left in (0, 384):
            for x1, y1, x2, y2 in boxes.round().astype(int):
                hidden = picture[y1:y2, left + x1 : left + x2]
                assert likeness(hidden, original[y1:y2, x1:x2]) < 0.45
        assert likeness(picture[:24, :384], original[:24]) > 0.9


def likeness(one: Image, other: Image) -> float:
    """Correlation of the pictures' detail, 0 to 1."""
    one_detail, other_detail = (np.diff(image.astype(float), axis=1).ravel() for image in (one, other))
    return float(np.corrcoef(one_detail, other_detail)[0, 1])


def detail(image: Image) -> float:
    """Mean difference of neighbouring pixels."""
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean())


async def test_heads_of_known_people_are_blurred_also_if_they_are_not_drawn(
    bus: Bus, s3_store: ObjectStore, make_job: MakeJob, faces: FaceFinder, scratch: Path, standing: Any
) -> None:
    worker = Worker(s3_store, faces, IN_PROCESS, EncoderSettings(crf=8), WorkSettings(scratch_dir=scratch))
    job = await make_job("heads", cuts=[0], pts=STEADY[:6], images=noise(6), poses=empty_rows())
    landmarks = standing((0.5, 0.95), 0.6, aspect=384 / 216)
    row = PoseRows(
        np.array([2]), job.index.times[[2]], np.array([1], np.int32), np.ones(1, np.float32), np.zeros(1, np.bool_),
        landmarks[None], np.zeros((1, 33, 3), np.float32),
    )  # fmt: skip
    await job.put_poses("pose", concatenate([row]))
    await job.render_all(worker, bus, blur_faces=True)
    nose = (landmarks[0, :2] * (384, 216)).round().astype(int)
    around = np.s_[nose[1] - 8 : nose[1] + 8, nose[0] - 8 : nose[0] + 8]
    details = [detail(picture[around]) for picture in await job.pictures()]
    assert max(details[2:]) < 0.3 * min(details[:2])  # carried over the frames after it


async def test_a_task_from_the_broker(worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob) -> None:
    job = await make_job("brokered", cuts=[0], pts=STEADY)
    outcomes = await bus.client.subscribe(outcome_subject(job.job_id))
    state = event_pb2.StateChanged(state="RUNNING")
    await publish_event(bus, job_event(job.job_id, state=state), "brokered.running")
    stop = asyncio.Event()
    working = asyncio.create_task(work(bus, [("render", worker.render, 1), ("finalize", worker.finalize, 1)], stop))
    endings = []
    for stage, segment in (("render", 0), ("finalize", None)):
        task = job.task(stage, segment)
        await bus.publish(task_subject(stage), task, task.task_id)
        outcome = task_pb2.TaskOutcome.FromString((await outcomes.next_msg(timeout=60)).data)
        endings.append((outcome.stage, outcome.WhichOneof("ending"), outcome.done.frames))
    stop.set()
    await working
    assert endings == [("render", "done", 40), ("finalize", "done", 40)]
    assert await s3_store.stat(keys.output(job.job_id, "annotated.mp4"))
