"""A day of work compressed: many jobs on one mesh, of all kinds, some cancelled, failing or deleted while they run.
Does anything grow, and is anything left?

::

    make soak JOBS=500

Writes ``OUT/soak.json``: what every server held after each round of jobs, how much of it grew per job once the first
tenth (50 of 500) was over, what was left in storage, database and streams when everything had been deleted and swept,
how the jobs ended, and seconds from the call that cancels a running job until no worker has a task in hand. Ends with
status 1 if something grew or was left.

Growth is the median slope (Theil and Sen) over the rounds. What counts as none:

- memory: 16 KiB per job, the ups and downs of allocators, which a leak of 20 KB per job would exceed (measured: 6 at
  most). 64 for nats, which remembers the ids of all messages of the last hour so as to take none twice: measured 33,
  and 6 when it remembered half a minute.
- files: 8 over the whole run, as connections in a pool that fills when chance has it (measured: 1). 160 for postgres,
  whose 16 backends each keep the files of all tables and indexes open that they have met: it ends at about 850.
- threads, entries of ``/dev/shm``: 4, for the same reason; children: 1.

``--short`` is for a few jobs, in which caches are still filling: it leaves out half of the rounds and the servers that
are not ours, and lets memory grow by 4 MiB per job, a step of an allocator in every fourth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx
from process_samples import growth, sample, shared_memory, slope
from rich.console import Console
from rich.table import Table
from soak_jobs import Clips, run_one, write_clips
from soak_remains import remains

from kinemesh.embedded.environment import SERVICES
from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh_client import KinemeshClient
from kinemesh_client.local import find_models

_AT_ONCE: Final = 4
_WORKERS: Final = ("pose", "render", "detect_track", "matcher", "ingest")
_KIB_PER_JOB: Final = {"nats": 64.0}
_MOST_KIB_PER_JOB: Final = 16.0
_MOST_KIB_SHORT: Final = 4096.0
_FILES: Final = {"postgres": 160.0}
_MOST: Final = {"files": 8.0, "threads": 4.0, "children": 1.0}
_SETTLE_S: Final = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory, handles and leftovers over many jobs.")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--round", type=int, default=10, help="jobs between two looks")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--short", action="store_true", help="judge as few jobs allow")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = asyncio.run(soak(arguments.jobs, arguments.round, short=arguments.short))
    (arguments.out / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    if result["complaints"]:
        raise SystemExit("\n".join(result["complaints"]))


async def soak(jobs: int, step: int, *, short: bool = False) -> dict[str, Any]:
    """Run the jobs, look between rounds, and look for what is left."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-soak-") as name:
        folder = Path(name)
        clips = await asyncio.to_thread(write_clips, folder)
        # Deleted things go for good within seconds, so that what stays has been forgotten.
        env = {"KINEMESH_RETENTION__LATE_SWEEP_S": "2", "KINEMESH_RETENTION__SWEEP_INTERVAL_S": "1"}
        config = MeshConfig(folder / "mesh", find_models("mock"), http_port=0, durable=False, env=env)
        async with Mesh(config) as mesh:
            await mesh.start()
            async with KinemeshClient(mesh.http_url, timeout_s=60) as client, httpx.AsyncClient(timeout=30) as http:
                rounds, entries, ended = [], [], Counter[str]()
                started = time.perf_counter()
                for first in range(0, jobs, step):
                    ended.update(await run_round(client, clips, range(first, min(first + step, jobs))))
                    await until_idle(mesh, http)
                    rounds.append(sample(mesh))
                    entries.append(shared_memory())
                seconds = time.perf_counter() - started
                cancelled = [await cancel_one(mesh, client, http, clips) for _ in range(3)]
                left = await remains(mesh)
    settled = rounds[len(rounds) // 2 if short else max(1, len(rounds) // 10) :]
    grown = growth(settled, step)
    shared = slope(entries[len(rounds) - len(settled) :], step)
    result: dict[str, Any] = {
        "jobs": jobs,
        "seconds": round(seconds, 1),
        "ended": dict(ended),
        "growth_per_job": {name: {what: round(value, 3) for what, value in of.items()} for name, of in grown.items()},
        "shared_memory_per_job": round(shared, 4),
        "first": {name: asdict(one) for name, one in settled[0].items()},
        "last": {name: asdict(one) for name, one in settled[-1].items()},
        "memory_kib": {name: [one[name].memory_kib for one in rounds] for name in rounds[0]},
        "files": {name: [one[name].files for one in rounds] for name in rounds[0]},
        "left": left,
        "cancel_s": cancelled,
    }
    return {**result, "complaints": complaints(result, (len(settled) - 1) * step, short=short)}


async def run_round(client: KinemeshClient, clips: Clips, numbers: Sequence[int]) -> list[str]:
    """Run some jobs, a few at once; answers with how they ended."""
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def run(number: int) -> str:
        async with at_once:
            return await run_one(client, clips, number)

    return list(await asyncio.gather(*map(run, numbers)))


async def cancel_one(mesh: Mesh, client: KinemeshClient, http: httpx.AsyncClient, clips: Clips) -> float:
    """Seconds until all workers are idle after a job was cancelled in the middle of it."""
    asset = await client.upload(clips.good)
    job = await client.create_job("pose", asset.asset_id, {})
    async for event in client.watch(job.job_id):
        if event.kind == "progress":
            break
    started = time.perf_counter()
    if not (await client.get_job(job.job_id)).is_over:
        await client.cancel_job(job.job_id)
    await until_idle(mesh, http)
    seconds = time.perf_counter() - started
    await client.delete_job(job.job_id)
    await client.delete_asset(asset.asset_id)
    return round(seconds, 2)


async def until_idle(mesh: Mesh, http: httpx.AsyncClient) -> None:
    """Wait until no worker has a task in hand, as their metrics say."""
    async with asyncio.timeout(_SETTLE_S):
        while await in_hand(mesh, http):  # noqa: ASYNC110 - metrics announce nothing
            await asyncio.sleep(0.02)


async def in_hand(mesh: Mesh, http: httpx.AsyncClient) -> float:
    """Tasks that workers have begun and not ended."""
    total = 0.0
    for name in _WORKERS:
        text = (await http.get(f"http://127.0.0.1:{mesh.ports.metrics[name]}/metrics")).text
        total += sum(float(value) for value in re.findall(r"^kinemesh_tasks_in_hand{[^}]*} (\S+)$", text, re.MULTILINE))
    return total


def complaints(result: dict[str, Any], jobs: int, *, short: bool = False) -> list[str]:
    """What grew over so many jobs, and what was left, as sentences."""
    found = []
    for name, of in result["growth_per_job"].items():
        if short and name not in SERVICES:
            continue
        if of["memory_kib"] > (_MOST_KIB_SHORT if short else _KIB_PER_JOB.get(name, _MOST_KIB_PER_JOB)):
            found.append(f"{name} took {of['memory_kib']:.1f} KiB more with every job.")
        most = {**_MOST, "files": _FILES.get(name, _MOST["files"])}
        found += [
            f"{name} has {of[what] * jobs:.0f} {what} more after {jobs} jobs."
            for what, allowed in most.items()
            if of[what] * jobs > allowed
        ]
    if result["shared_memory_per_job"] * jobs > _MOST["threads"]:
        found.append(f"/dev/shm has {result['shared_memory_per_job'] * jobs:.0f} entries more after {jobs} jobs.")
    return found + [f"Left in {where}: {what}." for where, what in result["left"].items() if what]


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    console = Console(highlight=False, width=int(os.environ.get("COLUMNS", "110")))
    title = f"{result['jobs']} jobs in {result['seconds']:.0f} s: {result['ended']}"
    table = Table(title=title, box=None)
    for column in ("server", "MiB then", "at the end", "KiB per job", "files", "threads", "children"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for name, last in result["last"].items():
        first = result["first"][name]
        counts = (f"{first[what]} → {last[what]}" for what in ("files", "threads", "children"))
        memory = (f"{first['memory_kib'] / 1024:.0f}", f"{last['memory_kib'] / 1024:.0f}")
        table.add_row(name, *memory, f"{result['growth_per_job'][name]['memory_kib']:+.1f}", *counts)
    console.print(table)
    console.print("left:", result["left"])
    console.print("a cancelled job stops within", max(result["cancel_s"]), "s:", result["cancel_s"])


if __name__ == "__main__":
    main()
