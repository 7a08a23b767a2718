"""Two replicas are one ingest to whoever calls: what one has done the other knows, and nothing is done by both."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from kinemesh.bus.events import replay
from kinemesh.bus.topology import TASKS
from kinemesh.job.v1 import job_pb2
from kinemesh.model.v1 import model_pb2
from kinemesh.route.v1 import browse_pb2
from kinemesh.serving.channel import call
from kinemesh.testing.waiting import until

OWNER = "twins"


def weights(**told: Any) -> bytes:
    return b"\x08\x08\x12" + json.dumps(told).encode()


async def model_of(ingest: Any, name: str) -> model_pb2.Model:
    model: model_pb2.Model = (
        await call(ingest.models.GetModel, model_pb2.GetModelRequest(model=name), owner=OWNER)
    ).model
    return model


async def test_a_call_to_both_at_once_makes_one_job(ingest: Any, twin: Any, clip: bytes, workers: Any) -> None:
    asset = await ingest.upload(clip, owner=OWNER)
    made = await asyncio.gather(
        *(
            replica.start_job(asset.asset_id, owner=OWNER, request_id=f"r{number}")
            for number in range(6)
            for replica in (ingest, twin)
        )
    )
    job_ids = {job.job_id for job in made}
    assert len(job_ids) == 6
    for job_id in job_ids:
        job = await twin.ended(job_id, OWNER)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.failure
        # Tasks are told once, and states in order, whichever replica published them.
        tasks = workers.of(job_id)
        assert len(tasks) == len(set(tasks)) > 5
        states = [event.state.state async for _, event in replay(ingest.bus, job_id) if event.HasField("state")]
        assert states == ["QUEUED", "RUNNING", "SUCCEEDED"]
        assert await ingest.get_job(job_id, OWNER) == job

    async def taken() -> bool:
        return bool((await ingest.bus.jetstream.stream_info(TASKS)).state.messages == 0)

    await until(taken)


async def test_models_are_brought_in_one_at_a_time(ingest: Any, twin: Any, tmp_path: Path) -> None:
    gates = {name: tmp_path / name for name in ("twins_one", "twins_other")}
    one, other = gates.values()

    async def has_begun(gate: Path) -> bool:
        return gate.with_name(gate.name + ".begun").exists()

    def leaves_it() -> int:
        return int(twin.process.spec.log.read_text().count("another replica brings models in"))

    async def has_looked() -> bool:
        return leaves_it() > looked

    for (name, gate), replica in zip(gates.items(), (ingest, twin), strict=True):
        asset = await replica.upload(weights(labels=["car"], wait=str(gate)), kind="WEIGHTS", owner=OWNER)
        request = model_pb2.ImportModelRequest(asset_id=asset.asset_id, model=name)
        await call(replica.models.ImportModel, request, owner=OWNER)
        await until(lambda: has_begun(one))
    one.with_name(one.name + ".begun").unlink()
    # The twin knows of both and has looked for work since.
    looked = leaves_it()
    await until(has_looked)
    assert not await has_begun(one), "both bring the same model in"
    assert not await has_begun(other)
    one.touch()
    await until(lambda: has_begun(other))
    other.touch()

    async def both_know() -> bool:
        models = [await model_of(replica, name) for name in gates for replica in (ingest, twin)]
        return all(model.state == model_pb2.MODEL_STATE_READY for model in models)

    await until(both_know, 60)
    # What one has brought in the other takes away.
    for name, replica in zip(gates, (twin, ingest), strict=True):
        await call(replica.models.DeleteModel, model_pb2.DeleteModelRequest(model=name), owner=OWNER)
    listed = await call(ingest.models.ListModels, model_pb2.ListModelsRequest(), owner=OWNER)
    assert not {model.model for model in listed.models} & gates.keys()


async def test_a_tree_that_one_changes_is_new_at_the_other(ingest: Any, twin: Any) -> None:
    trees = [await call(one.routes.GetTree, browse_pb2.GetTreeRequest(), owner=OWNER) for one in (ingest, twin)]
    assert trees[0] == trees[1]
    await ingest.area("crag", owner=OWNER)
    request = browse_pb2.GetTreeRequest(etag=trees[0].etag)
    changed = [await call(one.routes.GetTree, request, owner=OWNER) for one in (twin, ingest)]
    assert changed[0] == changed[1]
    assert [area.display_name for area in changed[0].areas] == ["crag"]


async def test_the_outbox_goes_on_when_its_pump_dies(
    ingest: Any, twin: Any, clip: bytes, workers: Any, postgres_url: str
) -> None:
    asset = await ingest.upload(clip, owner=OWNER)
    job_ids = [(await ingest.start_job(asset.asset_id, owner=OWNER)).job_id for _ in range(3)]
    await twin.process.kill()
    for job_id in job_ids:
        assert (await ingest.ended(job_id, OWNER)).state == job_pb2.JOB_STATE_SUCCEEDED
    engine = create_async_engine(postgres_url)

    async def empty() -> bool:
        async with engine.connect() as connection:
            return bool(await connection.scalar(text("SELECT count(*) FROM outbox")) == 0)

    await until(empty)
    await engine.dispose()
