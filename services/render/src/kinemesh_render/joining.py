"""Parts joined in a thread that can be stopped, and the videos of a site."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from kinemesh.bus.inputs import result_key, segments_of
from kinemesh.bus.tasks import TaskContext
from kinemesh.errors import Internal
from kinemesh.job.v1 import job_pb2
from kinemesh.media.confined import Decoder
from kinemesh.pipelining import in_thread, settled
from kinemesh.recordings import camera_of
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh_render.film import FINE, film_of_camera
from kinemesh_render.messages import MOSAIC, video_of
from kinemesh_render.recorded import clock_of, recordings_of
from kinemesh_render.sources import Parts, Reading

PART_SUFFIX: Final = "nut"
ALL: Final = "all"
_MP4: Final = "video/mp4"


async def followed(
    work: Coroutine[Any, Any, int],
    read: Sequence[Parts | Reading],
    context: TaskContext,
    begin: float = 0.0,
    share: float = 0.8,
) -> int:
    """The number of frames that a thread has written; how far it is shows in the first of what it reads.

    It is stopped by taking all of that from it.
    """
    writing = asyncio.ensure_future(work)
    try:
        written: set[asyncio.Future[int]] = set()
        while not written:
            written, _ = await asyncio.wait([writing], timeout=0.5)
            await context.report(begin + share * read[0].fraction)
        return writing.result()
    finally:
        for each in read:
            each.stop()
        writing.cancel()
        await asyncio.wait([writing])


def mosaic_key(task: task_pb2.Task, window: int) -> str:
    """Where the part of the mosaic for a window lies."""
    return keys.stage_result(task.job_id, "mosaic", ALL, window, PART_SUFFIX)


async def join_site(
    store: ObjectStore, decoder: Decoder, task: task_pb2.Task, most_per_sec: float, folder: Path, context: TaskContext
) -> task_pb2.TaskDone:
    """Join the parts of every camera to a video of its own, and those of the mosaic, all without sound."""
    recordings = await recordings_of(store, task)
    cameras = list(dict.fromkeys(camera_of(recording.name) for recording in recordings))
    outputs, frames, share = [], 0, 1 / (len(cameras) + 1)
    for number, camera in enumerate(cameras):
        own = [recording for recording in recordings if camera_of(recording.name) == camera]
        parts = [
            result_key(task, "render", segment, PART_SUFFIX)
            for recording in own
            for segment in segments_of(task, recording.name)
        ]
        film = film_of_camera([each.index for each in own], [each.start_sec for each in own], len(own) - 1)
        path = folder / "video"
        joined = await join(store, decoder, parts, path, film.time_base, film.end, context, number * share, share)
        if joined != (expected := sum(each.index.frame_count for each in own)):
            raise Internal("FRAMES_MISSING", f"{joined} of {expected} frames were joined.", camera=camera)
        outputs.append(await put_video(store, task, path, video_of(camera)))
        frames += joined
    clock = clock_of(recordings, most_per_sec)
    shown = {window.index: clock.frames_of(window, task.windows) for window in task.windows}
    parts = [mosaic_key(task, window) for window, frames_in in shown.items() if frames_in]
    path = folder / "video"
    expected = sum(len(frames_in) for frames_in in shown.values())
    joined = await join(store, decoder, parts, path, FINE, clock.stamp(expected), context, 1 - share, share)
    if joined != expected:
        raise Internal("FRAMES_MISSING", f"{joined} of {expected} frames of the mosaic were joined.")
    outputs.append(await put_video(store, task, path, MOSAIC))
    done = task_pb2.TaskDone(frames=frames, outputs=outputs)
    done.summary.update({"frame_count": frames, "videos": len(outputs)})
    return done


async def join(
    store: ObjectStore,
    decoder: Decoder,
    names: list[str],
    path: Path,
    time_base: Fraction,
    end: int,
    context: TaskContext,
    begin: float,
    share: float,
) -> int:
    """Join parts by stream copy, without sound, and return the number of frames.

    :param names: keys of the parts, in order.
    :param end: when the last frame ends, in ticks.
    :param begin: how far the task is, 0 to 1.
    :param share: of the task that this is.
    """

    def joined() -> int:
        return decoder.concatenate(parts, path, time_base=time_base, end_pts=end)

    with Parts(store, names) as parts:
        return await followed(in_thread(joined), [parts], context, begin, share)


async def put_video(store: ObjectStore, task: task_pb2.Task, path: Path, name: str) -> job_pb2.JobOutput:
    """Give the user a video."""
    key = keys.output(task.job_id, name)
    await settled(store.put_file(path, key, _MP4))
    return job_pb2.JobOutput(name=name, content_type=_MP4, size_bytes=(await store.stat(key)).size)


def facts_of(frames: int, rate: Fraction, size: tuple[int, int], duration_s: float) -> dict[str, float]:
    """What a job's summary says of its video."""
    return {
        "frame_count": frames,
        "fps": round(float(rate), 6),
        "width": size[0],
        "height": size[1],
        "duration_sec": round(duration_s, 6),
    }
