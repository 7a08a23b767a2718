"""Any process may be killed at any moment; the result stays the same, to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from kinemesh.embedded.mesh import Mesh
from kinemesh.testing.rest import Rest

FILES = ("landmarks.parquet", "landmarks.json", "movement.parquet", "metrics.json")


async def fingerprints(rest: Rest, job_id: str) -> dict[str, str]:
    return {name: hashlib.sha256(await rest.output(job_id, name)).hexdigest() for name in FILES}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def undisturbed(mesh: Mesh, person_clip: bytes) -> AsyncIterator[dict[str, str]]:
    """What a job makes when nothing happens to it."""
    import httpx

    async with httpx.AsyncClient(timeout=60) as http:
        rest = Rest(http, mesh.http_url)
        job = await rest.run(person_clip)
        assert job["summary"]["persons"] == [1]
        yield await fingerprints(rest, job["job_id"])


@pytest.mark.parametrize(
    ("victim", "stage"),
    [
        ("pose", "pose"),
        ("ingest", "pose"),
        ("nats", "pose"),
        ("triton", "pose"),
        ("render", "render"),
        ("postgres", "pose"),
    ],
)
async def test_killing_a_process_changes_nothing(
    victim: str, stage: str, mesh: Mesh, rest: Rest, person_clip: bytes, undisturbed: dict[str, str]
) -> None:
    job_id = await rest.start(await rest.upload(person_clip))
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
    assert await fingerprints(rest, job_id) == undisturbed
    frames = [f["frame_index"] for m in messages if m["type"] == "frames" for f in m["payload"]["frames"]]
    assert frames == list(range(job["summary"]["frame_count"]))
    sequences = [message["sequence"] for message in messages]
    assert sequences == sorted(set(sequences))
