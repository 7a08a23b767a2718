"""The stage associate, with the real broker and object store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest_asyncio

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.tasks import TaskContext
from kinemesh.bus.topology import event_subject
from kinemesh.detect_track.v1 import tracking_pb2
from kinemesh.environment.v1 import environment_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.media import FrameIndex, Orientation
from kinemesh.nv12 import ColorMatrix
from kinemesh.results.columns import joined, select
from kinemesh.results.columns_parquet import (
    LOOK_SCHEMA,
    PERSON_SCHEMA,
    SIGHTING_SCHEMA,
    from_parquet,
    to_parquet,
    to_table,
)
from kinemesh.results.looks import LookRows
from kinemesh.results.sightings import PersonRows, SightingRows
from kinemesh.results.tracks import TrackRows
from kinemesh.results.tracks_parquet import rows_to_parquet
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.fixtures import NatsServer
from kinemesh_detect_track.associating import Association
from kinemesh_detect_track.domain.association.people import People
from kinemesh_detect_track.site import decisions_of, global_id

from .walks import HEIGHT, SIZE, WIDTH, Camera, straight

CAMERAS = {
    "c1": Camera((5.0, -5.0, 4.0), (5.0, 5.0), rate=10.0),
    "c2": Camera((5.0, 15.0, 4.0), (5.0, 5.0), rate=5.0, start_sec=0.26),
}
RECORDINGS = {"c1": 6.0, "c1.2": 4.0, "c2": 10.0}
STARTS = {"c1": 100.0, "c1.2": 106.0, "c2": 100.26}
WAYS = [straight((3.0, 4.0), (0.3, 0.0)), straight((7.0, 7.0), (-0.3, 0.0))]


def face(person: int) -> Any:
    look = np.random.default_rng(person).normal(size=SIZE)
    return (look / np.linalg.norm(look)).astype(np.float32)


def index_of(recording: str) -> FrameIndex:
    rate = CAMERAS[recording[:2]].rate
    frames = round(RECORDINGS[recording] * rate)
    pts = 5000 + np.arange(frames, dtype=np.int64) * round(1000 / rate)  # a file's own clock need not begin at 0
    return FrameIndex(
        stream_index=0,
        time_base=Fraction(1, 1000),
        pts=pts,
        end_pts=int(pts[-1]) + round(1000 / rate),
        key_frames=np.zeros(1, np.int64),
        key_pts=pts[:1].copy(),
        width=WIDTH,
        height=HEIGHT,
        orientation=Orientation(),
        color_matrix=ColorMatrix.BT601,
    )


def tracked(recording: str) -> tuple[TrackRows, LookRows]:
    """What the stage track would leave of a whole recording."""
    camera, index = CAMERAS[recording[:2]], index_of(recording)
    frames, people, boxes = [], [], []
    for frame, moment in enumerate((index.times - index.times[0] + STARTS[recording] - 100.0).tolist()):
        for person, way in enumerate(WAYS):
            place = way(moment)
            box = None if place is None else camera.box(np.array(place))
            if box is not None:
                frames.append(frame)
                people.append(person)
                boxes.append(np.clip(box, 0, (WIDTH, HEIGHT) * 2))
    count = len(frames)
    rows = TrackRows(
        np.array(frames, np.int64),
        index.times[frames],
        np.array(people, np.int32) + 1,
        np.array(boxes, np.float32),
        np.full(count, 0.9, np.float32),
        np.zeros(count, np.int16),
        np.zeros(count, np.bool_),
    )
    looked = np.flatnonzero(rows.frame_index % 5 == 0)
    looks = LookRows(
        rows.frame_index[looked],
        looked.astype(np.int32),
        rows.track_id[looked],
        np.ones(len(looked), np.float32),
        np.stack([face(people[row]) for row in looked]),
    )
    return rows, looks


def site(**fields: Any) -> environment_pb2.Environment:
    environment = environment_pb2.Environment(environment_id="hall", **fields)
    for name, camera in CAMERAS.items():
        one = environment.cameras.add(camera=name)
        ground = camera.view.ground
        assert ground is not None
        one.homography.image_to_map.values.extend(ground.ravel().tolist())
    return environment


class Job:
    def __init__(self, job_id: str, store: ObjectStore, bus: Bus, windows: Sequence[float], **fields: Any) -> None:
        self.job_id, self.store, self.bus = job_id, store, bus
        self.association = Association(store)
        self.environment = site(**fields)
        borders = [100.0, *windows, 110.26]
        self.windows = [
            task_pb2.Window(index=i, start_sec=start, stop_sec=stop)
            for i, (start, stop) in enumerate(pairwise(borders))
        ]
        self.segments: list[task_pb2.Segment] = []

    async def prepare(self, cut: int = 17) -> None:
        for recording in RECORDINGS:
            index = index_of(recording)
            await self.store.put_bytes(keys.asset_index(f"{self.job_id}-{recording}"), index.to_bytes())
            rows, looks = tracked(recording)
            for number, start in enumerate(range(0, index.frame_count, cut)):
                stop = min(start + cut, index.frame_count)
                self.segments.append(
                    task_pb2.Segment(camera=recording, index=number, start_frame=start, stop_frame=stop)
                )
                for suffix, data in (
                    ("parquet", rows_to_parquet(rows.where((rows.frame_index >= start) & (rows.frame_index < stop)))),
                    ("looks", looks_of(looks, start, stop)),
                ):
                    key = keys.stage_result(self.job_id, "track", recording, number, suffix)
                    await self.store.put_bytes(key, data)

    async def associate(self, window: int) -> task_pb2.TaskDone:
        task = task_pb2.Task(
            task_id=f"{self.job_id}.associate.{window}",
            job_id=self.job_id,
            stage="associate",
            parameters=parameters_pb2.JobParameters(
                multi_camera=parameters_pb2.MultiCameraParameters(
                    environment_id="hall", embedder="some", environment=self.environment
                )
            ),
            inputs=[
                job_pb2.JobInput(camera=name, asset_id=f"{self.job_id}-{name}", start_sec=STARTS[name])
                for name in RECORDINGS
            ],
            segments=self.segments,
            window=self.windows[window],
            windows=self.windows,
        )
        return await self.association.associate(task, TaskContext(self.bus, task))

    async def all(self) -> int:
        return sum([(await self.associate(number)).frames for number in range(len(self.windows))])

    async def bytes_of(self, suffix: str) -> list[bytes]:
        return [
            await self.store.get_bytes(keys.stage_result(self.job_id, "associate", "all", window.index, suffix))
            for window in self.windows
        ]

    async def rows(self) -> SightingRows:
        return joined([from_parquet(SightingRows, data, SIGHTING_SCHEMA) for data in await self.bytes_of("parquet")])

    async def told(self, steps: int) -> list[tracking_pb2.TrackingUpdate]:
        messages = await self.bus.jetstream.subscribe(event_subject(self.job_id, "steps"), ordered_consumer=True)
        updates: list[tracking_pb2.TrackingUpdate] = []
        while len(updates) < steps:
            message = await messages.next_msg(timeout=10)
            updates += event_pb2.JobEvent.FromString(message.data).steps.steps
        await messages.unsubscribe()
        return updates


def looks_of(looks: LookRows, start: int, stop: int) -> bytes:
    part = select(looks, (looks.frame_index >= start) & (looks.frame_index < stop))
    return to_parquet(to_table(part, LOOK_SCHEMA))


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=nats_server.url), "test") as connected:
        yield connected


async def test_everybody_has_one_identity_in_all_cameras_and_recordings(s3_store: ObjectStore, bus: Bus) -> None:
    job = Job("associate-all", s3_store, bus, [105.0])
    await job.prepare()
    assert await job.all() == 60 + 40 + 50
    rows = await job.rows()

    frames = {name: index_of(name).frame_count for name in RECORDINGS}
    shown = set(zip(rows.recording.tolist(), rows.camera_frame_index.tolist(), strict=True))
    assert shown == {(name, frame) for name, count in frames.items() for frame in range(count)}
    assert len(rows) == 2 * sum(frames.values())
    truth = (rows.track_id % 1_000_000 - 1).tolist()
    pairs = {(who, number) for who, number in zip(truth, rows.person.tolist(), strict=True) if number}
    assert len(pairs) == len({number for _, number in pairs}) == 2
    assert (rows.person == 0).mean() < 0.15
    decided = rows.person > 0
    expected = [global_id(job.job_id, number) for number in rows.person[decided].tolist()]
    assert rows.global_id[decided].tolist() == expected
    assert set(rows.global_id[~decided].tolist()) <= {""}
    assert set(rows.track_id[rows.recording == "c1.2"].tolist()) == {1_000_001, 1_000_002}
    assert (np.lexsort((rows.track_id, rows.camera, rows.step)) == np.arange(len(rows))).all()
    places = [WAYS[who](second - 100.0) for who, second in zip(truth, rows.time_sec.tolist(), strict=True)]
    np.testing.assert_allclose(np.stack([rows.map_x, rows.map_y], axis=1), np.array(places), atol=0.2)
    assert rows.feet_hidden.mean() < 0.1  # the two pass each other
    kinds = [one.kind.value for data in await job.bytes_of("decisions") for one in decisions_of(data, job.environment)]
    assert kinds.count("appeared") == 2


async def test_listeners_are_told_every_step_once_in_order(s3_store: ObjectStore, bus: Bus) -> None:
    job = Job("associate-told", s3_store, bus, [103.0, 107.0])
    await job.prepare()
    await job.all()
    await job.associate(1)  # as after a crash
    rows = await job.rows()
    steps = np.unique(rows.step).tolist()
    updates = await job.told(len(steps))
    assert [update.global_frame_index for update in updates] == steps
    assert [update.frame_index for update in updates] == [step if step < 60 else step - 60 for step in steps]
    assert {update.scene_id for update in updates} == {"hall"}
    first = updates[0]
    assert first.time_sec == 100.0
    assert list(first.cameras) == ["c1"]
    assert first.cameras["c1"].image_source == "000000.jpg"
    assert [track.HasField("global_id") for track in first.cameras["c1"].tracks] == [False, False]
    whole = next(update for update in updates if update.global_frame_index == 63)
    assert sorted(whole.cameras) == ["c1", "c2"]
    assert whole.cameras["c1"].camera_frame_index == 3
    ids = [sorted(track.global_id for track in camera.tracks) for camera in whole.cameras.values()]
    assert ids[0] == ids[1]
    assert all(len(t.map_covariance) == 3 for camera in whole.cameras.values() for t in camera.tracks)


async def test_windows_segments_and_repetitions_change_nothing(s3_store: ObjectStore, bus: Bus) -> None:
    whole, parts = Job("associate-one", s3_store, bus, []), Job("associate-many", s3_store, bus, [101.03, 104.4, 108.0])
    await whole.prepare(cut=100)
    await parts.prepare(cut=7)
    for job in (whole, parts):
        await job.all()
    one, other = await whole.rows(), await parts.rows()
    for name in ("step", "time_sec", "recording", "track_id", "person", "map_x", "cov_xy", "feet_hidden"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert (await whole.bytes_of("state"))[-1] == (await parts.bytes_of("state"))[-1]
    assert b"".join(await whole.bytes_of("decisions")) == b"".join(await parts.bytes_of("decisions"))
    before = [await parts.bytes_of(suffix) for suffix in ("parquet", "state", "decisions")]
    parts.association = Association(s3_store)
    await parts.all()
    assert [await parts.bytes_of(suffix) for suffix in ("parquet", "state", "decisions")] == before


async def test_the_gallery_gives_people_their_ids(s3_store: ObjectStore, bus: Bus) -> None:
    job = Job("associate-gallery", s3_store, bus, [104.0], gallery=environment_pb2.GallerySettings(enabled=True))
    await job.prepare()
    faces = [face(person) for person in (5, 1, 6)]
    gallery = PersonRows(
        person=np.array([1, 2, 3], np.int32),
        global_id=np.array(["five", "one", "six"]),
        known=np.ones(3, np.bool_),
        first_sec=np.full(3, np.nan),
        last_sec=np.full(3, np.nan),
        cameras=np.array(["c9", "c1", "c9"]),
        worth=np.full(3, 4.0, np.float32),
        embedding=np.stack(faces),
    )
    await s3_store.put_bytes(
        keys.stage_result(job.job_id, "recall", "all", 0), to_parquet(to_table(gallery, PERSON_SCHEMA))
    )
    await job.all()
    rows = await job.rows()
    decided = rows.person > 0
    of_second = rows.track_id % 1_000_000 == 2
    assert set(rows.global_id[decided & of_second].tolist()) == {"one"}
    assert set(rows.global_id[decided & ~of_second].tolist()) == {global_id(job.job_id, 4)}


async def test_a_map_in_a_unit_of_its_own_is_measured_by_people(s3_store: ObjectStore, bus: Bus) -> None:
    job = Job("associate-unit", s3_store, bus, [105.0], ground_plane=environment_pb2.GroundPlane(unit="px"))
    for camera in job.environment.cameras:
        matrix = np.diag([40.0, 40.0, 1.0]) @ np.array(camera.homography.image_to_map.values).reshape(3, 3)
        del camera.homography.image_to_map.values[:]
        camera.homography.image_to_map.values.extend(matrix.ravel().tolist())
    await job.prepare()
    await job.all()
    rows = await job.rows()
    assert set(rows.person.tolist()) == {0, 1, 2}
    [metre] = People.from_bytes((await job.bytes_of("state"))[-1]).metre
    assert 30 < metre < 50
    lines = [json.loads(line) for data in await job.bytes_of("decisions") for line in data.splitlines()]
    assert {line["camera"] for line in lines} == {"c1", "c2"}
