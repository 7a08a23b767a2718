"""The stages, with the real broker, object store and model server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.tasks import TaskContext
from kinemesh.bus.topology import event_subject
from kinemesh.event.v1 import event_pb2
from kinemesh.inference import TritonClient
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.job.v1.parameters_pb2 import InstructorParameters, JobParameters, MultiCameraParameters, PitstopParameters
from kinemesh.media import FrameIndex, build_index
from kinemesh.media.synthetic import write_clip
from kinemesh.results.columns import joined
from kinemesh.results.columns_parquet import LOOK_SCHEMA, from_parquet
from kinemesh.results.looks import LookRows
from kinemesh.results.tracks import TrackRows, concatenate
from kinemesh.results.tracks_parquet import rows_from_parquet
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh.testing.fixtures import NatsServer, TritonServer
from kinemesh_detect_track.models import Models
from kinemesh_detect_track.rehearsal import rehearse
from kinemesh_detect_track.settings import DetectionSettings
from kinemesh_detect_track.worker import Worker

MODEL = "person_detector"
STEADY = [3000 * number for number in range(40)]
UNEVEN = list(accumulate([5000, *(1500 * (1 + number % 3) + number for number in range(39))]))
PITSTOP = JobParameters(pitstop=PitstopParameters(model=MODEL))
INSTRUCTOR = JobParameters(instructor=InstructorParameters(model=MODEL))
EMBEDDER = "person_colors"
SEVERAL = JobParameters(multi_camera=MultiCameraParameters(model=MODEL, embedder=EMBEDDER, threshold=0.5))


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=nats_server.url), "test") as connected:
        yield connected


@dataclass
class Job:
    """A job whose source and index lie in the store."""

    job_id: str
    store: ObjectStore
    worker: Worker
    bus: Bus
    index: FrameIndex
    segments: list[task_pb2.Segment]
    parameters: JobParameters

    def task(self, stage: str, segment: int | None = None) -> task_pb2.Task:
        return task_pb2.Task(
            task_id=f"{self.job_id}.{stage}.main.{segment}",
            job_id=self.job_id,
            stage=stage,
            parameters=self.parameters,
            inputs=[job_pb2.JobInput(camera="main", asset_id=f"asset-{self.job_id}")],
            segment=None if segment is None else self.segments[segment],
            segments=self.segments,
        )

    async def do(self, stage: str, segment: int | None = None) -> task_pb2.TaskDone:
        task = self.task(stage, segment)
        done: task_pb2.TaskDone = await getattr(self.worker, stage)(task, TaskContext(self.bus, task))
        return done

    async def all(self) -> task_pb2.TaskDone:
        """Detect the last segment first, track in order, refine."""
        await self.followed()
        return await self.do("refine")

    async def followed(self) -> None:
        for segment in reversed(range(len(self.segments))):
            await self.do("detect", segment)
        for segment in range(len(self.segments)):
            await self.do("track", segment)

    async def bytes_of(self, stage: str, suffix: str = "parquet") -> list[bytes]:
        return [
            await self.store.get_bytes(keys.stage_result(self.job_id, stage, "main", segment.index, suffix))
            for segment in self.segments
        ]

    async def rows(self, stage: str) -> TrackRows:
        return concatenate([rows_from_parquet(data) for data in await self.bytes_of(stage)])

    async def looks(self, stage: str) -> list[LookRows]:
        return [from_parquet(LookRows, data, LOOK_SCHEMA) for data in await self.bytes_of(stage, "looks")]

    async def shown(self) -> list[event_pb2.FrameResult]:
        """What the job's listeners were told, in the stream's order."""
        messages = await self.bus.jetstream.subscribe(event_subject(self.job_id, "frames"), ordered_consumer=True)
        frames: list[event_pb2.FrameResult] = []
        while len(frames) < self.index.frame_count:
            message = await messages.next_msg(timeout=10)
            frames += event_pb2.JobEvent.FromString(message.data).frames.frames
        await messages.unsubscribe()
        return frames


@pytest_asyncio.fixture(loop_scope="session")
async def make_job(s3_store: ObjectStore, triton_server: TritonServer, bus: Bus, tmp_path: Path) -> AsyncIterator[Any]:
    async with TritonClient(triton_server.settings) as triton:
        models = Models(triton, known_s=1)

        async def make(
            name: str,
            cuts: Sequence[int],
            parameters: JobParameters,
            pts: Sequence[int] = STEADY,
            embed_interval_s: float = 0.5,
            **clip: Any,
        ) -> Job:
            settings = DetectionSettings(in_flight=3, embed_interval_s=embed_interval_s)
            worker = Worker(s3_store, models, IN_PROCESS, settings)
            path = tmp_path / f"{name}.mp4"
            write_clip(path, pts=pts, **clip)
            index = build_index(path)
            stops = [*cuts[1:], index.frame_count]
            segments = [
                task_pb2.Segment(camera="main", index=number, start_frame=start, stop_frame=stop)
                for number, (start, stop) in enumerate(zip(cuts, stops, strict=True))
            ]
            await s3_store.put_file(path, keys.asset_source(f"asset-{name}"))
            await s3_store.put_bytes(keys.asset_index(f"asset-{name}"), index.to_bytes())
            return Job(name, s3_store, worker, bus, index, segments, parameters)

        yield make


@pytest.mark.parametrize("pts", [STEADY, UNEVEN], ids=["steady", "uneven"])
@pytest.mark.parametrize("parameters", [PITSTOP, INSTRUCTOR], ids=["pitstop", "instructor"])
async def test_two_people_from_the_first_frame_to_the_last(
    make_job: Any, parameters: JobParameters, pts: list[int]
) -> None:
    pipeline = parameters.WhichOneof("pipeline")
    job: Job = await make_job(f"people-{pipeline}-{pts[0]}", [0, 9, 10, 31], parameters, pts)
    done = await job.all()

    detected = await job.rows("detect")
    assert detected.frame_index.tolist() == [frame for frame in range(40) for _ in range(2)]
    np.testing.assert_array_equal(detected.time_sec, job.index.times[detected.frame_index])
    assert set(detected.track_id.tolist()) == {0}
    assert (detected.box >= 0).all()
    assert (detected.box <= np.tile((job.index.width, job.index.height), 2)).all()

    tracked = await job.rows("track")
    assert tracked.track_id.tolist() == [1, 2] * 40
    assert not tracked.interpolated.any()

    refined = await job.rows("refine")
    assert refined.frame_index.tolist() == [frame for frame in range(40) for _ in range(2)]
    assert refined.track_id.tolist() == [1, 2] * 40

    assert done.frames == 40
    assert done.summary["model"] == MODEL
    assert done.summary["source_frame_count"] == 40
    assert "tracks.parquet" in {output.name for output in done.outputs}
    for output in done.outputs:
        data = await job.store.get_bytes(keys.output(job.job_id, output.name))
        assert len(data) == output.size_bytes


async def test_listeners_are_told_every_frame_once_in_order(make_job: Any) -> None:
    job: Job = await make_job("listeners", [0, 15, 31], PITSTOP)
    await job.all()
    await job.do("track", 1)  # as after a crash
    frames = await job.shown()
    assert [frame.frame_index for frame in frames] == list(range(40))
    assert [frame.time_sec for frame in frames] == job.index.times.tolist()
    for frame in frames:
        assert [(one.track_id, one.label) for one in frame.tracks] == [(1, "person"), (2, "person")]


async def test_cuts_and_repetitions_change_nothing(make_job: Any) -> None:
    whole: Job = await make_job("whole", [0], PITSTOP, UNEVEN)
    parts: Job = await make_job("parts", [0, 1, 2, 17, 39], PITSTOP, UNEVEN)
    await whole.all()
    await parts.all()
    for stage in ("detect", "track", "refine"):
        one, other = await whole.rows(stage), await parts.rows(stage)
        for name in (column.name for column in fields(TrackRows)):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=f"{stage} {name}")
    assert (await whole.bytes_of("track", "state"))[-1] == (await parts.bytes_of("track", "state"))[-1]
    before = [await parts.bytes_of(stage) for stage in ("detect", "track", "refine")]
    await parts.all()
    assert [await parts.bytes_of(stage) for stage in ("detect", "track", "refine")] == before


async def test_an_upright_picture_of_any_shape(make_job: Any) -> None:
    job: Job = await make_job("turned", [0, 20], PITSTOP, size=(64, 128), rotation=90)
    await job.all()
    assert job.index.height > job.index.width
    rows = await job.rows("refine")
    assert len(np.unique(rows.track_id)) == 2
    assert (rows.box <= np.tile((job.index.width, job.index.height), 2)).all()


async def test_nobody_passes_a_threshold_that_is_too_high(make_job: Any) -> None:
    parameters = JobParameters(pitstop=PitstopParameters(model=MODEL, threshold=0.95))
    job: Job = await make_job("nobody", [0, 20], parameters)
    done = await job.all()
    assert len(await job.rows("detect")) == 80
    assert len(await job.rows("refine")) == 0
    assert done.summary["objects"] == 0


async def test_one_of_two_passes_a_threshold_between_them(make_job: Any) -> None:
    parameters = JobParameters(pitstop=PitstopParameters(model=MODEL, threshold=0.85))
    job: Job = await make_job("one", [0, 20], parameters)
    await job.all()
    assert (await job.rows("refine")).track_id.tolist() == [1] * 40


@pytest.mark.parametrize(
    ("model", "kind", "reason"),
    [
        ("gone", errors.NotFound, "MODEL_NOT_FOUND"),
        ("pose_detector", errors.InvalidArgument, "WRONG_MODEL_TASK"),
    ],
)
async def test_a_model_that_cannot_detect_ends_the_task_with_a_reason(
    make_job: Any, model: str, kind: type[errors.KinemeshError], reason: str
) -> None:
    parameters = parameters_pb2.JobParameters(pitstop=PitstopParameters(model=model))
    job: Job = await make_job(f"model-{model}", [0], parameters)
    with pytest.raises(kind) as refused:
        await job.do("detect", 0)
    assert refused.value.reason == reason


async def test_people_are_looked_at_now_and_then_and_looks_get_their_track(make_job: Any) -> None:
    job: Job = await make_job("looks", [0, 10, 15, 16, 31], SEVERAL, UNEVEN)
    await job.followed()
    beat = np.floor(job.index.times / 0.5)
    moments = [frame for frame in range(40) if frame == 0 or beat[frame] != beat[frame - 1]]
    assert 2 < len(moments) < 10

    detected = [rows_from_parquet(data) for data in await job.bytes_of("detect")]
    made = await job.looks("detect")
    for rows, looks in zip(detected, made, strict=True):
        np.testing.assert_array_equal(rows.frame_index[looks.row], looks.frame_index)
        assert not looks.track_id.any()
    looks = joined(made)
    assert looks.frame_index.tolist() == [frame for frame in moments for _ in range(2)]
    np.testing.assert_allclose(np.linalg.norm(looks.embedding, axis=1), 1, rtol=1e-4)
    assert (looks.quality >= 0).all()
    assert (looks.quality <= 1).all()
    assert looks.quality.any()

    kept = joined(await job.looks("track"))
    assert kept.frame_index.tolist() == looks.frame_index.tolist()
    tracked = await job.rows("track")
    places = zip(tracked.frame_index.tolist(), tracked.track_id.tolist(), strict=True)
    boxes = dict(zip(places, tracked.box, strict=True))
    found = joined(detected)
    at = np.flatnonzero(np.isin(found.frame_index, moments))
    for frame, track, row in zip(kept.frame_index.tolist(), kept.track_id.tolist(), at, strict=True):
        np.testing.assert_array_equal(boxes[frame, track], found.box[row])
    assert [len(frame.tracks) for frame in await job.shown()] == [2] * 40


async def test_looks_do_not_depend_on_cuts(make_job: Any) -> None:
    whole: Job = await make_job("whole-looks", [0], SEVERAL, UNEVEN)
    parts: Job = await make_job("part-looks", [0, 1, 2, 17, 39], SEVERAL, UNEVEN)
    await whole.followed()
    await parts.followed()
    one, other = joined(await whole.looks("track")), joined(await parts.looks("track"))
    for name in ("frame_index", "track_id", "quality", "embedding"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    before = await parts.bytes_of("detect", "looks"), await parts.bytes_of("track", "looks")
    await parts.followed()
    assert (await parts.bytes_of("detect", "looks"), await parts.bytes_of("track", "looks")) == before


async def test_looking_more_often_changes_nothing_in_a_look(make_job: Any) -> None:
    seldom: Job = await make_job("seldom-looks", [0, 20], SEVERAL)
    always: Job = await make_job("all-looks", [0, 20], SEVERAL, embed_interval_s=0.001)
    await seldom.followed()
    await always.followed()
    few, many = joined(await seldom.looks("track")), joined(await always.looks("track"))
    assert many.frame_index.tolist() == [frame for frame in range(40) for _ in range(2)]
    shared = np.isin(many.frame_index, few.frame_index)
    for name in ("frame_index", "track_id", "quality", "embedding"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[shared], err_msg=name)
    assert await seldom.bytes_of("track") == await always.bytes_of("track")


async def test_without_an_embedder_there_are_positions_alone(make_job: Any) -> None:
    parameters = JobParameters(multi_camera=MultiCameraParameters(model=MODEL, threshold=0.5))
    job: Job = await make_job("no-looks", [0, 20], parameters)
    await job.followed()
    assert (await job.rows("track")).track_id.tolist() == [1, 2] * 40
    assert [len(looks) for stage in ("detect", "track") for looks in await job.looks(stage)] == [0] * 4


async def test_nobody_below_the_threshold_is_followed_where_nothing_drops_them_later(make_job: Any) -> None:
    several = MultiCameraParameters(model=MODEL, embedder=EMBEDDER, threshold=0.85)
    job: Job = await make_job("sure-looks", [0, 20], JobParameters(multi_camera=several))
    await job.followed()
    assert (await job.rows("track")).track_id.tolist() == [1] * 40
    looks = joined(await job.looks("track"))
    assert set(looks.track_id.tolist()) == {1}
    assert len(joined(await job.looks("detect"))) == 2 * len(looks)


@pytest.mark.parametrize(
    ("embedder", "kind", "reason"),
    [("gone", errors.NotFound, "MODEL_NOT_FOUND"), (MODEL, errors.InvalidArgument, "WRONG_MODEL_TASK")],
)
async def test_a_model_that_cannot_recognise_ends_the_task_with_a_reason(
    make_job: Any, embedder: str, kind: type[errors.KinemeshError], reason: str
) -> None:
    parameters = JobParameters(multi_camera=MultiCameraParameters(model=MODEL, embedder=embedder, threshold=0.5))
    job: Job = await make_job(f"embedder-{embedder}", [0], parameters)
    with pytest.raises(kind) as refused:
        await job.do("detect", 0)
    assert refused.value.reason == reason


def test_the_rehearsal_passes() -> None:
    rehearse()
