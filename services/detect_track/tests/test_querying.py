"""Who was where when: against a plain search through the same rows, with the real object store."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh import errors
from kinemesh.common.v1.common_pb2 import MapPoint
from kinemesh.detect_track.v1.detect_track_pb2 import (
    ClockSpan,
    Presence,
    QueryTracksRequest,
    QueryTracksResponse,
    TimeSpan,
)
from kinemesh.environment.v1 import environment_pb2
from kinemesh.job.v1 import job_pb2
from kinemesh.pipelining import in_thread
from kinemesh.storage import ObjectStore, keys
from kinemesh_detect_track.query_sql import Question, Span, answered, opened
from kinemesh_detect_track.query_tables import Tables
from kinemesh_detect_track.querying import Queries
from kinemesh_detect_track.settings import QuerySettings

from .ingest_stand_in import Ingest, ingest_and_jobs
from .query_reference import IDS, RATE, Results, answer, made_up
from .site_scene import BEGAN, site

SQUARE = [MapPoint(x=x, y=y) for x, y in [(2.5, 2.5), (5.5, 3), (5, 5.5), (2, 6)]]


@dataclass
class Site:
    """Seven jobs, of which five are of the site "floor", four of them the caller's, three of these finished."""

    ingest: Ingest
    queries: Queries
    results: list[Results]
    folder: Path

    async def ask(self, owner: str = "local", **asked: Any) -> QueryTracksResponse:
        return await self.queries.query(QueryTracksRequest(**asked), owner)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def floor(s3_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with ingest_and_jobs() as (ingest, jobs):
        here = site(owner="local")
        ingest.environments["floor"] = here
        results = [made_up(f"query-{n}", seed=n, start_sec=5.0 * n) for n in range(3)]
        others = [made_up(f"query-other-{n}", seed=10 + n) for n in range(2)]
        for one in results:
            ingest.add_job(one.job_id, here)
        ingest.add_job("query-other-0", here, owner="somebody")
        ingest.add_job("query-other-1", site(environment_id="elsewhere"))
        ingest.add_job("query-running", here, state=job_pb2.JOB_STATE_RUNNING)
        ingest.add_job("query-pose", here, pipeline="pose")
        for one in [*results, *others]:
            await one.put(s3_store)
        folder = tmp_path_factory.mktemp("tables")
        yield Site(ingest, Queries(s3_store, jobs, QuerySettings(), folder), results, folder)


def same(found: Presence, expected: dict[str, Any]) -> None:
    for name in ("job_id", "global_id", "camera", "zone", "start_frame", "stop_frame"):
        assert getattr(found, name) == expected[name], name
    for name in ("start_sec", "end_sec", "distance", "score"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-5), name
    for name in ("first", "last"):
        field: Any = f"{name}_position"
        position = getattr(found, field) if found.HasField(field) else None
        assert (position and (position.x, position.y)) == expected[name]
    assert found.start_time.ToDatetime(BEGAN.tzinfo).timestamp() - BEGAN.timestamp() == pytest.approx(found.start_sec)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def moment(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(round((BEGAN.timestamp() + seconds) * 1000))
    return stamp


def random_question(rng: np.random.Generator) -> dict[str, Any]:
    asked: dict[str, Any] = {"environment_id": "floor", "page_size": 100}

    def chance(share: float) -> bool:
        return bool(rng.random() < share)

    if chance(0.4):
        asked["global_ids"] = [IDS[int(number)] for number in rng.choice([1, 2, 3, 4, 5], 2, replace=False)]
    if chance(0.3):
        asked["cameras"] = [str(rng.choice(["c1", "c2"]))]
    if chance(0.4):
        asked["zones"] = [str(zone) for zone in rng.choice(["bay", "door"], rng.integers(1, 3), replace=False)]
    if chance(0.3):
        asked["within"] = SQUARE
    if chance(0.4):
        start = round(float(rng.uniform(0, 15)), 2)
        stop = start + round(float(rng.uniform(0.5, 15)), 2)
        span = {"start_sec": start, "end_sec": stop}
        if chance(0.3):
            del span[str(rng.choice(["start_sec", "end_sec"]))]
        if chance(0.5):
            asked["clock"] = ClockSpan(**span)
        else:
            times = {name.replace("_sec", "_time"): moment(value) for name, value in span.items()}
            asked["time"] = TimeSpan(**times)
    if chance(0.5):
        asked["max_gap_sec"] = float(rng.choice([0, 0.1, 0.25, 0.5, 3]))
    if chance(0.4):
        asked["min_duration_sec"] = float(rng.choice([0.1, 0.5, 2]))
    if chance(0.3):
        asked["job_ids"] = ["query-2", "query-0"]
    return asked


@pytest.mark.parametrize("seed", range(40))
async def test_any_question_is_answered_as_by_a_plain_search(floor: Site, seed: int) -> None:
    asked = random_question(np.random.default_rng(seed))
    request = QueryTracksRequest(**asked)
    jobs = [one for one in floor.results if not request.job_ids or one.job_id in request.job_ids]
    expected = answer(jobs, request)
    presences: list[Presence] = []
    while True:
        page = await floor.ask(**asked)
        presences += page.presences
        assert page.total_size == len(expected)
        if not page.next_page_token:
            break
        asked["page_token"] = page.next_page_token
    assert len(presences) == len(expected)
    for found, one in zip(presences, expected, strict=True):
        same(found, one)


async def test_pages_of_any_size_and_skips(floor: Site) -> None:
    everything: list[Presence] = []
    token = ""
    while not everything or token:
        page = await floor.ask(environment_id="floor", page_size=7, page_token=token)
        everything += page.presences
        token = page.next_page_token
        assert len(page.presences) == 7 or not token
    assert len(everything) == page.total_size > 50
    assert [one.start_sec for one in everything] == sorted(one.start_sec for one in everything)
    skipped = await floor.ask(environment_id="floor", page_size=5, skip=11)
    assert list(skipped.presences) == everything[11:16]
    default = await floor.ask(environment_id="floor")
    assert list(default.presences) == everything[:20]
    beyond = await floor.ask(environment_id="floor", skip=100_000)
    assert (len(beyond.presences), beyond.next_page_token, beyond.total_size) == (0, "", len(everything))


async def test_paths_have_a_position_every_so_many_seconds(floor: Site) -> None:
    page = await floor.ask(job_ids=["query-1"], global_ids=[IDS[1]], path_step_sec=0.5, max_gap_sec=30)
    job = floor.results[1]
    for presence in page.presences:
        steps = np.rint((np.array(presence.path.time_sec) - job.start_sec) * RATE).astype(int).tolist()
        known = [step for step in range(presence.start_frame, presence.stop_frame) if (step, 1) in job.places]
        first: dict[int, int] = {}
        for step in known:
            first.setdefault((step - presence.start_frame) // 10, step)
        assert steps == list(first.values())
        places = list(zip(presence.path.x, presence.path.y, strict=True))
        assert places == [job.places[step, 1] for step in steps]
    assert sum(len(one.path.x) for one in page.presences) > 10
    assert not (await floor.ask(job_ids=["query-1"])).presences[0].HasField("path")


async def test_zones_and_time_of_day_are_those_of_the_site_as_it_is_now(floor: Site, s3_store: ObjectStore) -> None:
    whole = [MapPoint(x=x, y=y) for x, y in [(-100, -100), (100, -100), (100, 100), (-100, 100)]]
    zone = environment_pb2.Zone(zone="all", map=environment_pb2.MapPolygon(corners=whole))
    later = site(environment_id="later", owner="local", zones=[])
    floor.ingest.add_job("query-later", later)
    floor.ingest.environments["later"] = site(environment_id="later", owner="local", zones=[zone])
    await made_up("query-later", 99).put(s3_store)
    page = await floor.ask(environment_id="later", zones=["all"])
    assert page.total_size > 0
    with pytest.raises(errors.InvalidArgument) as refused:
        await floor.ask(job_ids=["query-later"], zones=["all"])  # a job remembers its site as it was
    assert refused.value.reason == "UNKNOWN_ZONE"


async def test_results_that_changed_are_read_anew(floor: Site, s3_store: ObjectStore) -> None:
    floor.ingest.add_job("query-changed", site(environment_id="changed"))
    first = made_up("query-changed", 5)
    await first.put(s3_store)
    before = await floor.ask(job_ids=["query-changed"], global_ids=[IDS[1]])
    assert before.total_size > 0
    first.rows = [row for row in first.rows if row["person"] != 1]  # as when a person is forgotten
    await first.put(s3_store)
    assert (await floor.ask(job_ids=["query-changed"], global_ids=[IDS[1]])).total_size == 0
    held = [name for name in names_in(floor.folder) if name.startswith("query-changed~")]
    assert len(held) == 3


async def test_a_job_that_is_deleted_meanwhile_is_left_out(floor: Site, s3_store: ObjectStore) -> None:
    floor.ingest.add_job("query-gone", site(environment_id="floor"))
    asked: dict[str, Any] = {"environment_id": "floor", "cameras": ["c1"]}
    without = await floor.ask(**asked)
    await made_up("query-gone", 7).put(s3_store)
    assert (await floor.ask(**asked)).total_size > without.total_size
    await s3_store.delete_prefix(keys.job_prefix("query-gone"))
    assert await floor.ask(**asked) == without
    del floor.ingest.jobs["query-gone"]


@pytest.mark.parametrize(
    ("asked", "kind", "reason"),
    [
        ({}, errors.InvalidArgument, "SITE_OR_JOBS_NEEDED"),
        ({"environment_id": "nowhere"}, errors.NotFound, "ENVIRONMENT_NOT_FOUND"),
        ({"job_ids": ["nothing"]}, errors.NotFound, "JOB_NOT_FOUND"),
        ({"job_ids": ["query-other-0"]}, errors.NotFound, "JOB_NOT_FOUND"),
        ({"job_ids": ["../x"]}, errors.InvalidArgument, "INVALID_ID"),
        ({"job_ids": ["query-running"]}, errors.FailedPrecondition, "JOB_NOT_SUCCEEDED"),
        ({"job_ids": ["query-pose"]}, errors.InvalidArgument, "WRONG_PIPELINE"),
        ({"zones": ["bay", "attic"]}, errors.InvalidArgument, "UNKNOWN_ZONE"),
        ({"within": SQUARE[:2]}, errors.InvalidArgument, "POLYGON_INVALID"),
        ({"within": [*SQUARE, MapPoint(x=float("nan"))]}, errors.InvalidArgument, "POLYGON_INVALID"),
        ({"clock": ClockSpan(start_sec=3, end_sec=3)}, errors.InvalidArgument, "SPAN_EMPTY"),
        ({"clock": ClockSpan(start_sec=float("nan"))}, errors.InvalidArgument, "SPAN_EMPTY"),
        ({"min_duration_sec": -1}, errors.InvalidArgument, "OUT_OF_RANGE"),
        ({"max_gap_sec": float("inf")}, errors.InvalidArgument, "OUT_OF_RANGE"),
        ({"page_size": 101}, errors.InvalidArgument, "OUT_OF_RANGE"),
        ({"skip": -1}, errors.InvalidArgument, "OUT_OF_RANGE"),
        ({"page_token": "made up"}, errors.InvalidArgument, "INVALID_PAGE_TOKEN"),
        ({"page_token": "W10="}, errors.InvalidArgument, "INVALID_PAGE_TOKEN"),
        *(
            ({"page_token": b64encode(key).decode()}, errors.InvalidArgument, "INVALID_PAGE_TOKEN")
            for key in (
                b"[1" + b"0" * 400 + b', "a", 1, "", ""]',
                b'[1, "a", Infinity, "", ""]',
                b'[NaN, "a", 1, "", ""]',
                b'[1, "a", 1e30, "", ""]',
                b"[" * 100_000,
            )
        ),
        ({"global_ids": ["x"] * 1001}, errors.InvalidArgument, "OUT_OF_RANGE"),
    ],
)
async def test_what_cannot_be_asked(
    floor: Site, asked: dict[str, Any], kind: type[errors.KinemeshError], reason: str
) -> None:
    if asked and "job_ids" not in asked:
        asked = {"environment_id": "floor", **asked}
    with pytest.raises(kind) as refused:
        await floor.ask(**asked)
    assert refused.value.reason == reason


async def test_a_site_without_results_refuses_the_same(floor: Site) -> None:
    floor.ingest.environments["new"] = site(environment_id="new", owner="local")
    for asked, reason in (
        ({"zones": ["attic"]}, "UNKNOWN_ZONE"),
        ({"clock": ClockSpan(start_sec=2, end_sec=1)}, "SPAN_EMPTY"),
    ):
        with pytest.raises(errors.InvalidArgument) as refused:
            await floor.ask(environment_id="new", **asked)
        assert refused.value.reason == reason


async def test_time_of_day_needs_a_clock_that_has_one(floor: Site, s3_store: ObjectStore) -> None:
    timeless = site(environment_id="timeless", owner="local")
    timeless.ClearField("clock_start_time")
    floor.ingest.environments["timeless"] = timeless
    floor.ingest.add_job("query-timeless", timeless)
    await made_up("query-timeless", 3).put(s3_store)
    page = await floor.ask(environment_id="timeless")
    assert page.presences
    assert not page.presences[0].HasField("start_time")
    with pytest.raises(errors.FailedPrecondition) as refused:
        await floor.ask(environment_id="timeless", time=TimeSpan(start_time=moment(0)))
    assert refused.value.reason == "NO_TIME_OF_DAY"


async def test_names_are_values_and_never_part_of_the_question(floor: Site) -> None:
    for name in ("'; DROP TABLE presences; --", "c1' OR '1'='1", "$1"):
        assert (await floor.ask(environment_id="floor", cameras=[name], global_ids=[name])).total_size == 0


async def test_too_much_for_the_disk_is_refused(s3_store: ObjectStore, tmp_path: Path) -> None:
    async with ingest_and_jobs() as (ingest, jobs):
        queries = Queries(s3_store, jobs, QuerySettings(cache_mb=1), tmp_path)
        ingest.add_job("query-large", site())
        large = made_up("query-large", 1)
        await large.put(s3_store)
        await s3_store.put_bytes(keys.output("query-large", "trajectories.parquet"), bytes(2 << 20))
        with pytest.raises(errors.ResourceExhausted) as refused:
            await queries.query(QueryTracksRequest(job_ids=["query-large"]), "local")
        assert refused.value.reason == "QUERY_TOO_LARGE"
        assert names_in(tmp_path) == []


async def test_room_is_made_for_what_is_asked_now(s3_store: ObjectStore, tmp_path: Path) -> None:
    async with ingest_and_jobs() as (ingest, jobs):
        queries = Queries(s3_store, jobs, QuerySettings(cache_mb=1), tmp_path)
        names = [f"query-room-{number}" for number in range(3)]
        for number, name in enumerate(names):
            ingest.add_job(name, site())
            one = made_up(name, number)
            await one.put(s3_store)
            padding = b" " * 400_000
            known = await s3_store.get_bytes(keys.output(name, "identities.json"))
            await s3_store.put_bytes(keys.output(name, "identities.json"), known + padding)
        for name in names:
            assert (await queries.query(QueryTracksRequest(job_ids=[name]), "local")).total_size > 0
        held = {name.partition("~")[0] for name in names_in(tmp_path) if "~" in name}
        assert held == {"query-room-1", "query-room-2"}


async def test_tables_that_nobody_asks_for_go(s3_store: ObjectStore, tmp_path: Path) -> None:
    await made_up("query-idle", 1).put(s3_store)
    tables = Tables(s3_store, tmp_path, 1 << 30)
    assert len(await tables.of(["query-idle"])) == 1
    await tables.drop_unused(for_s=60)
    assert len(names_in(tmp_path)) == 3
    await tables.drop_unused(for_s=0)
    assert names_in(tmp_path) == []
    assert len(await tables.of(["query-idle"])) == 1


async def test_a_query_that_takes_too_long_is_ended(s3_store: ObjectStore, tmp_path: Path) -> None:
    async with ingest_and_jobs() as (ingest, jobs):
        queries = Queries(s3_store, jobs, QuerySettings(timeout_s=0.001), tmp_path)
        ingest.add_job("query-slow", site())
        with pytest.raises(errors.DeadlineExceeded) as refused:
            await queries.query(QueryTracksRequest(job_ids=["query-slow"]), "local")
        assert refused.value.reason == "QUERY_TIMED_OUT"


async def test_a_query_that_is_interrupted_says_so(floor: Site, s3_store: ObjectStore, tmp_path: Path) -> None:
    tables = await Tables(s3_store, tmp_path, 1 << 30).of([one.job_id for one in floor.results])
    question = Question([], [], None, None, [Span()] * 3, 0, 1, 0, 20, 0, None)
    connection = opened(tmp_path, 128)
    running = asyncio.create_task(in_thread(answered, connection, tables, question))
    while not running.done():
        connection.interrupt()
        await asyncio.sleep(0)
    with pytest.raises(errors.DeadlineExceeded) as refused:
        await running
    assert refused.value.reason == "QUERY_TIMED_OUT"
    connection.close()


def test_the_database_reaches_nothing_but_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (tmp_path / "secret.csv").write_text("a\n1\n")
    connection = opened(folder, 128)
    for statement in (
        f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')",
        f"SELECT * FROM read_csv('{folder / '..' / 'secret.csv'}')",
        f"COPY (SELECT 1) TO '{tmp_path / 'new.csv'}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)
    connection.close()
