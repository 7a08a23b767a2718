"""What users do to jobs and to each other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from kinemesh.embedded.mesh import Mesh
from kinemesh.media.synthetic import write_clip
from kinemesh.storage import ObjectStore, S3Settings, keys
from kinemesh.testing.rest import Rest
from kinemesh.testing.waiting import until


def clip(folder: Path, frames: int) -> bytes:
    path = folder / f"{frames}.mp4"
    write_clip(path, pts=[i * 3000 for i in range(frames)])
    return path.read_bytes()


def store_of(mesh: Mesh) -> ObjectStore:
    env = mesh.environment("pose")
    return ObjectStore(
        S3Settings(
            endpoint=env["KINEMESH_S3__ENDPOINT"],
            access_key=env["KINEMESH_S3__ACCESS_KEY"],
            secret_key=SecretStr(env["KINEMESH_S3__SECRET_KEY"]),
            bucket=env["KINEMESH_S3__BUCKET"],
        )
    )


async def test_cancel_stops_a_running_job_and_leaves_nothing(mesh: Mesh, rest: Rest, tmp_path: Path) -> None:
    job_id = await rest.start(await rest.upload(clip(tmp_path, 3000)))
    async for message in rest.watch(job_id):
        if message["type"] == "progress" and message["payload"]["stage"] == "pose":
            answer = await rest.call("POST", f"/api/v1/jobs/{job_id}/cancel")
            assert answer.status_code == 200
            assert answer.json()["state"] == "CANCELLED"
    job = await rest.job(job_id)
    assert job["state"] == "CANCELLED"
    assert job["outputs"] == []
    assert (await rest.call("GET", f"/api/v1/jobs/{job_id}/outputs/annotated.mp4")).status_code == 409
    async with store_of(mesh) as store:

        async def is_empty() -> bool:
            return not await store.list_objects(keys.job_prefix(job_id))

        await until(is_empty)


async def test_two_users_at_once_and_the_short_job_does_not_wait_for_the_long_one(rest: Rest, tmp_path: Path) -> None:
    ada, bob = replace(rest, owner="ada"), replace(rest, owner="bob")
    long = await ada.start(await ada.upload(clip(tmp_path, 4000)))
    async for message in ada.watch(long):
        if message["type"] == "progress" and message["payload"]["progress"] > 0.02:
            break
    short = await bob.start(await bob.upload(clip(tmp_path, 30)))
    assert (await bob.ended(short))["state"] == "SUCCEEDED"
    job = await ada.job(long)
    assert job["state"] == "RUNNING"
    assert 0 < job["progress"] < 1
    for other, job_id in ((ada, short), (bob, long)):
        assert (await other.call("GET", f"/api/v1/jobs/{job_id}")).status_code == 404
        assert (await other.call("POST", f"/api/v1/jobs/{job_id}/cancel")).status_code == 404
        assert (await other.call("DELETE", f"/api/v1/jobs/{job_id}")).status_code == 404
    assert (await ada.call("DELETE", f"/api/v1/jobs/{long}")).status_code == 204
    assert (await ada.call("GET", f"/api/v1/jobs/{long}")).status_code == 404


async def test_a_deleted_job_and_asset_leave_no_object(mesh: Mesh, rest: Rest, tmp_path: Path) -> None:
    asset_id = await rest.upload(clip(tmp_path, 20))
    job = await rest.ended(await rest.start(asset_id))
    assert job["state"] == "SUCCEEDED"
    assert (await rest.call("DELETE", f"/api/v1/jobs/{job['job_id']}")).status_code == 204
    assert (await rest.call("DELETE", f"/api/v1/assets/{asset_id}")).status_code == 204
    async with store_of(mesh) as store:

        async def is_empty() -> bool:
            prefixes = (keys.job_prefix(job["job_id"]), keys.asset_prefix(asset_id))
            return not any(await asyncio.gather(*(store.list_objects(prefix) for prefix in prefixes)))

        await until(is_empty)


async def test_surface_a_from_upload_url_to_result(rest: Rest, tmp_path: Path) -> None:
    data = clip(tmp_path, 24)
    described = {"filename": "dance.mp4", "content_type": "video/mp4", "size_bytes": len(data)}
    asked = await rest.call("POST", "/api/v1/analyze/upload-url", json=described)
    assert asked.status_code == 201
    upload = asked.json()
    job_id = upload["job_id"]
    (await rest.http.put(upload["upload_url"], content=data, headers=upload["headers"])).raise_for_status()
    confirmed = await rest.call("POST", "/api/v1/analyze/confirm", json={"job_id": job_id})
    assert confirmed.status_code == 202
    assert confirmed.json()["status"] == "queued"
    await rest.ended(job_id)
    status = (await rest.call("GET", f"/api/v1/analyze/{job_id}/status")).json()
    assert (status["status"], status["progress"], status["error"]) == ("completed", 1.0, None)
    result = (await rest.call("GET", f"/api/v1/analyze/{job_id}/result")).json()
    assert result["frame_count"] == 24
    assert result["fps"] == 30
    video = await rest.http.get(result["video_url"], headers={"Range": "bytes=0-3"})
    assert video.status_code == 206
