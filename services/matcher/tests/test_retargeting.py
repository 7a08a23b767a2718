"""The stage retarget, with the real broker and object store."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.tasks import TaskContext
from kinemesh.errors import FailedPrecondition, NotFound
from kinemesh.job.v1 import parameters_pb2
from kinemesh.results.columns_parquet import COURSE_SCHEMA, HOLD_SCHEMA, from_parquet
from kinemesh.results.poses import PoseRows, concatenate, rows_from_parquet
from kinemesh.results.retargeted import CourseRows, HoldRows, Showing, course_key, holds_key, poses_key, showing_key
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh.testing.fixtures import NatsServer
from kinemesh_matcher.documents import MATCHES_SCHEMA
from kinemesh_matcher.references import References
from kinemesh_matcher.retargeting import Retargeting

from . import climber
from .cameras import REFERENCE
from .route_scene import FEATURES, RATE, Scene, Take

FILES = ["landmarks.parquet", "landmarks.json", "matches.parquet", "match.json", "metrics.json"]


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=nats_server.url), "test") as connected:
        yield connected


class Retargeted:
    """A job after the stage."""

    def __init__(self, store: ObjectStore, scene: Scene, done: task_pb2.TaskDone) -> None:
        self.store, self.scene, self.done = store, scene, done
        self.summary: dict[str, Any] = MessageToDict(done.summary)

    async def output(self, name: str) -> bytes:
        return await self.store.get_bytes(keys.output(self.scene.job_id, name))

    async def json(self, name: str) -> Any:
        return json.loads(await self.output(name))

    async def showing(self) -> Showing:
        return Showing.from_bytes(await self.store.get_bytes(showing_key(self.scene.job_id)))

    async def poses(self) -> PoseRows:
        parts = []
        for window, (first, stop) in enumerate((await self.showing()).windows):
            part = rows_from_parquet(await self.store.get_bytes(poses_key(self.scene.job_id, window)))
            assert np.all((part.frame_index >= first) & (part.frame_index < stop))
            parts.append(part)
        return concatenate(parts)

    async def course(self) -> CourseRows:
        return from_parquet(CourseRows, await self.store.get_bytes(course_key(self.scene.job_id)), COURSE_SCHEMA)

    async def holds(self) -> HoldRows:
        return from_parquet(HoldRows, await self.store.get_bytes(holds_key(self.scene.job_id)), HOLD_SCHEMA)

    async def matches(self) -> dict[str, list[Any]]:
        table = pq.ParquetFile(io.BytesIO(await self.output("matches.parquet"))).read()
        assert table.schema == MATCHES_SCHEMA
        columns: dict[str, list[Any]] = table.to_pydict()
        return columns


async def retarget(store: ObjectStore, bus: Bus, scene: Scene) -> Retargeted:
    await scene.put(store)
    task = scene.task()
    retargeting = Retargeting(store, References(store, IN_PROCESS, max_pixels=1_000_000, kept=1))
    return Retargeted(store, scene, await retargeting.retarget(task, TaskContext(bus, task)))


def away(rows: PoseRows, take: Take, source_sec: Any) -> Any:
    """How far off landmarks are, on average over each body: in widths of the reference."""
    truth = take.landmarks(source_sec)[..., :2]
    off = (rows.image[..., :2] - truth) * REFERENCE
    return np.linalg.norm(off, axis=2).mean(axis=1) / REFERENCE[0]


GAP, LONG = range(60, 72), range(150, 210)
ONE = Take("main", lost=[*GAP, *LONG], wrong=[100, 101], unseen=range(30, 36), attempt_id="first")


async def test_a_moving_camera_s_climber_lands_where_they_are(s3_store: ObjectStore, bus: Bus) -> None:
    job = await retarget(s3_store, bus, Scene("retarget-one", [ONE]))
    assert [output.name for output in job.done.outputs] == FILES
    showing = await job.showing()
    assert (showing.width, showing.height, showing.frame_rate) == (800, 600, Fraction(RATE))
    assert tuple(showing.names) == ("Take 1",)
    assert len(showing.windows) == len(job.scene.windows())
    assert job.done.frames == showing.frame_count == ONE.frames

    rows = await job.poses()
    np.testing.assert_allclose(rows.time_sec, rows.frame_index / RATE)
    assert set(np.arange(ONE.frames)) - set(rows.frame_index.tolist()) == set(LONG)
    assert away(rows, ONE, rows.time_sec).max() < 0.005
    assert set(rows.person_id.tolist()) == {1}
    np.testing.assert_allclose(rows.image[..., 3], 0.95)

    table = await job.matches()
    source = np.array(table["source"])
    assert set(np.flatnonzero(source == "interpolated")) == {*GAP, 100, 101}
    assert set(np.flatnonzero(source == "none")) == set(LONG)
    assert table["h00"][155] is None
    assert table["verdict"][60] == "CANNOT_MATCH"
    assert table["reason"][60] == "NOT_ENOUGH_MATCHES"
    assert table["reason"][0] is None
    assert table["rms_error_px"][60] is None

    course = await job.course()
    flagged = set(course.frame_index[course.interpolated].tolist())
    assert flagged == {*GAP, 100, 101, *range(30, 36)}
    landmarks = pq.ParquetFile(io.BytesIO(await job.output("landmarks.parquet"))).read()
    assert landmarks.num_rows == 33 * len(rows)
    assert landmarks.schema.field("interpolated").type == pa.bool_()
    assert set(landmarks.filter(landmarks["interpolated"])["frame_index"].to_pylist()) == flagged

    match = await job.json("match.json")
    assert match["reference"] == {"width": 800, "height": 600, "features": FEATURES}
    assert (match["mode"], match["model"]) == ("multi", "homography")
    (said,) = match["attempts"]
    assert said["interpolated"] == [[60, 71], [100, 101]]
    assert said["unmatched"] == [[150, 209]]
    assert said["reasons"] == {"NOT_ENOUGH_MATCHES": len(GAP) + len(LONG)}


async def test_the_summary_has_what_the_catalogue_notes(s3_store: ObjectStore, bus: Bus) -> None:
    take = Take("main", attempt_id="noted")
    job = await retarget(s3_store, bus, Scene("retarget-noted", [take]))
    (said,) = job.summary["attempts"]
    metrics = said.pop("metrics")
    assert said == {
        "camera": "main",
        "attempt_id": "noted",
        "name": "Take 1",
        "verdict": "MATCHED",
        "matched_frames": take.frames,
        "interpolated_frames": 0,
        "unmatched_frames": 0,
    }
    assert (job.summary["reference_features"], job.summary["has_poses"], job.summary["has_features"]) == (
        321,
        True,
        True,
    )
    assert metrics["moves"] == len(climber.MOVES)
    assert metrics["holds_touched"] == climber.HOLDS
    assert metrics["pauses"] == 1
    assert metrics["time_on_route_sec"] == pytest.approx(climber.LAST_MOVE_SEC - climber.LEAVES_SEC, abs=0.3)
    prefix = job.scene.prefix(take)
    poses = rows_from_parquet(await s3_store.get_bytes(keys.attempt_poses(prefix)))
    assert len(poses) == take.frames
    assert set(poses.person_id.tolist()) == {7}
    features = pq.ParquetFile(io.BytesIO(await s3_store.get_bytes(keys.attempt_features(prefix)))).read()
    assert features["frame_index"].to_pylist() == [*range(5), *range(180, 185)]


async def test_again_gives_the_same_bytes(s3_store: ObjectStore, bus: Bus) -> None:
    scene = Scene("retarget-again", [Take("attempt1", attempt_id="a"), Take("attempt2", late=1, pace=0.8)])

    async def everything(job: Retargeted) -> dict[str, bytes]:
        names = [keys.output(scene.job_id, name) for name in FILES]
        names += [showing_key(scene.job_id), course_key(scene.job_id), holds_key(scene.job_id)]
        names += [poses_key(scene.job_id, window.index) for window in scene.windows()]
        names += [keys.attempt_poses(scene.prefix(scene.takes[0])), keys.attempt_features(scene.prefix(scene.takes[0]))]
        return {name: await job.store.get_bytes(name) for name in names}

    first = await everything(await retarget(s3_store, bus, scene))
    assert await everything(await retarget(s3_store, bus, scene)) == first


async def test_two_climbers_start_together(s3_store: ObjectStore, bus: Bus) -> None:
    takes = [Take("attempt1", late=1.0), Take("attempt2", late=3.0)]
    job = await retarget(s3_store, bus, Scene("retarget-start", takes, rate=50))
    rows = await job.poses()
    assert (await job.showing()).frame_count == takes[0].frames * 2
    first, second = (rows.where(rows.person_id == number) for number in (1, 2))
    assert away(first, takes[0], first.time_sec).max() < 0.005
    assert away(second, takes[1], second.time_sec + 2.0).mean() < 0.005
    holds = await job.holds()
    assert len(np.unique(holds.hold)) == climber.HOLDS  # both touch the same ones
    assert np.all(np.diff(holds.attempt) >= 0)
    for number in (1, 2):
        assert np.all(np.diff(holds.start_sec[holds.attempt == number]) >= 0)
    metrics = await job.json("metrics.json")
    assert [row["metric"] for row in metrics["comparison"]][:2] == ["time_on_route_sec", "moves"]
    moves = metrics["comparison"][1]
    assert moves["values"] == [5, 5]
    assert moves["differences"] == [0, 0]
    one, other = metrics["attempts"]
    assert [move["limb"] for move in one["moves"]] == [
        "left_foot",
        "right_foot",
        "left_hand",
        "right_foot",
        "right_hand",
    ]
    assert one["moves"][2]["from_hold"] is not None
    assert one["moves"][2]["to_hold"] == other["moves"][2]["to_hold"]
    assert [hold["attempts"] for hold in metrics["holds"]] == [[1, 2]] * climber.HOLDS


async def test_a_slower_climber_is_at_the_same_place_at_once(s3_store: ObjectStore, bus: Bus) -> None:
    takes = [Take("attempt1", late=1.0), Take("attempt2", late=2.0, pace=0.6)]
    job = await retarget(s3_store, bus, Scene("retarget-path", takes, alignment="PATH"))
    assert (await job.showing()).frame_count == takes[0].frames
    course = await job.course()
    inside = (course.time_sec > 1 + climber.LEAVES_SEC) & (course.time_sec < 1 + climber.LAST_MOVE_SEC)
    one, other = (course.y[inside & (course.attempt == number)] for number in (1, 2))
    assert np.abs(one - other).max() < 0.02


async def test_recordings_may_begin_together(s3_store: ObjectStore, bus: Bus) -> None:
    takes = [Take("attempt1", late=1.0), Take("attempt2", late=3.0)]
    job = await retarget(s3_store, bus, Scene("retarget-none", takes, alignment="NONE"))
    assert (await job.showing()).frame_count == takes[1].frames
    rows = await job.poses()
    second = rows.where(rows.person_id == 2)
    assert away(second, takes[1], second.time_sec).max() < 0.005


async def test_one_transform_for_a_camera_that_stands(s3_store: ObjectStore, bus: Bus) -> None:
    take = Take("main", still=1)
    scene = Scene("retarget-single", [take], mode="SINGLE")
    job = await retarget(s3_store, bus, scene)
    rows = await job.poses()
    assert len(rows) == take.frames
    assert away(rows, take, rows.time_sec).max() < 0.005
    (said,) = (await job.json("match.json"))["attempts"]
    assert (said["verdict"], said["reason"], said["hint"]) == ("MATCHED", None, None)
    assert said["sampled_frames"] == said["matched_frames"] == 14
    table = await job.matches()
    assert set(table["source"]) == {"measured"}
    assert table["reason"][1] == "NOT_SAMPLED"
    assert np.ptp(table["h02"]) == 0


async def test_one_transform_for_a_camera_that_moves_is_doubted(s3_store: ObjectStore, bus: Bus) -> None:
    job = await retarget(s3_store, bus, Scene("retarget-moved", [Take("main", still=0.4)], mode="SINGLE"))
    (said,) = (await job.json("match.json"))["attempts"]
    assert (said["verdict"], said["reason"]) == ("WEAK", "CAMERA_MOVED")
    assert "multi" in said["hint"]
    assert said["matched_frames"] < said["sampled_frames"] / 2
    assert job.summary["attempts"][0]["verdict"] == "WEAK"
    with pytest.raises(FailedPrecondition, match="camera moved") as caught:
        await retarget(s3_store, bus, Scene("retarget-never-still", [Take("main")], mode="SINGLE"))
    assert caught.value.reason == "NOT_ENOUGH_MATCHES"


@pytest.mark.parametrize("mode", ["SINGLE", "MULTI"])
async def test_too_few_matches_are_an_answer(s3_store: ObjectStore, bus: Bus, mode: str) -> None:
    good, bad = Take("attempt1", still=1), Take("attempt2", lost=range(2, 400))
    bad.lost = [frame for frame in range(bad.frames) if frame not in (44, 45)]
    with pytest.raises(FailedPrecondition) as caught:
        await retarget(s3_store, bus, Scene(f"retarget-few-{mode}", [good, bad], mode=mode))
    assert caught.value.reason == "NOT_ENOUGH_MATCHES"
    said = caught.value.metadata
    assert said["camera"] == "attempt2"
    assert int(said["frames"]) == bad.frames
    assert int(said["matched_frames"]) == (0 if mode == "SINGLE" else 2)
    assert int(said["best_matches"]) == (9 if mode == "SINGLE" else 300)
    assert "best_inliers" in said


async def test_nobody_is_an_answer(s3_store: ObjectStore, bus: Bus) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await retarget(s3_store, bus, Scene("retarget-nobody", [Take("main", nobody=True)]))
    assert caught.value.reason == "NO_CLIMBER"
    assert caught.value.metadata["camera"] == "main"


async def test_a_click_chooses_the_climber(s3_store: ObjectStore, bus: Bus) -> None:
    take = Take("main", attempt_id="clicked")
    place = take.poses().image[1, 0, :2]
    click = parameters_pb2.SubjectPoint(time_sec=0.2)
    click.point.x, click.point.y = float(place[0]), float(place[1])
    job = await retarget(s3_store, bus, Scene("retarget-click", [take], more={"subject_point": click}))
    poses = rows_from_parquet(await s3_store.get_bytes(keys.attempt_poses(job.scene.prefix(take))))
    assert set(poses.person_id.tolist()) == {9}
    click.time_sec = 50
    with pytest.raises(NotFound) as caught:
        await retarget(s3_store, bus, Scene("retarget-click-away", [take], more={"subject_point": click}))
    assert caught.value.reason == "NO_PERSON_AT_POINT"


async def test_landmarks_as_json(s3_store: ObjectStore, bus: Bus) -> None:
    job = await retarget(s3_store, bus, Scene("retarget-json", [Take("main", unseen=range(100, 130))]))
    document = await job.json("landmarks.json")
    assert (document["width"], document["height"], document["fps"]) == (800, 600, 25)
    assert len(document["frames"]) == document["frame_count"] == job.done.frames
    assert document["frames"][110]["persons"] == []
    (person,) = document["frames"][10]["persons"]
    assert (person["person_id"], person["interpolated"]) == (1, False)
    assert np.array(person["landmarks"]).shape == (33, 5)
