"""Any process may be killed at any moment; the result stays the same, to the byte."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from kinemesh.embedded.mesh import Mesh
from kinemesh.testing.rest import Rest

PARAMETERS: dict[str, dict[str, Any]] = {
    "pose": {},
    "pitstop": {"model": "person_detector", "threshold": 0.4},
}
FILES = {
    "pose": ("landmarks.parquet", "landmarks.json", "movement.parquet", "metrics.json"),
    "pitstop": ("tracks.parquet", "report.json", "events.csv"),
}


async def fingerprints(rest: Rest, pipeline: str, job_id: str) -> dict[str, str]:
    return {name: hashlib.sha256(await rest.output(job_id, name)).hexdigest() for name in FILES[pipeline]}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, dict[str, str]]:
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
    ],
)
async def test_killing_a_process_changes_nothing(
    pipeline: str,
    victim: str,
    stage: str,
    mesh: Mesh,
    rest: Rest,
    person_clip: bytes,
    undisturbed: dict[str, dict[str, str]],
) -> None:
    if pipeline not in undisturbed:
        whole = await rest.run(person_clip, pipeline, **PARAMETERS[pipeline])
        assert whole["summary"]["frame_count"] == 90
        undisturbed[pipeline] = await fingerprints(rest, pipeline, whole["job_id"])
    job_id = await rest.start(await rest.upload(person_clip), pipeline, **PARAMETERS[pipeline])
    killed = False
    messages: list[dict[str, Any]] = []
    async for message in rest.watch(job_id):
        messages.append(message)
        if not killed and message["type"] == "progress" and message["payload"]["stage"] == stage:
            killed = True
            await mesh.process(victim).kill()
    assert killed
    job = await rest.job(job_id)
    assert job["state"] == "SUCCEEDED", job["failure"]
    assert await fingerprints(rest, pipeline, job_id) == undisturbed[pipeline]
    frames = [f["frame_index"] for m in messages if m["type"] == "frames" for f in m["payload"]["frames"]]
    assert frames == list(range(job["summary"]["frame_count"]))
    sequences = [message["sequence"] for message in messages]
    assert sequences == sorted(set(sequences))
