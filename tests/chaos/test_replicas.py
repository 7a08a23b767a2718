"""Two replicas of ingest share the work; one of them may be killed at any moment, again and again.

``make chaos-replicas`` runs it with 50 jobs.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from kinemesh.bus.connection import Bus, connect
from kinemesh.bus.events import replay
from kinemesh.bus.topology import DEAD_LETTERS, EXHAUSTED, OUTCOMES, TASKS
from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.process import Process, State
from kinemesh.embedded.triton import TritonModels
from kinemesh.media.synthetic import write_clip
from kinemesh.testing.fixtures import build_models
from kinemesh.testing.rest import Rest
from kinemesh.testing.waiting import until

JOBS = int(os.environ.get("KINEMESH_TEST_JOBS", "12"))
REPLICAS = ("ingest", "ingest-2")
SEED = 20
FRAMES = 24
AT_ONCE = 8
STAGES = {"split": 1, "pose": 2, "stitch": 2, "movement": 1, "render": 2, "finalize": 1}
# Every outcome that is applied says DONE of its task, so that one applied twice shows.
NOTE_OUTCOMES = """
CREATE TABLE applied (job_id text, task_id text);
CREATE FUNCTION note_applied() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO applied VALUES (NEW.job_id, NEW.task_id); RETURN NULL; END $$;
CREATE TRIGGER applied AFTER UPDATE ON tasks FOR EACH ROW WHEN (NEW.state = 'DONE') EXECUTE FUNCTION note_applied();
"""


@asynccontextmanager
async def started(config: MeshConfig) -> AsyncIterator[tuple[Mesh, Rest]]:
    limits = httpx.Limits(max_connections=2 * AT_ONCE)
    async with Mesh(config) as mesh, httpx.AsyncClient(timeout=120, limits=limits) as http:
        await mesh.start()
        yield mesh, Rest(http, mesh.http_url)


async def query(mesh: Mesh, statement: str) -> list[Any]:
    url = mesh.environment("ingest")["KINEMESH_DATABASE__URL"].replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def kill_again_and_again(mesh: Mesh) -> int:
    """Kill a replica at random times, also while it starts, as long as the other serves; until cancelled.

    Answers with how often.
    """
    chance = random.Random(SEED)
    killed = 0
    try:
        while True:
            victim, other = chance.sample([mesh.process(name) for name in REPLICAS], 2)

            async def can_die(victim: Process = victim, other: Process = other) -> bool:
                return victim.pid is not None and other.state is State.READY

            await asyncio.sleep(chance.uniform(0, 1.5))
            await until(can_die, within_s=120)
            await victim.kill()
            killed += 1
    except asyncio.CancelledError:
        return killed


async def run_jobs(rest: Rest, clip: bytes) -> list[str]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def run() -> str:
        async with turns:
            job_id = await rest.start(await rest.upload(clip))
        assert (await rest.ended(job_id))["state"] == "SUCCEEDED"
        return job_id

    return await asyncio.gather(*(run() for _ in range(JOBS)))


async def states_of(bus: Bus, job_id: str) -> list[str]:
    return [event.state.state async for _, event in replay(bus, job_id) if event.WhichOneof("kind") == "state"]


async def test_every_job_finishes_once(open_folder: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip, pts=[i * 3000 for i in range(FRAMES)])
    config = MeshConfig(
        data_dir=open_folder / "replicas",
        models=TritonModels(*build_models(open_folder / "replicas-models", "mock")),
        http_port=0,
        services=("ingest", "pose", "render", "gateway"),
        replicas={"ingest": 2},
        restarts=30,
        durable=False,
        env={
            "KINEMESH_CONDUCTOR__WORKERS": "2",
            "KINEMESH_CONDUCTOR__MIN_SEGMENT_FRAMES": "12",
            "KINEMESH_RETENTION__LATE_SWEEP_S": "1",
        },
    )
    async with asyncio.timeout(120 + 20 * JOBS), started(config) as (mesh, rest):
        await query(mesh, NOTE_OUTCOMES)
        killing = asyncio.create_task(kill_again_and_again(mesh))
        job_ids = await run_jobs(rest, clip.read_bytes())
        killing.cancel()
        killed = await killing
        print(f"{JOBS} jobs, {killed} kills")
        assert killed >= 3

        # Whoever creates a job creates one, and all of its tasks are done once.
        assert await query(mesh, "SELECT job_id, state FROM jobs ORDER BY job_id") == [
            (job_id, "SUCCEEDED") for job_id in sorted(job_ids)
        ]
        applied = Counter(await query(mesh, "SELECT job_id, task_id FROM applied"))
        assert set(applied.values()) == {1}
        tasks = await query(mesh, "SELECT job_id, task_id, stage FROM tasks WHERE state = 'DONE'")
        assert applied.keys() == {(job_id, task_id) for job_id, task_id, _ in tasks}
        assert Counter(stage for _, _, stage in tasks) == {stage: n * JOBS for stage, n in STAGES.items()}

        async def nothing_left() -> bool:
            return await query(mesh, "SELECT FROM outbox UNION ALL SELECT FROM sweeps") == []

        await until(nothing_left, within_s=60)
        async with connect(mesh.nats, "test") as bus:

            async def drained() -> bool:
                infos = [await bus.jetstream.stream_info(name) for name in (TASKS, OUTCOMES, EXHAUSTED, DEAD_LETTERS)]
                return all(info.state.messages == 0 for info in infos)

            await until(drained, within_s=60)
            for job_id in job_ids:
                assert await states_of(bus, job_id) == ["QUEUED", "RUNNING", "SUCCEEDED"]
        for job_id in job_ids:
            outputs = (await rest.job(job_id))["outputs"]
            names = [output["name"] for output in outputs]
            assert len(names) == len(set(names)) > 1
            for output in outputs:
                assert len(await rest.output(job_id, output["name"])) == int(output["size_bytes"])
