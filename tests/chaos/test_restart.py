"""A mesh that is stopped in the middle of a job goes on with it when it is started again."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

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


def move_by_backup(data_dir: Path, elsewhere: Path) -> None:
    """Back a mesh up as a user does, lose it, and restore it in another place."""
    archive = elsewhere.with_suffix(".tar")
    for command, folder in (("backup", data_dir), ("restore", elsewhere)):
        arguments = (sys.executable, "-m", "kinemesh_client", command, str(archive), f"--data-dir={folder}")
        subprocess.run(arguments, check=True, timeout=300)
        shutil.rmtree(data_dir, ignore_errors=True)


async def files_of(rest: Rest, job_id: str) -> dict[str, str]:
    job = await rest.job(job_id)
    contents = {output["name"]: await rest.output(job_id, output["name"]) for output in job["outputs"]}
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


@pytest.mark.parametrize("by_backup", [False, True], ids=["restarted", "restored"])
async def test_a_job_outlives_its_mesh(by_backup: bool, open_folder: Path, tmp_path: Path) -> None:
    """In the same folder, and from a backup after the folder was lost."""
    models = TritonModels(*build_models(open_folder / "mock", "mock"))
    config = MeshConfig(data_dir=open_folder / f"restarted-{by_backup}", models=models, http_port=0, durable=False)
    clip, short = tmp_path / "clip.mp4", tmp_path / "short.mp4"
    write_clip(clip, pts=[i * 3000 for i in range(600)])
    write_clip(short, pts=[i * 3000 for i in range(12)])
    async with started(config) as rest:
        finished = await rest.run(short.read_bytes())
        files = await files_of(rest, finished["job_id"])
        job_id = await rest.start(await rest.upload(clip.read_bytes()))
        async for message in rest.watch(job_id):
            if message["type"] == "progress" and message["payload"]["stage"] == "pose":
                break
    if by_backup:
        elsewhere = open_folder / "restored"
        await asyncio.to_thread(move_by_backup, config.data_dir, elsewhere)
        assert not config.data_dir.exists()
        config = replace(config, data_dir=elsewhere)
    async with started(config) as rest:
        job = await rest.ended(job_id)
        assert job["state"] == "SUCCEEDED", job["failure"]
        messages = [message async for message in rest.watch(job_id)]
        assert await rest.job(finished["job_id"]) == finished
        assert await files_of(rest, finished["job_id"]) == files
    assert len(files) > 1
    frames = [frame["frame_index"] for m in messages if m["type"] == "frames" for frame in m["payload"]["frames"]]
    assert frames == list(range(600))
