"""Any process may be killed at any moment; the result stays the same, to the byte."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq
import pytest

from kinemesh.embedded.mesh import Mesh
from kinemesh.embedded.process import Process
from kinemesh.testing.rest import Rest

PARAMETERS: dict[str, dict[str, Any]] = {
    "pose": {},
    "pitstop": {"model": "person_detector", "threshold": 0.4},
    "multi_camera": {"threshold": 0.4},
    "route_match": {"reference": "wall-vertical", "mode": "MULTI"},
}
FILES = {
    "pose": ("landmarks.parquet", "landmarks.json", "movement.parquet", "metrics.json"),
    "pitstop": ("tracks.parquet", "report.json", "events.csv"),
    "multi_camera": ("sightings.parquet", "trajectories.parquet", "heatmap.png"),
    "route_match": ("landmarks.parquet", "matches.parquet", "metrics.json", "annotated.mp4"),
}


async def fingerprints(rest: Rest, pipeline: str, job_id: str) -> dict[str, str]:
    return {name: fingerprint(name, await rest.output(job_id, name)) for name in FILES[pipeline]}


def fingerprint(name: str, data: bytes) -> str:
    if name.endswith(".parquet") and "global_id" in (table := pq.read_table(io.BytesIO(data))).column_names:
        # Numbers of people are there as well; their global ids are of the job.
        data = repr(table.drop_columns(["global_id"]).to_pydict()).encode()
    return hashlib.sha256(data).hexdigest()


Begin = Callable[[str], Awaitable[str]]
Undisturbed = dict[str, dict[str, str]]


@pytest.fixture
def begin(rest: Rest, person_clip: bytes, climb_clip: bytes) -> Begin:
    """Starts a job of a pipeline; answers with its id."""

    async def start(pipeline: str) -> str:
        asset_id = await rest.upload(climb_clip if pipeline == "route_match" else person_clip)
        if pipeline != "multi_camera":
            return await rest.start(asset_id, pipeline, **PARAMETERS[pipeline])
        environment = await rest.describe_site([asset_id, asset_id])
        return await rest.start("", pipeline, environment_id=environment, **PARAMETERS[pipeline])

    return start


@pytest.fixture(scope="module")
def undisturbed() -> Undisturbed:
    """What a job of each pipeline makes when nothing happens to it, as far as it has been tried."""
    return {}


@pytest.mark.parametrize(
    ("pipeline", "victim", "stage"),
    [
        ("pose", "pose", "pose"),
        ("pose", "ingest", "pose"),
        ("pose", "nats", "pose"),
        ("pose", "triton", "pose"),
        ("pose", "render", "render"),
        ("pose", "postgres", "pose"),
        ("pitstop", "detect_track", "detect"),
        ("pitstop", "triton", "detect"),
        ("pitstop", "detect_track", "track"),
        ("pitstop", "render", "render"),
        ("multi_camera", "detect_track", "track"),
        ("multi_camera", "detect_track", "associate"),
        ("multi_camera", "ingest", "associate"),
        ("multi_camera", "nats", "associate"),
        ("route_match", "matcher", "match"),
        ("route_match", "matcher", "retarget"),
        ("route_match", "render", "render"),
    ],
)
async def test_killing_a_process_changes_nothing(
    pipeline: str, victim: str, stage: str, mesh: Mesh, rest: Rest, begin: Begin, undisturbed: Undisturbed
) -> None:
    await disturb(Process.kill, mesh.process(victim), stage, rest, pipeline, begin, undisturbed)


async def test_a_model_server_that_stands_still_changes_nothing(
    mesh: Mesh, rest: Rest, begin: Begin, undisturbed: Undisturbed
) -> None:
    """As after a deadlock: it lives, takes connections, and answers none, for a minute."""
    triton = mesh.process("triton")
    restarts = triton.restarts

    async def stop(process: Process) -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)

    await disturb(stop, triton, "pose", rest, "pose", begin, undisturbed)
    assert triton.restarts == restarts + 1


async def disturb(
    how: Callable[[Process], Awaitable[None]],
    victim: Process,
    stage: str,
    rest: Rest,
    pipeline: str,
    begin: Begin,
    undisturbed: Undisturbed,
) -> None:
    """Begin a job, disturb a process once the job has come to a stage, and compare all that it leaves and tells."""
    if pipeline not in undisturbed:
        whole = await rest.ended(await begin(pipeline))
        assert whole["state"] == "SUCCEEDED", whole["failure"]
        undisturbed[pipeline] = await fingerprints(rest, pipeline, whole["job_id"])
    job_id = await begin(pipeline)
    disturbed = False
    messages: list[dict[str, Any]] = []
    async for message in rest.watch(job_id):
        messages.append(message)
        if not disturbed and message["type"] == "progress" and message["payload"]["stage"] == stage:
            disturbed = True
            await how(victim)
    assert disturbed
    job = await rest.job(job_id)
    assert job["state"] == "SUCCEEDED", job["failure"]
    assert await fingerprints(rest, pipeline, job_id) == undisturbed[pipeline]
    told = [m["payload"] for m in messages if m["type"] == "frames"]
    by_camera = groupby(sorted(told, key=lambda payload: payload["camera"]), key=lambda payload: payload["camera"])
    seen = {camera: [f["frame_index"] for one in parts for f in one["frames"]] for camera, parts in by_camera}
    assert seen == {one["camera"]: list(range(90)) for one in job["inputs"]}
    sequences = [message["sequence"] for message in messages]
    assert sequences == sorted(set(sequences))
