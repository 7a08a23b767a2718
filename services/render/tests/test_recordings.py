"""Recordings that only have to be playable in a browser, with the real object store."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kinemesh import errors
from kinemesh.bus.connection import Bus
from kinemesh.bus.tasks import TaskContext
from kinemesh.media import build_index, decode, plays_in_browsers, probe
from kinemesh.media.synthetic import is_upright, read_number
from kinemesh.storage import ObjectStore, keys
from kinemesh_render.worker import Worker

MakeJob = Callable[..., Awaitable[Any]]

STEADY = [3000 * number for number in range(40)]
COUNTED = {"pts": list(range(40)), "time_base": Fraction(1, 30)}

PLAYABLE: dict[str, dict[str, Any]] = {
    "phone": {"rotation": 90, "audio": "aac"},
    "b-frames": {"b_frames": 3, "open_gop": True, "suffix": ".mov", "audio": "pcm_s16le"},
}
UNPLAYABLE: dict[str, dict[str, Any]] = {
    "mpeg4": {"codec": "mpeg4", "suffix": ".avi", "audio": "pcm_s16le", **COUNTED},
    "vp9": {
        "codec": "libvpx-vp9",
        "codec_options": {"deadline": "realtime", "cpu-used": "8"},
        "suffix": ".webm",
        "audio": "libopus",
    },
    "chroma": {"pixel_format": "yuv444p", "audio": "aac"},
    "ten-bits": {"pixel_format": "yuv420p10le"},
    "hevc-phone": {
        "codec": "libx265",
        "codec_options": {"x265-params": "log-level=none:pools=none:frame-threads=1"},
        "rotation": 270,
        "suffix": ".mov",
    },
    "flac": {"suffix": ".mkv", "audio": "flac"},
}


def pictures_of(video: Path | io.BytesIO) -> list[bytes]:
    if isinstance(video, io.BytesIO):
        video.seek(0)
    with av.open(video, "r") as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize("name", [*PLAYABLE, *UNPLAYABLE])
async def test_every_recording_becomes_playable(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob, scratch: Path, name: str
) -> None:
    options = {"pts": STEADY, **(PLAYABLE | UNPLAYABLE)[name]}
    job = await make_job(f"rec-{name}", cuts=[0, 7, 29], pipeline="instructor", **options)
    done = await job.render_all(worker, bus)

    video = await job.video("video.mp4")
    index, info, before = build_index(video), probe(video), probe(job.clip)
    np.testing.assert_allclose(index.times, job.index.times, atol=1e-3)
    assert plays_in_browsers(video, index)
    frames = [frame.image for frame in decode(video, index)]
    assert [read_number(image) for image in frames] == list(range(40))
    assert is_upright(frames[0])
    assert video.getvalue().index(b"moov") < video.getvalue().index(b"mdat")
    assert info.audio_codec == ("aac" if before.has_audio else "")
    assert (pictures_of(video) == pictures_of(job.clip)) == (name in PLAYABLE)
    assert info.rotation == (before.rotation if name in PLAYABLE else 0)

    (output,) = done.outputs
    stored = await s3_store.stat(keys.output(job.job_id, "video.mp4"))
    assert (output.name, output.content_type, output.size_bytes) == ("video.mp4", "video/mp4", stored.size)
    assert dict(done.summary) == {
        "frame_count": 40,
        "fps": pytest.approx(float(job.index.frame_rate), rel=1e-3),
        "width": 192,
        "height": 108,
        "duration_sec": pytest.approx(job.index.duration_s, abs=2e-3),
    }
    assert not left_in(scratch)


async def test_what_plays_already_is_not_encoded(
    worker: Worker, bus: Bus, s3_store: ObjectStore, make_job: MakeJob
) -> None:
    job = await make_job("rec-copied", cuts=[0, 20], pts=STEADY, pipeline="instructor")
    await job.render_all(worker, bus)
    first = (await job.video("video.mp4")).getvalue()
    for segment in range(2):
        with pytest.raises(errors.NotFound):
            await s3_store.stat(job.part_key(segment))
    await job.render_all(worker, bus)
    assert (await job.video("video.mp4")).getvalue() == first


@pytest.mark.parametrize("name", ["phone", "mpeg4"])
async def test_cancelling_leaves_nothing(
    worker: Worker,
    bus: Bus,
    s3_store: ObjectStore,
    make_job: MakeJob,
    scratch: Path,
    name: str,
    cancelling: type[TaskContext],
) -> None:
    options = {"pts": STEADY, **(PLAYABLE | UNPLAYABLE)[name]}
    job = await make_job(f"rec-cancelled-{name}", cuts=[0], pipeline="instructor", **options)
    task = job.task("render", 0)
    await worker.render(task, TaskContext(bus, task))

    task = job.task("finalize")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(worker.finalize(task, cancelling(bus, task)))
    assert not left_in(scratch)
    with pytest.raises(errors.NotFound):
        await s3_store.stat(keys.output(job.job_id, "video.mp4"))
