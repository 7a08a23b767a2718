"""Many jobs on one mesh: does memory stay flat, and how soon does a cancelled job stop?

::

    make bench-soak

Writes ``OUT/soak.json``: the most resident MiB of every server during each job, its growth (median of the last five
jobs less median of the second quarter's), seconds of each job, and seconds from the call that cancels a running job
until no worker has a task in hand. Ends with status 1 if a server grew by more than a job's ups and downs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from jobs import follow
from memory import begin_peaks, peaks_mb
from rich.console import Console
from rich.table import Table

from kinemesh.embedded import Mesh
from kinemesh_client import KinemeshClient
from kinemesh_client.cli.demo import make_clip
from kinemesh_client.local import temporary_mesh

_WORKERS = ("pose", "render", "ingest")
_FLAT_MB = 16.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and cancelling over many jobs.")
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = asyncio.run(soak(arguments.jobs))
    (arguments.out / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    grown = [name for name, grew in result["growth_mb"].items() if grew > _FLAT_MB]
    if grown:
        raise SystemExit(f"More memory from job to job: {', '.join(grown)}.")


async def soak(jobs: int) -> dict[str, Any]:
    """Run the jobs one after the other, then cancel some."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "clip.mp4"
        await make_clip(video)
        async with temporary_mesh("default") as mesh:
            await mesh.start()
            async with KinemeshClient(mesh.http_url) as client:
                asset = await client.upload(video)
                memory: dict[str, list[float]] = {row.name: [] for row in mesh.status()}
                seconds = []
                for _ in range(jobs):
                    begin_peaks(mesh)
                    seconds.append(await run_job(client, asset.asset_id))
                    for name, peak in peaks_mb(mesh).items():
                        memory[name].append(peak)
                cancelled = [await cancel_job(mesh, client, asset.asset_id) for _ in range(5)]
    return {
        "seconds": seconds,
        "peak_rss_mb": memory,
        "growth_mb": {name: growth(values) for name, values in memory.items()},
        "cancel_s": cancelled,
    }


def growth(values: list[float]) -> float:
    """How much more was needed at the end than once everything had been used a few times."""
    settled = values[len(values) // 4 : len(values) // 2] or values
    return round(statistics.median(values[-5:]) - statistics.median(settled), 1)


async def run_job(client: KinemeshClient, asset_id: str) -> float:
    """Seconds of one job."""
    started = time.perf_counter()
    job = await client.create_job("pose", asset_id, {})
    await follow(client, job.job_id, lambda _: None)
    return round(time.perf_counter() - started, 2)


async def cancel_job(mesh: Mesh, client: KinemeshClient, asset_id: str) -> float:
    """Seconds until all workers are idle after a job was cancelled in the middle of the stage pose."""
    job = await client.create_job("pose", asset_id, {})
    async for event in client.watch(job.job_id):
        if event.kind == "progress" and event.payload["stage"] == "pose":
            break
    async with httpx.AsyncClient(timeout=5) as http:
        started = time.perf_counter()
        await client.cancel_job(job.job_id)
        while await in_hand(mesh, http):  # noqa: ASYNC110 - metrics announce nothing
            await asyncio.sleep(0.02)
    return round(time.perf_counter() - started, 2)


async def in_hand(mesh: Mesh, http: httpx.AsyncClient) -> float:
    """Tasks that workers have begun and not ended, from their metrics."""
    total = 0.0
    for name in _WORKERS:
        text = (await http.get(f"http://127.0.0.1:{mesh.ports.metrics[name]}/metrics")).text
        total += sum(float(value) for value in re.findall(r"^kinemesh_tasks_in_hand{[^}]*} (\S+)$", text, re.MULTILINE))
    return total


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    console = Console(highlight=False)
    table = Table(title=f"{len(result['seconds'])} jobs, {statistics.median(result['seconds']):.1f} s each", box=None)
    for column in ("server", "peak MiB, first", "last", "growth"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for name, values in result["peak_rss_mb"].items():
        table.add_row(name, f"{values[0]:.0f}", f"{values[-1]:.0f}", f"{result['growth_mb'][name]:+.1f}")
    console.print(table)
    console.print("a cancelled job stops within", max(result["cancel_s"]), "s:", result["cancel_s"])


if __name__ == "__main__":
    main()
