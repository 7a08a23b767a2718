"""A site with many cameras and many watchers: order, memory, and what the watchers cost the job.

::

    make bench-site OUT=out/bench

Four cameras of ten minutes go through a mesh with the mock set, again and again: alone, and with 200 WebSocket clients
of which one never reads. Clients come when the job has begun. Writes ``OUT/site.json``: seconds of each job, ``slowed``
(how much longer a watched job took, by medians), the clients that read and did not get every step in order, and the
memory of every server over the last job, by its quarters. Ends with status 1 if a client was served badly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from kinemesh.embedded.mesh import Mesh
from kinemesh.media.synthetic import write_clip
from kinemesh.testing.rest import Rest
from kinemesh.testing.watchers import Watcher, watchers
from kinemesh_client.temporary import temporary_mesh

_LIMIT_S: Final = 3600.0
_SAMPLE_S: Final = 1.0
_LEAST_PRIORITY: Final = 19


def main() -> None:
    parser = argparse.ArgumentParser(description="A site with many cameras and many watchers.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = asyncio.run(measure(arguments))
    (arguments.out / "site.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    if result["badly_served"]:
        raise SystemExit("Not every client got every step in order.")


async def measure(wanted: argparse.Namespace) -> dict[str, Any]:
    """Run the jobs in turn, alone and watched."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        frames = round(wanted.seconds * wanted.fps)
        await asyncio.to_thread(
            write_clip, clip, pts=[90_000 // wanted.fps * i for i in range(frames)], size=(640, 360)
        )
        async with temporary_mesh("mock") as mesh, httpx.AsyncClient(timeout=60) as http:
            await mesh.start()
            os.nice(_LEAST_PRIORITY)  # clients live elsewhere: what they need themselves must not slow the job
            rest = Rest(http, mesh.http_url)
            environment = await rest.describe_site([await rest.upload(clip.read_bytes())] * wanted.cameras)
            alone, watched, memory = [], [], Memory()
            badly: list[dict[str, Any]] = []
            await run(rest, environment, 0)  # the first job also starts what starts lazily
            for _ in range(wanted.rounds):
                alone.append((await run(rest, environment, 0))[0])
                memory = Memory()
                async with asyncio.TaskGroup() as group:
                    sampling = group.create_task(memory.sample(mesh))
                    seconds, clients = await run(rest, environment, wanted.watchers)
                    sampling.cancel()
                watched.append(seconds)
                badly += [
                    {"steps": one.steps, "in_order": one.in_order, "code": one.code}
                    for one in clients
                    if not (one.stalled or (one.in_order and one.steps == frames))
                ]
    return {
        "cameras": wanted.cameras,
        "frames": wanted.cameras * frames,
        "steps": frames,
        "watchers": wanted.watchers,
        "seconds_alone": alone,
        "seconds_watched": watched,
        "slowed": round(statistics.median(watched) / statistics.median(alone) - 1, 4),
        "badly_served": badly,
        "memory_mb": memory.quarters(),
    }


async def run(rest: Rest, environment: str, count: int) -> tuple[float, list[Watcher]]:
    """Seconds of one job from its creation to its end, and its watchers when they have got everything."""
    started = time.perf_counter()
    answer = await rest.call("POST", "/api/v1/processing-tasks/start", json={"environment_id": environment})
    answer.raise_for_status()
    task = answer.json()
    clients = await watchers(rest.url, task["websocket_url"], count, stalled=min(1, count))
    async with asyncio.timeout(_LIMIT_S):
        job = await rest.ended(task["task_id"])
        seconds = time.perf_counter() - started
        if job["state"] != "SUCCEEDED":
            raise SystemExit(f"The job ended as {job['state']}: {job['failure']}")
        for client in clients:
            if not client.stalled:
                await client.closed.wait()
    for client in clients:
        client.leave()
    return round(seconds, 2), list(clients)


class Memory:
    """Resident memory of every server over a time."""

    def __init__(self) -> None:
        self._samples: dict[str, list[float]] = {}

    async def sample(self, mesh: Mesh) -> None:
        """Look once a second until cancelled."""
        while True:
            for row in mesh.status():
                if row.pid is not None:
                    self._samples.setdefault(row.name, []).append(_resident_mb(row.pid))
            await asyncio.sleep(_SAMPLE_S)

    def quarters(self) -> dict[str, list[float]]:
        """Medians of each quarter of the time, by server."""
        return {
            name: [
                round(statistics.median(values[len(values) * q // 4 : len(values) * (q + 1) // 4] or values), 1)
                for q in range(4)
            ]
            for name, values in self._samples.items()
        }


def _resident_mb(pid: int) -> float:
    total = 0
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total / 2**20


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    console = Console(highlight=False)
    table = Table(title=f"{result['cameras']} cameras, {result['frames']} frames", box=None)
    for column in ("server", "MiB by quarter of the last job", "", "", ""):
        table.add_column(column, justify="left" if column == "server" else "right")
    for name, values in result["memory_mb"].items():
        table.add_row(name, *(f"{value:.0f}" for value in values))
    console.print(table)
    console.print(f"alone {result['seconds_alone']} s, with {result['watchers']} clients {result['seconds_watched']} s")
    console.print(f"slowed by {result['slowed']:.1%}; clients served badly: {len(result['badly_served'])}")


if __name__ == "__main__":
    main()
