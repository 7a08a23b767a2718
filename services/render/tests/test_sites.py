"""Videos of a site's cameras and the mosaic of all of them, with the real object store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.tasks import TaskContext
from kinemesh.environment.v1 import environment_pb2
from kinemesh.job.v1.parameters_pb2 import OverlayStyle
from kinemesh.media import build_index, plays_in_browsers, probe
from kinemesh.media.picture import encode_picture
from kinemesh.storage import ObjectStore, keys
from kinemesh_render.domain.grid import grid_of
from kinemesh_render.domain.mosaic import HEIGHT, WIDTH
from kinemesh_render.mosaic import Mosaics
from kinemesh_render.worker import Worker

MakeSite = Callable[..., Awaitable[Any]]
Image = NDArray[np.uint8]

GREY = 60
SIZE = (384, 216)
STYLE = OverlayStyle(colors=["#FF00FF", "#00FF00"], hide_labels=True)
GLOBAL_ID = "a3f90000-0000-5000-8000-000000000001"


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def grey(frames: int, size: tuple[int, int] = SIZE) -> list[Image]:
    return [np.full((size[1], size[0], 3), GREY, np.uint8)] * frames


def ticks(frames: int, rate: int) -> list[int]:
    return [90_000 // rate * frame for frame in range(frames)]


def site(**zones: Sequence[tuple[float, float]]) -> environment_pb2.Environment:
    """Two cameras that see the map from above, 100 pixels to the metre, on a floor of 4 by 2 metres."""
    made = environment_pb2.Environment(environment_id="hall", display_name="Hall")
    for camera in ("a", "b"):
        added = made.cameras.add(camera=camera, display_name=f"Camera {camera}")
        added.homography.image_to_map.values.extend([0.01, 0, 0, 0, 0.01, 0, 0, 0, 1])
    for name, corners in zones.items():
        zone = made.zones.add(zone=name)
        for x, y in corners:
            zone.map.corners.add(x=x, y=y)
    made.ground_plane.width, made.ground_plane.height = 4, 2
    return made


def seen(recording: str, frame: int, time: float, person: int, box: Sequence[float], **more: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "time_sec": time, "camera": recording.partition(".")[0], "recording": recording, "camera_frame_index": frame,
        "track_id": person + 10, "person": person, "global_id": GLOBAL_ID, "score": 0.9,
        "x1": x1, "y1": y1, "x2": x2, "y2": y2, **more,
    }  # fmt: skip


def at(step: int, time: float, person: int, x: float, y: float, cameras: int = 1) -> Mapping[str, Any]:
    return {"step": step, "time_sec": time, "person": person, "x": x, "y": y, "cameras": cameras}


def magenta(picture: Image) -> NDArray[np.bool_]:
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return np.asarray((red > 150) & (blue > 150) & (green < 90))


@pytest.fixture
def make_two(make_site: MakeSite) -> MakeSite:
    """Camera a has two recordings with a second between them, the other smaller and of another shape and rate."""

    async def make(name: str, environment: environment_pb2.Environment | None = None, **options: Any) -> Any:
        recordings = {
            "a": (grey(20), ticks(20, 20), 0.0, [0, 7]),
            "a.2": (grey(10, (100, 100)), ticks(10, 10), 2.0, [0]),
            "b": (grey(15), ticks(15, 10), 0.5, [0, 8]),
        }
        made = site() if environment is None else environment
        options = {"windows": [0, 1, 3], "style": STYLE, **options}
        return await make_site(name, recordings=recordings, environment=made, **options)

    return make


async def test_a_camera_has_one_video_of_all_its_recordings(
    worker: Worker, mosaics: Mosaics, bus: Bus, s3_store: ObjectStore, make_two: MakeSite, scratch: Path
) -> None:
    job = await make_two("site-videos")
    done = await job.render_all(worker, mosaics, bus)
    assert [output.name for output in done.outputs] == ["a.mp4", "b.mp4", "mosaic.mp4"]
    for output in done.outputs:
        stored = await s3_store.stat(keys.output("site-videos", output.name))
        assert (stored.size, stored.content_type) == (output.size_bytes, "video/mp4")
        video = await job.video(output.name)
        assert plays_in_browsers(video, build_index(video))
        assert not probe(video).has_audio
        assert video.getvalue().index(b"moov") < video.getvalue().index(b"mdat")
    index = build_index(await job.video("a.mp4"))
    np.testing.assert_allclose(index.times, [*np.arange(20) / 20, *(2 + np.arange(10) / 10)], atol=1e-4)
    assert (index.width, index.height, round(index.duration_s, 3)) == (*SIZE, 3.0)
    pictures = await job.pictures("a.mp4")
    later = pictures[25]
    assert abs(later[:, 84:300].astype(int) - GREY).max() < 6  # 216 pixels wide, in the middle
    assert later[:, :80].max() < 6
    assert later[:, 304:].max() < 6
    assert done.frames == 45
    assert not left_in(scratch)


async def test_a_person_has_one_colour_in_all_cameras_and_on_the_map(
    worker: Worker, mosaics: Mosaics, bus: Bus, make_two: MakeSite
) -> None:
    job = await make_two("site-colours")
    box = (100, 60, 140, 160)
    await job.put_people(
        [
            *(seen("a", frame, frame / 20, 1, box) for frame in range(20)),
            *(seen("a.2", frame, 2 + frame / 10, 1, (20, 20, 60, 80)) for frame in range(10)),
            *(seen("b", frame, 0.5 + frame / 10, 1, box) for frame in range(15)),
        ],
        [at(step, step / 20, 1, 1.2, 1.6) for step in range(60)],
    )
    await job.render_all(worker, mosaics, bus)
    for name in ("a.mp4", "b.mp4"):
        picture = (await job.pictures(name))[5]
        assert magenta(picture[58:63, 105:135]).any(axis=0).mean() > 0.9, name
        assert not magenta(picture[:, :90]).any()
        assert not magenta(picture[:, 150:]).any()
    later = (await job.pictures("a.mp4"))[25]  # 2.16 times as large, 84 pixels from the left
    assert magenta(later[43 - 4 : 43 + 5, 84 + 50 : 84 + 120]).any(axis=0).mean() > 0.9
    mosaic = (await job.pictures("mosaic.mp4"))[8]
    grid = grid_of(2, WIDTH, HEIGHT, SIZE[0] / SIZE[1])
    for x, y, width, height in (*grid.cells, grid.floor):
        assert magenta(mosaic[y : y + height, x : x + width]).sum() > 50


async def test_hidden_feet_open_the_box_below(worker: Worker, mosaics: Mosaics, bus: Bus, make_two: MakeSite) -> None:
    job = await make_two("site-feet")
    box = (100, 60, 180, 160)
    await job.put_people([seen("a", f, f / 20, 1, box, feet_hidden=f >= 10) for f in range(20)], [])
    await job.render_all(worker, mosaics, bus)
    pictures = await job.pictures("a.mp4")
    for frame, hidden in ((5, False), (15, True)):
        below = magenta(pictures[frame][157:164, 104:176]).any(axis=0).mean()
        above = magenta(pictures[frame][57:64, 104:176]).any(axis=0).mean()
        assert above > 0.9
        assert (below < 0.3) == hidden, frame


async def test_zones_count_whom_any_camera_sees(worker: Worker, mosaics: Mosaics, bus: Bus, make_two: MakeSite) -> None:
    environment = site(door=[(2, 0.5), (3, 0.5), (3, 1.5), (2, 1.5)])
    picture = environment.zones.add(zone="desk", color="#0000FF")
    picture.image.camera = "b"
    for x, y in ((0, 0), (0.25, 0), (0.25, 0.5), (0, 0.5)):
        picture.image.corners.add(x=x, y=y)
    job = await make_two("site-zones", environment)
    await job.put_people([], [at(step, step / 20, 1, 2.5, 1.0 if step < 10 else 1.8) for step in range(60)])
    await job.render_all(worker, mosaics, bus)
    for name, since in (("a.mp4", 0), ("b.mp4", 0.5)):
        rate = 20 if name == "a.mp4" else 10
        for frame, shown in enumerate((await job.pictures(name))[:15]):
            red, _, blue = shown[70:140, 220:280].mean(axis=(0, 1))
            assert (red - blue > 20) == (since + frame / rate < 0.5), (name, frame)
            assert (shown[20:90, 20:80].mean(axis=(0, 1))[2] > GREY + 20) == (name == "b.mp4")


async def test_the_mosaic_shows_all_cameras_in_step(
    worker: Worker, mosaics: Mosaics, bus: Bus, make_site: MakeSite
) -> None:
    """Brightness tells the moment: 60 a second, and a tenth of a second is as much as the slower camera may lag."""

    def brightening(frames: int, rate: int, start: float) -> list[Image]:
        return [np.full((216, 384, 3), round(60 * (start + frame / rate)) + 20, np.uint8) for frame in range(frames)]

    recordings = {
        "a": (brightening(90, 30, 0), ticks(90, 30), 0.0, [0]),
        "b": (brightening(10, 10, 1), ticks(10, 10), 1.0, [0, 4]),
    }
    job = await make_site("site-steps", recordings=recordings, environment=site(), windows=[0, 1.1, 3], style=STYLE)
    await job.render_all(worker, mosaics, bus)
    index = build_index(await job.video("mosaic.mp4"))
    np.testing.assert_allclose(index.times, np.arange(45) / 15, atol=1e-4)
    assert (index.width, index.height) == (WIDTH, HEIGHT)
    first, second = grid_of(2, WIDTH, HEIGHT, SIZE[0] / SIZE[1]).cells
    for time, picture in zip(index.times.tolist(), await job.pictures("mosaic.mp4"), strict=True):
        one, other = (float(picture[y + h // 2, x + w // 4 : x + w // 2].mean()) for x, y, w, h in (first, second))
        assert one == pytest.approx(20 + 60 * time, abs=4)
        if 1 <= time < 2:
            assert 60 * time - 10 < other - 20 < 60 * time + 6
        elif not 0.9 < time < 2.1:
            assert other < 20  # nothing to see


async def test_rendering_twice_gives_the_same_bytes(
    worker: Worker, mosaics: Mosaics, bus: Bus, make_two: MakeSite
) -> None:
    job = await make_two("site-twice", site(door=[(0, 0), (1, 0), (1, 1)]), style=OverlayStyle(trail_sec=1))
    rows = [seen("a", frame, frame / 20, 1, (10 * frame, 60, 10 * frame + 40, 160)) for frame in range(20)]
    await job.put_people(rows, [at(step, step / 20, 1, step / 20, 0.5) for step in range(60)])
    kept = []
    for _ in range(2):
        await job.render_all(worker, mosaics, bus)
        kept.append([(await job.video(name)).getvalue() for name in ("a.mp4", "b.mp4", "mosaic.mp4")])
    assert kept[0] == kept[1]


async def test_cancelling_leaves_nothing(
    worker: Worker,
    mosaics: Mosaics,
    bus: Bus,
    s3_store: ObjectStore,
    make_two: MakeSite,
    scratch: Path,
    cancelling: type[TaskContext],
) -> None:
    job = await make_two("site-cancelled")
    task = job.of("mosaic", job.task.windows[0])
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(mosaics.mosaic(task, cancelling(bus, task)))
    assert not left_in(scratch)
    with pytest.raises(errors.NotFound):
        await s3_store.stat(keys.stage_result("site-cancelled", "mosaic", "all", 0, "nut"))
    await job.render_all(worker, mosaics, bus)
    await s3_store.delete([keys.output("site-cancelled", "a.mp4")])
    task = job.of("finalize")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(worker.finalize(task, cancelling(bus, task)))
    assert not left_in(scratch)
    with pytest.raises(errors.NotFound):
        await s3_store.stat(keys.output("site-cancelled", "a.mp4"))


async def test_the_maps_picture_lies_under_it(
    worker: Worker, mosaics: Mosaics, bus: Bus, s3_store: ObjectStore, make_two: MakeSite
) -> None:
    drawing = np.zeros((40, 80, 3), np.uint8)
    drawing[:20, :40] = (200, 0, 0)  # upper left
    await s3_store.put_bytes(keys.asset_source("plan"), encode_picture(drawing, ".png", 90))
    environment = site()
    environment.ground_plane.image_asset_id = "plan"
    environment.ground_plane.pixels_per_unit = 20
    job = await make_two("site-plan", environment)
    await job.render_all(worker, mosaics, bus)
    picture = (await job.pictures("mosaic.mp4"))[0]
    x, y, width, height = grid_of(2, WIDTH, HEIGHT, SIZE[0] / SIZE[1]).floor
    red = np.argwhere(picture[y : y + height, x : x + width, 0] > 120)
    centre = np.array((height, width)) / 2
    assert (red.mean(axis=0) < centre - 20).all()
