"""The stage match, with the real broker and object store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields

import numpy as np
import pytest
import pytest_asyncio

from kinemesh import errors
from kinemesh.bus.connection import Bus, connect
from kinemesh.geometry.homography import apply
from kinemesh.job.v1 import parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh.results.matches import MatchRows, Verdict
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.fixtures import NatsServer
from kinemesh_matcher import features_parquet
from kinemesh_matcher.lying import NOT_SAMPLED
from kinemesh_matcher.rehearsal import rehearse
from kinemesh_matcher.settings import MatchingSettings
from kinemesh_matcher.worker import plan_of

from .match_job import FRAMES, SIZE, Jobs, truth

SMALL = MatchingSettings(frame_features=700, frame_side=320)
AFFINE = matcher_pb2.TRANSFORM_MODEL_AFFINE
HOMOGRAPHY = matcher_pb2.TRANSFORM_MODEL_HOMOGRAPHY


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=nats_server.url), "test") as connected:
        yield connected


@pytest.fixture
def jobs(s3_store: ObjectStore, bus: Bus) -> Jobs:
    return Jobs(s3_store, bus)


def assert_rows_equal(one: MatchRows, other: MatchRows) -> None:
    for field in fields(MatchRows):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


async def test_every_frame_is_placed_within_half_a_pixel_whatever_the_cut(jobs: Jobs) -> None:
    whole = await jobs.make("match-whole", [0, 23])
    parts = await jobs.make("match-parts", [0, 7, 15, 30])
    rows = await whole.all()
    assert_rows_equal(await parts.all(), rows)

    assert rows.frame_index.tolist() == list(range(FRAMES))
    np.testing.assert_array_equal(rows.time_sec, whole.index.times)
    assert set(rows.verdict.tolist()) == {Verdict.MATCHED}
    assert set(rows.reason.tolist()) == {""}
    assert np.flatnonzero(~rows.followed).tolist() == [0, 10, 20, 30]
    off = whole.errors(rows)
    assert off.max() < 0.5
    assert off.mean() < 0.25
    assert (rows.inliers >= 16).all()
    assert (rows.inliers[rows.followed] <= rows.matches[rows.followed]).all()
    assert ((rows.coverage > 0.1) & (rows.coverage <= 1)).all()
    assert ((rows.rms_error_px > 0) & (rows.rms_error_px < 3)).all()
    for number, segment in enumerate(parts.segments):
        own = await parts.rows(number)
        assert own.frame_index.tolist() == list(range(segment.start_frame, segment.stop_frame))


async def test_a_hidden_frame_on_which_features_are_matched_costs_those_up_to_the_next(jobs: Jobs) -> None:
    whole = await jobs.make("match-hidden-whole", frames=30, occluded=(10, 17))
    parts = await jobs.make("match-hidden-parts", [0, 12, 18], frames=30, occluded=(10, 17))
    rows = await whole.all()
    assert_rows_equal(await parts.all(), rows)
    assert rows.reason[10:15].tolist() == ["NOT_ENOUGH_FEATURES", *[NOT_SAMPLED] * 4]
    assert np.flatnonzero(rows.verdict == Verdict.CANNOT_MATCH).tolist() == [10, 11, 12, 13, 14, 17]
    assert np.flatnonzero(~rows.followed).tolist() == [0, *range(10, 16), 20]
    assert np.nanmax(whole.errors(rows)) < 0.5


async def test_doing_it_again_gives_the_same_bytes(jobs: Jobs) -> None:
    job = await jobs.make("match-again", [0, 8], frames=12)
    first = [(await job.do(number)).frames for number in (0, 1)]
    before = [await job.bytes_of(number, suffix) for number in (0, 1) for suffix in ("parquet", "features")]
    assert first == [8, 4]
    again = await jobs.make("match-again", [0, 8], frames=12)
    for number in (1, 0):
        await again.do(number)
    assert [await job.bytes_of(number, suffix) for number in (0, 1) for suffix in ("parquet", "features")] == before
    with pytest.raises(errors.NotFound):
        await job.bytes_of(0, "points")


async def test_features_are_kept_of_a_frame_a_second(jobs: Jobs) -> None:
    job = await jobs.make("match-features", [0, 25, 33])
    await job.all()
    tables = [await job.features(number) for number in range(3)]
    for table, frames in zip(tables, ([0], [30], []), strict=True):
        assert table.schema == features_parquet.FRAME_SCHEMA
        assert np.unique(table["frame_index"].to_numpy()).tolist() == frames
        assert table.num_rows <= 1000
    x, y = (tables[1][name].to_numpy() for name in ("x", "y"))
    assert tables[1].num_rows > 200
    assert ((x >= 0) & (x < SIZE[0]) & (y >= 0) & (y < SIZE[1])).all()
    assert x.max() > 0.8 * SIZE[0]
    assert (np.diff(tables[1]["response"].to_numpy()) <= 0).all()


async def test_of_a_still_camera_samples_and_their_points_are_enough(jobs: Jobs) -> None:
    job = await jobs.make("match-single", [0, 20], "SINGLE", transform_model=HOMOGRAPHY, settings=SMALL)
    rows = await job.all()
    assert rows.frame_index.tolist() == list(range(FRAMES))
    sampled = np.isin(np.arange(FRAMES), (0, 30))
    assert (rows.reason == np.where(sampled, "", NOT_SAMPLED)).all()
    assert (rows.verdict == np.where(sampled, Verdict.MATCHED, Verdict.CANNOT_MATCH)).all()
    assert not rows.followed.any()
    assert np.isnan(rows.matrix[~sampled]).all()
    assert np.isnan(rows.rms_error_px[~sampled]).all()
    assert (rows.image_features[~sampled] == 0).all()
    assert job.errors(rows)[sampled].max() < 0.5
    for number, frame in enumerate((0, 30)):
        pairs = await job.pairs(number)
        assert len(pairs) == rows.inliers[frame]
        assert set(pairs.frame_index.tolist()) == {frame}
        away = apply(truth(frame, SIZE), pairs.image) - pairs.reference
        assert np.median(np.linalg.norm(away, axis=1)) < 0.5
        assert np.abs(np.median(away, axis=0)).max() < 0.06


async def test_a_segment_without_a_sample_has_rows_and_no_points(jobs: Jobs) -> None:
    job = await jobs.make("match-sampleless", [0, 1, 20], "SINGLE", frames=22)
    await job.all()
    for number in (1, 2):
        assert set((await job.rows(number)).reason.tolist()) == {NOT_SAMPLED}
        assert len(await job.pairs(number)) == 0
        assert (await job.features(number)).num_rows == 0


@pytest.mark.parametrize(
    ("mode", "model", "affine"),
    [("SINGLE", AFFINE, True), ("SINGLE", HOMOGRAPHY, False), ("MULTI", HOMOGRAPHY, False), ("MULTI", AFFINE, True)],
)
async def test_what_transforms_may_do(
    jobs: Jobs, mode: str, model: matcher_pb2.TransformModel.ValueType, affine: bool
) -> None:
    rows = await (await jobs.make(f"match-model-{mode}-{model}", mode=mode, frames=3, transform_model=model)).all()
    found = rows.matrix[rows.verdict == Verdict.MATCHED]
    assert len(found)
    assert bool((np.abs(found[:, 6:8]) < 1e-12).all()) is affine


@pytest.mark.parametrize(
    ("name", "size", "rotation"),
    [("odd", (421, 337), 0), ("large", (1300, 974), 0), ("quarter", (360, 480), 90), ("over", (480, 360), 180)],
)
async def test_transforms_are_those_of_the_upright_frame(
    jobs: Jobs, name: str, size: tuple[int, int], rotation: int
) -> None:
    job = await jobs.make(f"match-{name}", [0, 3], size=size, frames=6, rotation=rotation, settings=SMALL)
    assert (job.index.width, job.index.height) == size
    rows = await job.all()
    assert (rows.verdict == Verdict.MATCHED).all()
    # Half a pixel of the frame, forgotten, would show: the picture that is looked at is smaller than the frame.
    assert job.errors(rows).max() < 0.3
    table = await job.features(0)
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    assert not (np.hypot(x / size[0] - 0.5, y / size[1] - 0.6) < 0.05).any()  # who climbs is there
    assert size[0] * 0.8 < x.max() < size[0]
    assert size[1] * 0.8 < y.max() < size[1]


async def test_people_are_left_out(jobs: Jobs) -> None:
    job = await jobs.make("match-masked", frames=2)
    bare = await jobs.make("match-unmasked", frames=2, nobody=True)
    in_the_middle = []
    for one in (job, bare):
        await one.do(0)
        table = await one.features(0)
        x, y = (table[name].to_numpy() for name in ("x", "y"))
        in_the_middle.append(int((np.hypot(x / SIZE[0] - 0.5, y / SIZE[1] - 0.6) < 0.05).sum()))
    assert in_the_middle[0] == 0 < in_the_middle[1]


async def test_another_wall_is_said_not_to_match(jobs: Jobs) -> None:
    job = await jobs.make("match-other", [0, 4], frames=8, seed=5)
    rows = await job.all()
    assert set(rows.verdict.tolist()) == {Verdict.CANNOT_MATCH}
    # Where nothing matches, not every frame is tried.
    assert [frame for frame in range(8) if rows.reason[frame] != NOT_SAMPLED] == [0, 5]
    assert rows.reason[[0, 5]].tolist() == ["NOT_ENOUGH_MATCHES"] * 2
    assert (rows.image_features[[0, 5]] > 100).all()
    assert np.isnan(rows.matrix).all()
    assert (await job.features(0)).num_rows == 0


async def test_without_a_reference_or_poses_it_fails(jobs: Jobs) -> None:
    job = await jobs.make("match-bad", frames=2, wall=b"GIF89a")
    with pytest.raises(errors.UnsupportedMedia) as refused:
        await job.do(0)
    assert refused.value.reason == "NOT_A_PICTURE"
    job = await jobs.make("match-poseless", frames=2)
    await job.store.delete([keys.stage_result(job.job_id, "pose", "main", 0, "parquet")])
    with pytest.raises(errors.NotFound):
        await job.do(0)


@pytest.mark.parametrize(
    ("mode", "start", "frames", "first", "every"),
    [
        ("MULTI", 0, 5000, 0, 1),
        ("MULTI", 137, 5000, 130, 1),
        ("MULTI", 140, 5000, 140, 1),
        ("SINGLE", 137, 90, 137, 30),
        ("SINGLE", 0, 1200, 0, 30),
        ("SINGLE", 0, 1201, 0, 40),
        ("SINGLE", 0, 100_000, 0, 2500),
    ],
)
def test_which_frames_are_looked_at(mode: str, start: int, frames: int, first: int, every: int) -> None:
    segment = task_pb2.Segment(start_frame=start, stop_frame=start + 20)
    plan = plan_of(parameters_pb2.MatchMode.Value(f"MATCH_MODE_{mode}"), segment, frames)
    assert (plan.first, plan.every, plan.follows) == (first, every, mode == "MULTI")
    assert len(range(0, frames, plan.every)) <= 40 or plan.follows


def test_the_rehearsal_works() -> None:
    rehearse()
