"""Random results of jobs, and a plain answer to any question about them, row by row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from itertools import pairwise
from typing import Any

import numpy as np

from kinemesh.detect_track.v1.detect_track_pb2 import QueryTracksRequest
from kinemesh.geometry.polygons import inside
from kinemesh.results.columns_parquet import PATH_SCHEMA, SIGHTING_SCHEMA, to_parquet, to_table
from kinemesh.results.sightings import PathRows, SightingRows
from kinemesh.storage import ObjectStore, keys

from .site_scene import HEIGHT, WIDTH, site

RATE = 20.0
STEPS = 400
LASTS = {"c1": 1, "c2": 2}
IDS = {number: f"00000000-0000-5000-8000-00000000000{number}" for number in range(1, 6)}


@dataclass
class Results:
    """What a job left: rows as dictionaries, and places by (step, person)."""

    job_id: str
    start_sec: float
    rows: list[dict[str, Any]]
    places: dict[tuple[int, int], tuple[float, float]]

    async def put(self, store: ObjectStore) -> None:
        columns = {name: [row.get(name, 0) for row in self.rows] for name in SIGHTING_SCHEMA.names}
        sightings = to_table(
            SightingRows(
                *(
                    np.array(values, np.str_ if str(kind) == "string" else kind.to_pandas_dtype())
                    for values, kind in zip(columns.values(), SIGHTING_SCHEMA.types, strict=True)
                )
            ),
            SIGHTING_SCHEMA,
        )
        keyed = sorted(self.places)
        step = np.array([key[0] for key in keyed], np.int64)
        person = np.array([key[1] for key in keyed], np.int32)
        place = np.array([self.places[key] for key in keyed]).reshape(-1, 2)
        zero = np.zeros(len(keyed))
        ids = np.array([IDS[number] for number in person.tolist()], np.str_)
        time = self.start_sec + step / RATE
        x, y = np.ascontiguousarray(place.T)
        paths = PathRows(step, time, person, ids, x, y, zero, zero, zero.astype(np.int32))
        recordings = [
            {"recording": camera, "camera": camera, "steps_per_frame": lasts, "width": WIDTH, "height": HEIGHT}
            for camera, lasts in LASTS.items()
        ]
        clock = {"start_sec": self.start_sec, "rate": RATE, "recordings": recordings}
        for name, data in (
            ("sightings.parquet", to_parquet(sightings)),
            ("trajectories.parquet", to_parquet(to_table(paths, PATH_SCHEMA))),
            ("identities.json", json.dumps({"clock": clock}).encode()),
        ):
            await store.put_bytes(keys.output(self.job_id, name), data)


def made_up(job_id: str, seed: int, start_sec: float = 0.0) -> Results:
    """Five people who come and go; the fifth has no place on the map, and some boxes belong to nobody."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    places = {}
    for person in range(1, 6):
        way = np.cumsum(rng.normal(0, 0.12, (STEPS, 2)), axis=0) + rng.uniform(2, 6, 2)
        there = False
        seen = {"c1": np.zeros(STEPS, bool), "c2": np.zeros(STEPS, bool)}
        for camera, shown in seen.items():
            there = bool(rng.random() < 0.5)
            for step in range(STEPS):
                there = there ^ bool(rng.random() < 0.03)
                shown[step] = there and step % LASTS[camera] == 0
        for step in range(STEPS):
            for camera, shown in seen.items():
                if not shown[step]:
                    continue
                if person < 5:
                    places[step, person] = (float(way[step, 0]), float(way[step, 1]))
                left, low = np.float32(rng.uniform(0, WIDTH)), np.float32(rng.uniform(HEIGHT / 2, HEIGHT))
                number = person if rng.random() > 0.05 else 0
                rows.append(
                    {
                        "step": step,
                        "time_sec": start_sec + step / RATE,
                        "camera": camera,
                        "recording": camera,
                        "camera_frame_index": step // LASTS[camera],
                        "track_id": 10 * person,
                        "person": number,
                        "global_id": IDS.get(number, ""),
                        "x1": left,
                        "y1": low - 50,
                        "x2": left + np.float32(20),
                        "y2": low,
                        "score": np.float32(rng.uniform(0.4, 1)),
                    }
                )
    rows.sort(key=lambda row: (row["step"], row["camera"], row["track_id"]))
    return Results(job_id, start_sec, rows, places)


def answer(jobs: list[Results], request: QueryTracksRequest) -> list[dict[str, Any]]:
    """All presences, in order."""
    found = []
    for job in sorted(jobs, key=lambda job: job.job_id):
        for zone in request.zones or [""]:
            found += _of_job(job, request, zone)
    found = [one for one in found if one["end_sec"] - one["start_sec"] >= request.min_duration_sec - 1e-9]
    return sorted(found, key=lambda o: (o["start_sec"], o["job_id"], o["person"], o["zone"], o["camera"]))


