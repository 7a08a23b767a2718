"""Talking to a mesh as a user does, over REST and WebSocket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect

_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True, slots=True)
class Rest:
    """A user of one mesh."""

    http: httpx.AsyncClient
    url: str
    owner: str = "local"

    async def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One request in the user's name."""
        headers = {"X-Kinemesh-Owner": self.owner, **how.pop("headers", {})}
        return await self.http.request(method, self.url + path, headers=headers, **how)

    async def upload(self, data: bytes, filename: str = "clip.mp4", kind: str = "VIDEO") -> str:
        """Announce, send and confirm; answers with the asset's id."""
        described = {"filename": filename, "content_type": "video/mp4", "size_bytes": len(data), "kind": kind}
        created = _ok(await self.call("POST", "/api/v1/assets", json=described))
        upload = created["upload"]
        (await self.http.put(upload["url"], content=data, headers=upload["headers"])).raise_for_status()
        asset_id: str = created["asset"]["asset_id"]
        _ok(await self.call("POST", f"/api/v1/assets/{asset_id}/confirm", json={}))
        return asset_id

    async def describe_site(self, asset_ids: Sequence[str]) -> str:
        """An environment with a camera for each recording, 100 pixels to a metre, side by side; answers with its id."""
        cameras = [
            {
                "camera": f"c{number:02}",
                "sub_videos": [{"asset_id": asset_id}],
                "homography": {"source": {"matrix": {"values": [0.01, 0, 10 * number, 0, 0.01, 0, 0, 0, 1]}}},
            }
            for number, asset_id in enumerate(asset_ids)
        ]
        environment: str = _ok(await self.call("POST", "/api/v1/environments", json={"cameras": cameras}))[
            "environment_id"
        ]
        return environment

    async def start(self, asset_id: str, pipeline: str = "pose", **parameters: Any) -> str:
        """Queue a job; answers with its id. Without ``asset_id`` the parameters name an environment."""
        body = {"pipeline": pipeline, "parameters": parameters, **({"asset_id": asset_id} if asset_id else {})}
        job_id: str = _ok(await self.call("POST", "/api/v1/jobs", json=body))["job_id"]
        return job_id

    async def job(self, job_id: str) -> dict[str, Any]:
        """The job as it stands."""
        return _ok(await self.call("GET", f"/api/v1/jobs/{job_id}"))

    async def watch(self, job_id: str, since: int = 0) -> AsyncIterator[dict[str, Any]]:
        """The job's messages up to its end."""
        address = f"{self.url.replace('http', 'ws', 1)}/ws/jobs/{job_id}?since={since}"
        async with connect(address, additional_headers={"X-Kinemesh-Owner": self.owner}, max_size=None) as socket:
            async for message in socket:
                yield json.loads(message)

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The job once it has ended."""
        async for _ in self.watch(job_id):
            pass
        job = await self.job(job_id)
        assert job["state"] in _ENDED
        return job

    async def run(self, data: bytes, pipeline: str = "pose", **parameters: Any) -> dict[str, Any]:
        """Upload, run, and require success."""
        job = await self.ended(await self.start(await self.upload(data), pipeline, **parameters))
        assert job["state"] == "SUCCEEDED", job["failure"]
        return job

    async def output(self, job_id: str, name: str) -> bytes:
        """One output of a job."""
        answer = await self.call("GET", f"/api/v1/jobs/{job_id}/outputs/{name}")
        answer.raise_for_status()
        return answer.content

    async def save(self, job_id: str, name: str, folder: Path) -> Path:
        """One output of a job, as a file."""
        path = folder / name
        path.write_bytes(await self.output(job_id, name))
        return path


def _ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body
