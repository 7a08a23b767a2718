"""A mesh that is stopped in the middle of a job goes on with it when it is started again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.triton import TritonModels
from kinemesh.media.synthetic import write_clip
from kinemesh.testing.fixtures import build_models
from kinemesh.testing.rest import Rest


@asynccontextmanager
async def started(config: MeshConfig) -> AsyncIterator[Rest]:
    async with Mesh(config) as mesh, httpx.AsyncClient(timeout=60) as http:
        await mesh.start()
        yield Rest(http, mesh.http_url)


async def test_a_job_outlives_its_mesh(open_folder: Path, tmp_path: Path) -> None:
    models = TritonModels(*build_models(open_folder / "mock", "mock"))
    config = MeshConfig(data_dir=open_folder / "restarted", models=models, http_port=0, durable=False)
    clip = tmp_path / "clip.mp4"
    write_clip(clip, pts=[i * 3000 for i in range(600)])
    async with started(config) as rest:
        job_id = await rest.start(await rest.upload(clip.read_bytes()))
        async for message in rest.watch(job_id):
            if message["type"] == "progress" and message["payload"]["stage"] == "pose":
                break
    async with started(config) as rest:
        job = await rest.ended(job_id)
        assert job["state"] == "SUCCEEDED", job["failure"]
        messages = [message async for message in rest.watch(job_id)]
    frames = [frame["frame_index"] for m in messages if m["type"] == "frames" for frame in m["payload"]["frames"]]
    assert frames == list(range(600))
