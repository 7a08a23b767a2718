"""Videos of tracked objects and zones, with the real object store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.tasks import TaskContext
from kinemesh.job.v1.parameters_pb2 import OverlayStyle
from kinemesh.media import build_index, decode, probe
from kinemesh.media.synthetic import read_number
from kinemesh.results.tracks import TrackRows, empty_rows
from kinemesh.storage import ObjectStore, keys
from kinemesh_render.worker import Worker

MakeJob = Callable[..., Awaitable[Any]]

STEADY = [3000 * number for number in range(40)]
UNEVEN = list(accumulate([5000, *(1500 * (1 + number % 3) + number for number in range(39))]))
SIZE = (384, 216)
FIRST, LAST = 5, 35
CORNERS = [(0.05, 0.7), (0.4, 0.7), (0.4, 0.95), (0.05, 0.95)]


def crossing(times: NDArray[np.float64]) -> TrackRows:
    """One object that crosses the picture from left to right and was not seen in the middle of its way."""
    frames = np.arange(FIRST, LAST)
    left = 20 + 8 * (frames - FIRST)
    box = np.stack([left, np.full(len(frames), 60), left + 60, np.full(len(frames), 120)], axis=1)
    return TrackRows(
        frames, times[frames], np.full(len(frames), 1, np.int32), box.astype(np.float32),
        np.full(len(frames), 0.8, np.float32), np.zeros(len(frames), np.int16), (frames >= 15) & (frames < 25),
    )  # fmt: skip


def report(times: NDArray[np.float64]) -> dict[str, Any]:
    polygon = [{"x": x, "y": y} for x, y in CORNERS]
    visit = {"track_id": 1, "start_sec": round(float(times[10]), 6), "end_sec": round(float(times[30]), 6)}
    zones = [{"name": "box 4", "polygon": polygon, "visits": [visit]}]
    return {"objects": [{"track_id": 1, "label": "car"}], "zones": zones}


@pytest.fixture
def make_pitstop(make_job: MakeJob) -> MakeJob:
    async def make(name: str, *, cuts: list[int], pts: list[int] = STEADY, **options: Any) -> Any:
        job = await make_job(name, cuts=cuts, pts=pts, pipeline="pitstop", size=SIZE, **options)
        await job.put_tracks(crossing(job.index.times), report(job.index.times))
        return job

    return make


async def differences(job: Any) -> list[NDArray[np.int64]]:
    originals = [frame.image for frame in decode(job.clip, job.index)]
    return [
        np.abs(drawn.astype(int) - original).max(axis=2)
        for drawn, original in zip(await job.pictures(), originals, strict=True)
    ]


@pytest.mark.parametrize("pts", [STEADY, UNEVEN], ids=["steady", "uneven"])
async def test_every_frame_appears_once_at_its_time(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_pitstop: MakeJob, pts: list[int]
) -> None:
    job = await make_pitstop(f"pit-{pts[0]}", cuts=[0, 7, 8, 29], pts=pts, audio="aac")
    done = await job.render_all(worker, bus, style=OverlayStyle(hide_labels=True))
    video = await job.video()
    index = build_index(video)
    np.testing.assert_allclose(index.times, job.index.times, atol=1e-3)
    shown = [read_number(frame.image) for frame in decode(video, index)]
    assert [number for frame, number in enumerate(shown) if not FIRST <= frame < LAST] == [
        *range(FIRST),
        *range(LAST, 40),
    ]
    assert probe(video).audio_codec == "aac"
    assert {output.name for output in done.outputs} == {"annotated.mp4", "contact_sheet.jpg"}
    assert (done.summary["frame_count"], done.summary["width"], done.summary["height"]) == (40, *SIZE)
    for output in done.outputs:
        assert (await s3_store.stat(keys.output(job.job_id, output.name))).size == output.size_bytes


async def test_boxes_are_drawn_where_objects_are_and_dashed_where_nobody_saw_them(
    worker: Worker, bus: Bus, make_pitstop: MakeJob
) -> None:
    job = await make_pitstop("boxes", cuts=[0, 20])
    await job.render_all(worker, bus, style=OverlayStyle(colors=["#FF00FF"], hide_labels=True))
    for frame, changed in enumerate(await differences(job)):
        edge = changed[58:63, :].max(axis=0) > 100  # the upper edge of the box
        if not FIRST <= frame < LAST:
            assert edge.sum() < 5, frame
            continue
        left = 20 + 8 * (frame - FIRST)
        assert edge[left : left + 60].mean() > (0.35 if 15 <= frame < 25 else 0.8), frame
        assert (edge[left + 4 : left + 56].mean() < 0.9) == (15 <= frame < 25), frame
        assert edge[: left - 6].sum() + edge[left + 66 :].sum() < 8, frame


async def test_zones_are_drawn_and_amber_while_somebody_is_inside(
    worker: Worker, bus: Bus, make_pitstop: MakeJob
) -> None:
    job = await make_pitstop("zones", cuts=[0, 13], images=[np.full((216, 384, 3), 60, np.uint8)] * 40)
    await job.render_all(worker, bus, style=OverlayStyle(hide_labels=True))
    red, _, blue = np.array([picture[170:190, 40:140].mean(axis=(0, 1)) for picture in await job.pictures()]).T
    assert (red > 65).all()
    amber = red - blue > 20
    assert amber.tolist() == [10 <= frame < 30 for frame in range(40)]


async def test_captions_and_dwell_are_drawn(worker: Worker, bus: Bus, make_pitstop: MakeJob) -> None:
    images = [np.full((216, 384, 3), 60, np.uint8)] * 40
    named = await make_pitstop("named", cuts=[0], images=images)
    bare = await make_pitstop("unnamed", cuts=[0], images=images)
    await named.render_all(worker, bus)
    await bare.render_all(worker, bus, style=OverlayStyle(hide_labels=True))
    pictures = await named.pictures()
    changed = [
        np.abs(one.astype(int) - other).max(axis=2) > 60
        for one, other in zip(pictures, await bare.pictures(), strict=True)
    ]
    left = 20 + 8 * (8 - FIRST)
    assert changed[8][44:60, left : left + 40].mean() > 0.3  # the caption above the box
    assert changed[8][185:208, 15:60].mean() > 0.2  # the zone's name
    assert changed[20][185:208, 60:120].mean() > changed[8][185:208, 60:120].mean() + 0.2  # and who is in it
    counted = [picture[185:208, 60:120].astype(int) for picture in pictures[12:29]]
    assert max(np.abs(a - b).max() for a, b in pairwise(counted)) > 60  # for how long, by tenths


async def test_segment_borders_do_not_show(worker: Worker, bus: Bus, make_pitstop: MakeJob) -> None:
    style = OverlayStyle(trail_sec=1.0, line_thickness=12)
    whole = await make_pitstop("pit-whole", cuts=[0])
    cut = await make_pitstop("pit-cut", cuts=[0, 9, 15, 18, 25])
    await whole.render_all(worker, bus, style=style)
    await cut.render_all(worker, bus, style=style)
    for one, other in zip(await whole.pictures(), await cut.pictures(), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 3  # coded anew from every keyframe, so not quite equal


async def test_trails_are_drawn_side_by_side_with_the_original(worker: Worker, bus: Bus, make_pitstop: MakeJob) -> None:
    images = [np.full((216, 384, 3), 60, np.uint8)] * 40
    job = await make_pitstop("pit-beside", cuts=[0, 20], images=images)
    done = await job.render_all(
        worker, bus, style=OverlayStyle(trail_sec=1, side_by_side=True, hide_labels=True, line_thickness=12)
    )
    assert (done.summary["width"], done.summary["height"]) == (768, 216)
    picture = (await job.pictures())[30]
    assert np.abs(picture[:, :384].astype(int) - 60).max() < 12
    left = 20 + 8 * (30 - FIRST)
    assert (np.abs(picture[116:125, 384 + left - 60 : 384 + left - 10].astype(int) - 60).max(axis=(0, 2)) > 40).all()


async def test_rendering_twice_gives_the_same_bytes(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_pitstop: MakeJob
) -> None:
    job = await make_pitstop("pit-twice", cuts=[0, 13], pts=UNEVEN, audio="libopus")
    names = [job.part_key(0), *(keys.output(job.job_id, name) for name in ("annotated.mp4", "contact_sheet.jpg"))]
    kept = []
    for _ in range(2):
        await job.render_all(worker, bus, style=OverlayStyle(trail_sec=0.5))
        kept.append([await s3_store.get_bytes(name) for name in names])
    assert kept[0] == kept[1]


async def test_nothing_found_is_a_video_too(worker: Worker, bus: Bus, make_pitstop: MakeJob) -> None:
    job = await make_pitstop("pit-empty", cuts=[0, 20])
    await job.put_tracks(empty_rows(), {"objects": [], "zones": []})
    await job.render_all(worker, bus, style=OverlayStyle(trail_sec=2))
    assert max(float((changed > 100).mean()) for changed in await differences(job)) < 0.001


async def test_a_report_that_cannot_be_read_is_told(worker: Worker, bus: Bus, make_pitstop: MakeJob) -> None:
    job = await make_pitstop("pit-broken", cuts=[0])
    reports: tuple[dict[str, Any], ...] = (
        {},
        {"objects": [{}], "zones": []},
        {"objects": [], "zones": [{"name": "x"}]},
    )
    for broken in reports:
        await job.put_tracks(empty_rows(), broken)
        task = job.task("render", 0)
        with pytest.raises(errors.Internal) as caught:
            await worker.render(task, TaskContext(bus, task))
        assert caught.value.reason == "INVALID_REPORT"
