"""Who is where, by several cameras together: on given detections, and with a detector of ours on the recordings.

::

    make bench-association DATA=synth2cam OUT=out/bench
    make bench-association DATA=synth2cam DETECTOR=rtmdet_nano_person OUT=out/bench

``DATA`` is laid out as ``site_data`` says. Writes ``OUT/positions.jsonl``, a line for each step with everybody on the
map as the results of a job have them, and ``OUT/association.json``: scores of these (``results``), of what live
listeners get (``live``), milliseconds that a step takes, and, with ``DETECTOR``, scores of the whole job on the
recordings (``job``). Without ground truth there are no scores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from bench_detect import look_in_test_data
from jobs import follow
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from site_data import Camera, Place, Scene, read_scene, scores

from kinemesh.environment.v1 import environment_pb2
from kinemesh.geometry import homography
from kinemesh.results.sightings import SightingRows
from kinemesh_client import KinemeshClient
from kinemesh_client.temporary import temporary_mesh
from kinemesh_detect_track.associating import Part, Recording, associated
from kinemesh_detect_track.domain.association.clock import Clock, Recorded, Schedule, schedule_of
from kinemesh_detect_track.domain.association.people import nobody
from kinemesh_detect_track.domain.association.walking import fused
from kinemesh_detect_track.domain.state import fresh_state
from kinemesh_detect_track.outcome import Whole, outcome
from kinemesh_detect_track.resolving import observed_of
from kinemesh_detect_track.rows import followed, tracked_rows
from kinemesh_detect_track.site import global_id, site_of, view_of
from kinemesh_detect_track.worker import tracker_for

_THRESHOLD: Final = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description="Who is where, by several cameras together.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--detector", default="", help="model that finds people in the recordings; none by default")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scene = read_scene(arguments.data)
    result = measure(scene, arguments.out)
    if arguments.detector:
        look_in_test_data()
        result["job"] = {"detector": arguments.detector, **asyncio.run(run_job(scene, arguments.detector))}
    (arguments.out / "association.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def measure(scene: Scene, out: Path) -> dict[str, Any]:
    """Track in each camera, associate step by step, look once more, score; as the stages of a job do."""
    environment = described(scene.cameras)
    recorded = [(one.name, Recorded(0, float(one.moments[0]), one.moments)) for one in scene.cameras]
    schedule = schedule_of(recorded)
    parts = [part(one, number, environment, schedule) for number, one in enumerate(scene.cameras)]
    people = nobody(len(scene.cameras), np.zeros((0, 0), np.float32))
    started = time.perf_counter()
    found = associated(people, parts, schedule.clock, schedule.taken, environment, embedded=False)
    seconds = time.perf_counter() - started
    names = [one.name for one in scene.cameras]
    observed = observed_of(found.rows, names)
    whole = Whole(observed, np.ones(len(found.rows), np.int16), found.decisions, found.people, {}, names)
    site = site_of(environment, float(found.people.metre[0]))
    final = outcome(whole, schedule.clock, site, lambda number: global_id("bench", number))
    ways = final.ways
    results = placed(schedule, ways.step, ways.place, ways.person, cameras_at(found.rows, final.person))
    live = placed(schedule, *positions(found.rows), cameras_at(found.rows, found.rows.person))
    times = schedule.clock.time_of(schedule.taken)
    write(out / "positions.jsonl", scene.origin, times, results)
    figures: dict[str, Any] = {
        "steps": len(times),
        "cameras": len(names),
        "ms_per_step": round(1000 * seconds / len(times), 3),
    }
    if scene.truth is not None:
        figures["results"] = scores(times, results, scene.truth)
        figures["live"] = scores(times, live, scene.truth)
    return figures


def described(cameras: Sequence[Camera]) -> environment_pb2.Environment:
    """The environment that a user would describe."""
    environment = environment_pb2.Environment()
    for one in cameras:
        camera = environment.cameras.add(camera=one.name)
        for (x, y), (u, v) in zip(one.image_points.tolist(), one.map_points.tolist(), strict=True):
            pair = camera.homography.source.points.pairs.add()
            pair.image.x, pair.image.y, pair.map.x, pair.map.y = x, y, u, v
        camera.homography.image_to_map.values.extend(homography.fit(one.image_points, one.map_points).ravel().tolist())
    return environment


def part(camera: Camera, number: int, environment: environment_pb2.Environment, schedule: Schedule) -> Part:
    """What a camera shows, with tracks of its own."""
    ids, _, _ = followed(
        camera.found, 0, len(camera.moments), camera.moments, fresh_state(), tracker_for(_THRESHOLD, several=True)
    )
    rows = tracked_rows(camera.found, ids)
    size = (camera.width, camera.height)
    recording = Recording(camera.name, number, 0, view_of(environment.cameras[number], size, size))
    nothing = np.zeros((len(rows), 0), np.float32)
    step = schedule.steps[number][rows.frame_index]
    moment = schedule.moments[number][rows.frame_index]
    return Part(recording, rows, step, moment, nothing, np.zeros(len(rows), np.float32))


def positions(rows: SightingRows) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int32]]:
    """Step, place and person, of everybody at each step, by what the cameras say together at that moment."""
    known = np.flatnonzero((rows.person > 0) & np.isfinite(rows.map_x))
    pair, which = np.unique(np.stack([rows.step[known], rows.person[known]], axis=1), axis=0, return_inverse=True)
    at = np.stack([rows.map_x[known], rows.map_y[known]], axis=1)
    xx, xy, yy = rows.cov_xx[known], rows.cov_xy[known], rows.cov_yy[known]
    spread = np.stack([np.stack([xx, xy], axis=1), np.stack([xy, yy], axis=1)], axis=1)
    place, _ = fused(which.ravel(), at, spread + np.eye(2) * 0.25**2, len(pair))
    return pair[:, 0], place, pair[:, 1].astype(np.int32)


def cameras_at(rows: SightingRows, person: NDArray[np.int32]) -> dict[tuple[int, int], tuple[str, ...]]:
    """Which cameras show whom, by step and person."""
    result: dict[tuple[int, int], tuple[str, ...]] = {}
    for step, number, camera in zip(rows.step.tolist(), person.tolist(), rows.camera.tolist(), strict=True):
        result[step, number] = (*result.get((step, number), ()), camera)
    return result


def placed(
    schedule: Schedule,
    step: NDArray[np.int64],
    place: NDArray[np.float64],
    person: NDArray[np.int32],
    cameras: dict[tuple[int, int], tuple[str, ...]],
) -> list[list[Place]]:
    """Everybody at each step."""
    by_step: dict[int, list[Place]] = {at: [] for at in schedule.taken.tolist()}
    for at, (x, y), number in zip(step.tolist(), place.tolist(), person.tolist(), strict=True):
        if at in by_step:
            by_step[at].append(Place(global_id("bench", number), x, y, cameras.get((at, number), ())))
    return list(by_step.values())


def write(path: Path, origin: float, times: NDArray[np.float64], steps: Iterable[Sequence[Place]]) -> None:
    """A line for each step."""
    with path.open("w") as file:
        for time_sec, found in zip(times.tolist(), steps, strict=True):
            moment = datetime.fromtimestamp(origin + time_sec, UTC).isoformat(timespec="milliseconds")
            objects = [
                {"global_id": one.global_id, "x": one.x, "y": one.y, "cameras": list(one.cameras)} for one in found
            ]
            file.write(json.dumps({"timestamp": moment.replace("+00:00", "Z"), "objects": objects}) + "\n")


async def run_job(scene: Scene, detector: str) -> dict[str, Any]:
    """The whole job on the recordings, by a mesh, and its scores."""
    with tempfile.TemporaryDirectory() as folder:
        async with temporary_mesh("default") as mesh:
            await mesh.start()
            async with KinemeshClient(mesh.http_url) as client:
                if detector not in {model.name for model in (await client.list_models()).items}:
                    await client.add_model(detector)
                await client.wait_for_model(detector)
                environment = await client.environments.create(await site(client, scene.cameras))
                task = await client.tracking.start(environment.environment_id, {"model": detector})
                job = await follow(client, task, lambda _: None)
                output = next(output for output in job.outputs if output.name == "trajectories.parquet")
                table = pq.read_table(await client.download(job.job_id, output, Path(folder) / output.name))
    rate, start = job.raw["summary"]["step_rate"], float(min(one.moments[0] for one in scene.cameras))
    step, person = table["step"].to_numpy(), table["person"].to_numpy().astype(np.int32)
    taken = np.arange(max(len(one.moments) for one in scene.cameras))
    clock = Clock(start, rate, np.zeros(1, np.int64))
    steps: list[list[Place]] = [[] for _ in taken]
    for at, number, x, y in zip(
        step.tolist(), person.tolist(), table["x"].to_pylist(), table["y"].to_pylist(), strict=True
    ):
        if at < len(steps):
            steps[at].append(Place(str(number), x, y, ()))
    return scores(clock.time_of(taken), steps, scene.truth) if scene.truth is not None else {}


async def site(client: KinemeshClient, cameras: Sequence[Camera]) -> dict[str, Any]:
    """The environment with its recordings, as REST takes it."""
    described = []
    for one in cameras:
        if one.video is None:
            raise SystemExit(f"{one.name} has no recording")
        asset = await client.upload(one.video)
        pairs = [
            {"image": {"x": x, "y": y}, "map": {"x": u, "y": v}}
            for (x, y), (u, v) in zip(one.image_points.tolist(), one.map_points.tolist(), strict=True)
        ]
        described.append(
            {
                "camera": one.name,
                "sub_videos": [{"asset_id": asset.asset_id, "start_sec": float(one.moments[0])}],
                "homography": {
                    "source": {
                        "points": {"pairs": pairs},
                        "image_width": one.width,
                        "image_height": one.height,
                    }
                },
            }
        )
    return {"cameras": described}


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    table = Table(title=f"{result['steps']} steps, {result['cameras']} cameras", box=None)
    columns = ("", "count error²", "identity changes", "mean error", "95 %", "people")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for name in ("live", "results", "job"):
        if found := result.get(name):
            keys = ("count_error", "identity_changes", "mean_error", "p95_error", "people")
            table.add_row(name, *(str(found[key]) for key in keys))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{result['ms_per_step']} ms a step")


if __name__ == "__main__":
    main()
