"""The stage resolve, with the real broker and object store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any

import cv2
import numpy as np
import pytest
import pytest_asyncio

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.tasks import TaskContext
from kinemesh.environment.v1 import environment_pb2
from kinemesh.results.columns import joined
from kinemesh.results.columns_parquet import PATH_SCHEMA, PERSON_SCHEMA, SIGHTING_SCHEMA, from_parquet
from kinemesh.results.sightings import PathRows, PersonRows, SightingRows
from kinemesh.settings import NatsSettings
from kinemesh.storage import ObjectStore, keys
from kinemesh.task.v1 import task_pb2
from kinemesh.testing.decoding import IN_PROCESS
from kinemesh.testing.fixtures import NatsServer
from kinemesh_detect_track.domain.association.decisions import Decision, Kind
from kinemesh_detect_track.resolving import Resolution
from kinemesh_detect_track.site import global_id

from .site_scene import START, Scene, Walk, site

FILES = {
    "sightings.parquet",
    "trajectories.parquet",
    "trajectories.csv",
    "trajectories.geojson",
    "identities.json",
    "zones.json",
    "zones.csv",
    "heatmap.png",
}


def across(seconds: float) -> tuple[float, float]:
    return 0.5 * seconds, 4.0


def back(seconds: float) -> tuple[float, float]:
    return 9.0 - 0.4 * seconds, 1.0


@pytest_asyncio.fixture(loop_scope="session")
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with connect(NatsSettings(url=nats_server.url), "test") as connected:
        yield connected


class Resolved:
    """A job after the stage."""

    def __init__(self, store: ObjectStore, scene: Scene, done: task_pb2.TaskDone) -> None:
        self.store, self.scene, self.done = store, scene, done

    async def output(self, name: str) -> bytes:
        return await self.store.get_bytes(keys.output(self.scene.job_id, name))

    async def json(self, name: str) -> Any:
        return json.loads(await self.output(name))

    async def sightings(self) -> SightingRows:
        return from_parquet(SightingRows, await self.output("sightings.parquet"), SIGHTING_SCHEMA)

    async def paths(self) -> PathRows:
        return from_parquet(PathRows, await self.output("trajectories.parquet"), PATH_SCHEMA)


async def resolve(store: ObjectStore, bus: Bus, scene: Scene) -> Resolved:
    await scene.put(store)
    task = scene.task()
    return Resolved(store, scene, await Resolution(store, IN_PROCESS).resolve(task, TaskContext(bus, task)))


TWO = (
    Walk(1, "c1", 1, 0, 18, across, undecided_sec=0.4),
    Walk(1, "c2", 1, 4, 20, across, undecided_sec=1.2),
    Walk(2, "c2", 2, 1, 12, back),
)


async def test_everything_is_there_and_agrees(s3_store: ObjectStore, bus: Bus) -> None:
    job = await resolve(s3_store, bus, Scene("resolve-two", TWO))
    assert {output.name for output in job.done.outputs} == FILES
    for output in job.done.outputs:
        assert len(await job.output(output.name)) == output.size_bytes > 0
    assert job.done.summary["persons"] == 2

    rows, before = await job.sightings(), job.scene.rows()
    assert len(rows) == len(before) == job.done.summary["boxes"]
    for name in ("step", "camera", "track_id", "x1", "map_x", "camera_frame_index"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(before, name))
    # What was undecided for a while belongs to whom it was given to.
    assert set(rows.person[rows.track_id == 1].tolist()) == {1}
    assert {(int(n), str(g)) for n, g in zip(rows.person, rows.global_id, strict=True)} == {
        (number, global_id("resolve-two", number)) for number in (1, 2)
    }

    paths = await job.paths()
    assert np.all(np.diff(paths.step) >= 0)
    own = paths.person == 1
    np.testing.assert_allclose(paths.time_sec, START + paths.step / 20, atol=1e-9)
    np.testing.assert_allclose(paths.x[own], 0.5 * (paths.time_sec[own] - START), atol=0.02)
    np.testing.assert_allclose(paths.y[own], 4.0, atol=0.02)
    np.testing.assert_allclose(paths.vx[own], 0.5, atol=0.05)
    assert paths.step[own].tolist() == list(range(399))
    assert set(paths.cameras[own & (paths.step > 100) & (paths.step < 350)].tolist()) == {1, 2}

    table = list(csv.DictReader(io.StringIO((await job.output("trajectories.csv")).decode())))
    assert len(table) == len(paths)
    assert float(table[-1]["x"]) == round(float(paths.x[-1]), 6)
    assert table[0]["time"] == "2026-03-01T08:01:40.000Z"
    again = await job.store.get_bytes(keys.stage_result("resolve-two", "resolve", "all", "paths"))
    assert again == await job.output("trajectories.parquet")


async def test_segments_hold_their_frames_and_no_others(s3_store: ObjectStore, bus: Bus) -> None:
    job = await resolve(s3_store, bus, Scene("resolve-segments", TWO))
    whole = await job.sightings()
    for camera in ("c1", "c2"):
        parts = []
        for segment in (one for one in job.scene.task().segments if one.camera == camera):
            key = keys.stage_result("resolve-segments", "resolve", camera, segment.index)
            part = from_parquet(SightingRows, await s3_store.get_bytes(key), SIGHTING_SCHEMA)
            assert np.all(
                (part.camera_frame_index >= segment.start_frame) & (part.camera_frame_index < segment.stop_frame)
            )
            parts.append(part)
        together = joined(parts)
        for column in fields(SightingRows):
            np.testing.assert_array_equal(
                getattr(together, column.name), getattr(whole, column.name)[whole.recording == camera]
            )


async def test_identities_say_who_and_why(s3_store: ObjectStore, bus: Bus) -> None:
    decisions = (
        Decision(Kind.APPEARED, START + 0.4, 1, 0, 1),
        Decision(Kind.RECOGNISED, START + 5.2, 1, 1, 1, by_place=4.25, by_looks=1.5),
        Decision(Kind.APPEARED, START + 1.3, 2, 1, 2),
    )
    job = await resolve(s3_store, bus, Scene("resolve-why", TWO, decisions=decisions))
    document = await job.json("identities.json")
    first, second = document["identities"]
    assert (first["person"], second["person"]) == (1, 2)
    assert first["global_id"] == global_id("resolve-why", 1)
    assert (first["start_sec"], first["end_sec"]) == (START, START + 20)
    assert first["start_time"] == "2026-03-01T08:01:40.000Z"
    assert abs(first["distance"] - 10) < 0.1
    assert [(one["camera"], one["track_ids"], one["seen_sec"]) for one in first["cameras"]] == [
        ("c1", [1], 18.0),
        ("c2", [1], 16.0),
    ]
    assert [entry["kind"] for entry in first["history"]] == ["appeared", "recognised"]
    assert first["history"][1]["sentence"] == (
        "Track 1 of c2 is this person: the place speaks for it with 4.2, looks with 1.5."
    )
    assert document["clock"]["rate"] == pytest.approx(20)
    assert [(one["recording"], one["steps_per_frame"]) for one in document["clock"]["recordings"]] == [
        ("c1", 1),
        ("c2", 2),
    ]


async def test_mergers_splits_and_hindsight_reach_back(s3_store: ObjectStore, bus: Bus) -> None:
    look = {1: np.array([1, 0], np.float32), 3: np.array([0, 1], np.float32), 5: np.array([0, 1], np.float32)}
    walks = (
        Walk(1, "c1", 1, 0, 9, across),
        Walk(2, "c2", 1, 0.5, 6, across),  # until it is found to be 1
        Walk(1, "c2", 1, 6, 9, across),
        Walk(3, "c1", 2, 0, 5, lambda _: (2.0, 7.5), placed=False),
        Walk(5, "c2", 4, 9, 14, lambda _: (8.0, 7.5), placed=False),  # 3 again, as looks say
    )
    decisions = (Decision(Kind.MERGED, START + 6, 1, other=2, by_looks=0.5),)
    job = await resolve(s3_store, bus, Scene("resolve-merged", walks, decisions=decisions, looks=look))
    rows = await job.sightings()
    assert sorted(set(rows.person.tolist())) == [1, 3]
    assert set(rows.person[(rows.camera == "c2") & (rows.track_id == 1)].tolist()) == {1}
    assert set(rows.person[rows.track_id == 4].tolist()) == {3}
    third = (await job.json("identities.json"))["identities"][1]
    assert third["distance"] is None
    assert [(entry["kind"], entry["other"]) for entry in third["history"]] == [("joined", 5)]
    data = await s3_store.get_bytes(keys.stage_result("resolve-merged", "resolve", "all", "people"))
    people = from_parquet(PersonRows, data, PERSON_SCHEMA)
    assert people.person.tolist() == [1, 3]
    np.testing.assert_allclose(people.embedding, [[1, 0], [0, 1]])
    np.testing.assert_allclose(people.worth, [1, 2])
    assert people.cameras.tolist() == ["c1,c2", "c1,c2"]


async def test_people_of_the_gallery_keep_their_ids(s3_store: ObjectStore, bus: Bus) -> None:
    ids = [f"{number}0000000-0000-4000-8000-000000000000" for number in (1, 2, 3)]
    gallery = PersonRows(
        person=np.array([1, 2, 3], np.int32),
        global_id=np.array(ids),
        known=np.ones(3, np.bool_),
        first_sec=np.full(3, np.nan),
        last_sec=np.full(3, np.nan),
        cameras=np.array(["c1", "c1", "c2"]),
        worth=np.array([3, 2, 1], np.float32),
        embedding=np.eye(3, dtype=np.float32),
    )
    # The first was seen with looks, the second without; the third was not there; the fourth turns out to be the second.
    looks = {
        1: np.array([5, 0, 0], np.float32),
        2: np.array([0, 2, 0], np.float32),
        3: np.array([0, 0, 1], np.float32),
        4: np.array([0, 0.5, 0], np.float32),
    }
    walks = (
        Walk(1, "c1", 1, 0, 20, across),
        Walk(4, "c1", 2, 0, 4, lambda _: (1.0, 1.0), placed=False),
        Walk(2, "c2", 3, 9, 14, lambda _: (8.0, 7.5), placed=False),
    )
    here = site(gallery=environment_pb2.GallerySettings(enabled=True))
    job = await resolve(s3_store, bus, Scene("resolve-known", walks, looks=looks, site=here, gallery=gallery))
    assert job.done.summary["known_persons"] == job.done.summary["persons"] == 2
    assert set((await job.sightings()).global_id.tolist()) == set(ids[:2])
    data = await s3_store.get_bytes(keys.stage_result("resolve-known", "resolve", "all", "people"))
    people = from_parquet(PersonRows, data, PERSON_SCHEMA)
    assert (people.person.tolist(), people.global_id.tolist(), people.known.tolist()) == ([1, 2], ids[:2], [True, True])
    # What is new of them: the gallery adds it to what it has.
    np.testing.assert_allclose(people.worth, [2, 0.5])


async def test_a_split_takes_back_the_time_it_took_to_notice(s3_store: ObjectStore, bus: Bus) -> None:
    walks = (
        Walk(1, "c1", 1, 0, 10, across),
        Walk(1, "c2", 1, 1, 6, across),
        Walk(2, "c2", 1, 6, 10, back, undecided_sec=0.5),
    )
    decisions = (
        Decision(Kind.SPLIT, START + 6, 1, 1, 1),
        Decision(Kind.APPEARED, START + 6.5, 2, 1, 1),
    )
    job = await resolve(s3_store, bus, Scene("resolve-split", walks, decisions=decisions))
    rows = await job.sightings()
    own = rows.camera == "c2"
    np.testing.assert_array_equal(rows.person[own], np.where(rows.time_sec[own] < START + 5 - 1e-6, 1, 2))


async def test_zones_count_by_the_map_and_by_the_picture(s3_store: ObjectStore, bus: Bus) -> None:
    job = await resolve(s3_store, bus, Scene("resolve-zones", TWO))
    document = await job.json("zones.json")
    bay, door = document["zones"]
    # x = 0.5 t lies between 2 and 6 from second 4 to second 12.
    assert (bay["area"], bay["entries"], bay["persons"], bay["most_at_once"]) == ("map", 1, 1, 1)
    assert abs(bay["total_sec"] - 8) <= 0.1
    assert abs(bay["dwell"][0]["start_sec"] - START - 4) <= 0.1
    assert bay["dwell"][0]["global_id"] == global_id("resolve-zones", 1)
    # In c2 the left half is x < 5: the first person until second 10, the second from second 10 to 12.
    assert (door["camera"], door["entries"], door["persons"]) == ("c2", 2, 2)
    visits = list(csv.DictReader(io.StringIO((await job.output("zones.csv")).decode())))
    assert [(one["zone"], one["person"]) for one in visits] == [("bay", "1"), ("door", "1"), ("door", "2")]
    for one in visits:
        assert float(one["duration_sec"]) == pytest.approx(float(one["end_sec"]) - float(one["start_sec"]))
    assert [entry["people"] for entry in bay["counts"]] == [1, 0]


async def test_the_heat_map_is_hot_where_people_were(s3_store: ObjectStore, bus: Bus) -> None:
    job = await resolve(s3_store, bus, Scene("resolve-heat", TWO))
    image = cv2.imdecode(np.frombuffer(await job.output("heatmap.png"), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    picture = np.asarray(image)
    height, width = image.shape[:2]
    assert abs(width / height - 10 / 8) < 0.01

    def colourful(x: float, y: float) -> int:
        pixel = picture[int(y / 8 * height), int(x / 10 * width)].astype(int)
        return int(pixel.max() - pixel.min())

    assert colourful(7.5, 4.0) > 60
    assert colourful(5.0, 1.0) > 60
    assert colourful(8.5, 7.2) < 20


async def test_nobody_at_all(s3_store: ObjectStore, bus: Bus) -> None:
    walks = (Walk(0, "c1", 1, 0, 0.2, across),)  # too short to be anybody
    job = await resolve(s3_store, bus, Scene("resolve-nobody", walks, site=site(zones=[])))
    assert {output.name for output in job.done.outputs} == FILES
    assert (await job.json("identities.json"))["identities"] == []
    assert len(await job.paths()) == 0
    assert set((await job.sightings()).global_id.tolist()) == {""}
    assert (await job.json("trajectories.geojson"))["features"] == []


async def test_again_gives_the_same_bytes(s3_store: ObjectStore, bus: Bus) -> None:
    first = await resolve(s3_store, bus, Scene("resolve-again", TWO))
    before = {name: await first.output(name) for name in FILES}
    again = await resolve(s3_store, bus, Scene("resolve-again", TWO))
    assert {name: await again.output(name) for name in FILES} == before


async def test_geojson_has_every_way(s3_store: ObjectStore, bus: Bus) -> None:
    job = await resolve(s3_store, bus, Scene("resolve-lines", (*TWO, Walk(2, "c1", 9, 16, 18, back))))
    features = (await job.json("trajectories.geojson"))["features"]
    assert [(one["properties"]["person"], one["geometry"]["type"]) for one in features] == [
        (1, "LineString"),
        (2, "LineString"),
        (2, "LineString"),
    ]
    for one in features:
        assert len(one["geometry"]["coordinates"]) == len(one["properties"]["time_sec"])
