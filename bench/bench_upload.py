"""An upload through the API, made as it is sent: what do the services need for it, however large it is?

::

    make bench-upload

Writes ``OUT/upload.json``: resident MiB of gateway and ingest before, at most while the video came, was checked and was
read back, and afterwards; MB/s; and what a second client that breaks off half-way leaves. Ends with status 1 if the
gateway took more than 64 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from rich.console import Console
from soak_remains import remains

from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.media.synthetic import write_clip

_MIB: Final = 1024 * 1024
_BLOCK: Final = bytes(range(256)) * (_MIB // 256)
_LOOK_S: Final = 0.1
_MOST_MIB: Final = 64.0
_SERVICES: Final = ("gateway", "ingest")
_HEAD: Final = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="long.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
)
_TYPE: Final = {"Content-Type": "multipart/form-data; boundary=b"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of an upload through the API.")
    parser.add_argument("--gb", type=float, default=5.0, help="of 10⁹ bytes")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = asyncio.run(measure(int(arguments.gb * 1e9)))
    (arguments.out / "upload.json").write_text(json.dumps(result, indent=1) + "\n")
    Console(highlight=False).print_json(json.dumps(result))
    if result["gateway"]["grown_mib"] > _MOST_MIB:
        raise SystemExit(f"The gateway took {result['gateway']['grown_mib']:.0f} MiB more.")
    if any(result["left"].values()):
        raise SystemExit(f"Left: {result['left']}.")


async def measure(size: int) -> dict[str, Any]:
    """Send, read back, break off, and look for what is left."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-upload-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        await asyncio.to_thread(write_clip, clip, pts=[3000 * number for number in range(60)])
        start = clip.read_bytes()
        env = {
            "KINEMESH_RETENTION__LATE_SWEEP_S": "1",
            "KINEMESH_RETENTION__SWEEP_INTERVAL_S": "0.5",
            "KINEMESH_UPLOADS__MAX_SIZE_MB": str(size // _MIB + 1),
            "KINEMESH_UPLOAD__MAX_SIZE_MB": str(size // _MIB + 1),
        }
        config = MeshConfig(folder / "mesh", None, http_port=0, services=_SERVICES, durable=False, env=env)
        async with Mesh(config) as mesh, httpx.AsyncClient(base_url=mesh.http_url, timeout=600) as http:
            await mesh.start()
            await send(http, start, _MIB)  # what is needed once
            before = resident(mesh)
            looking = asyncio.create_task(most(mesh))
            began = time.perf_counter()
            job_id = await send(http, start, size, keep=True)
            seconds = time.perf_counter() - began
            read = await read_back(http, job_id)
            looking.cancel()
            peak = await looking
            with suppress(httpx.HTTPError):
                await http.post("/api/v1/analyze", content=breaking(start, min(size, 1_000_000_000)), headers=_TYPE)
            await drop(http, job_id)
            left = await remains(mesh, streams=False)  # nobody works here, so tasks stay
            after = resident(mesh)
    return {
        "bytes": size,
        "read_back": read,
        "mb_per_s": round(size / seconds / 1e6, 1),
        "left": left,
        **{
            name: {
                "before_mib": before[name],
                "most_mib": peak[name],
                "after_mib": after[name],
                "grown_mib": round(peak[name] - before[name], 1),
            }
            for name in _SERVICES
        },
    }


async def body(start: bytes, size: int) -> AsyncIterator[bytes]:
    """A form with a clip, and a box behind it that decoders skip, made as it is read."""
    yield _HEAD + start
    room = size - len(start)
    yield (1).to_bytes(4, "big") + b"free" + room.to_bytes(8, "big")
    room -= 16
    while room > 0:
        yield _BLOCK[:room]
        room -= len(_BLOCK)
    yield b"\r\n--b--\r\n"


async def breaking(start: bytes, size: int) -> AsyncIterator[bytes]:
    """The same, from a client whose connection is lost half-way."""
    sent = 0
    async for piece in body(start, size):
        sent += len(piece)
        if sent > size // 2:
            raise httpx.WriteError("lost")
        yield piece


async def send(http: httpx.AsyncClient, start: bytes, size: int, *, keep: bool = False) -> str:
    """Send a video of a size; answers with the id of its job, which is that of the asset too."""
    answer = await http.post("/api/v1/analyze", content=body(start, size), headers=_TYPE)
    if answer.status_code != 202:
        raise SystemExit(answer.text)
    job_id = str(answer.json()["job_id"])
    if not keep:
        await drop(http, job_id)
    return job_id


async def read_back(http: httpx.AsyncClient, asset_id: str) -> int:
    """Bytes that the API answers with."""
    async with http.stream("GET", f"/api/v1/assets/{asset_id}/content") as answer:
        return sum([len(chunk) async for chunk in answer.aiter_raw()])


async def drop(http: httpx.AsyncClient, job_id: str) -> None:
    """Delete a job and its asset."""
    (await http.delete(f"/api/v1/jobs/{job_id}")).raise_for_status()
    (await http.delete(f"/api/v1/assets/{job_id}")).raise_for_status()


async def most(mesh: Mesh) -> dict[str, float]:
    """The largest of :func:`resident` until it is cancelled."""
    peak = resident(mesh)
    with suppress(asyncio.CancelledError):
        while True:
            peak = {name: max(value, peak[name]) for name, value in resident(mesh).items()}
            await asyncio.sleep(_LOOK_S)
    return peak


def resident(mesh: Mesh) -> dict[str, float]:
    """MiB that each service and its children have resident."""
    return {name: _resident(mesh.process(name).pid) for name in _SERVICES}


def _resident(pid: int | None) -> float:
    total = 0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return round(total / _MIB, 1)


if __name__ == "__main__":
    main()