def _of_job(job: Results, request: QueryTracksRequest, zone: str) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    start, stop = _start(job, request), _stop(job, request)
    for row in [row for row in job.rows if start <= row["step"] < stop]:
        place = job.places.get((row["step"], row["person"]))
        if row["person"] and _asked_for(row, place, request) and _in_zone(row, place, zone):
            key = (row["person"],) if zone else (row["person"], row["camera"])
            groups.setdefault(key, []).append({**row, "place": place, "stop": row["step"] + LASTS[row["camera"]]})
    most = request.max_gap_sec if request.HasField("max_gap_sec") else 1.0
    found = []
    for rows in groups.values():
        parts: list[list[dict[str, Any]]] = []
        until = -1
        for row in rows:
            row["stop"] = min(row["stop"], stop)
            gap = row["step"] - until
            if not parts or (gap > 0 and gap / RATE >= most - 1e-9):
                parts.append([])
            parts[-1].append(row)
            until = max(until, row["stop"])
        found += [_presence(job, part, zone) for part in parts]
    return found


def _presence(job: Results, rows: list[dict[str, Any]], zone: str) -> dict[str, Any]:
    start, stop = rows[0]["step"], max(row["stop"] for row in rows)
    worth = dict.fromkeys(sorted({row["camera"] for row in rows}), 0.0)
    for row in rows:
        worth[row["camera"]] += float(row["score"]) * (row["stop"] - row["step"])
    placed = [row["place"] for row in rows if row["place"] is not None]
    legs = [
        np.hypot(b["place"][0] - a["place"][0], b["place"][1] - a["place"][1])
        for a, b in pairwise(rows)
        if a["place"] is not None and b["place"] is not None
    ]
    return {
        "job_id": job.job_id,
        "person": rows[0]["person"],
        "global_id": rows[0]["global_id"],
        "camera": max(worth, key=lambda camera: worth[camera]),
        "zone": zone,
        "start_frame": start,
        "stop_frame": stop,
        "start_sec": job.start_sec + start / RATE,
        "end_sec": job.start_sec + stop / RATE,
        "first": placed[0] if placed else None,
        "last": placed[-1] if placed else None,
        "distance": float(sum(legs)),
        "score": float(np.mean([row["score"] for row in rows])),
    }


def _asked_for(row: dict[str, Any], place: Any, request: QueryTracksRequest) -> bool:
    if request.global_ids and row["global_id"] not in request.global_ids:
        return False
    if request.cameras and row["camera"] not in request.cameras:
        return False
    if request.within:
        corners = np.array([(corner.x, corner.y) for corner in request.within])
        return place is not None and bool(inside(np.array([place]), corners)[0])
    return True


def _in_zone(row: dict[str, Any], place: Any, zone: str) -> bool:
    if not zone:
        return True
    area = next(one for one in site().zones if one.zone == zone)
    if area.WhichOneof("area") == "map":
        corners = np.array([(corner.x, corner.y) for corner in area.map.corners])
        return place is not None and bool(inside(np.array([place]), corners)[0])
    corners = np.array([(corner.x, corner.y) for corner in area.image.corners])
    foot = np.array([[(float(row["x1"]) + float(row["x2"])) / 2 / WIDTH, float(row["y2"]) / HEIGHT]])
    return bool(row["camera"] == area.image.camera and inside(foot, corners)[0])


def _start(job: Results, request: QueryTracksRequest) -> int:
    return next((step for step in range(STEPS + 1) if _seconds(job, step) >= _edges(request)[0] - 1e-9), STEPS)


def _stop(job: Results, request: QueryTracksRequest) -> int:
    return next((step for step in range(STEPS + 3) if _seconds(job, step) >= _edges(request)[1] - 1e-9), STEPS + 3)


def _seconds(job: Results, step: int) -> float:
    return job.start_sec + step / RATE


def _edges(request: QueryTracksRequest) -> tuple[float, float]:
    if request.HasField("clock"):
        clock = request.clock
        return (
            clock.start_sec if clock.HasField("start_sec") else -np.inf,
            clock.end_sec if clock.HasField("end_sec") else np.inf,
        )
    if request.HasField("time"):
        began = site().clock_start_time.ToDatetime(UTC)
        span = request.time
        return (
            (span.start_time.ToDatetime(UTC) - began).total_seconds() if span.HasField("start_time") else -np.inf,
            (span.end_time.ToDatetime(UTC) - began).total_seconds() if span.HasField("end_time") else np.inf,
        )
    return -np.inf, np.inf
