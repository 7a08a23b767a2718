"""Following a job to its end."""

from __future__ import annotations

from collections.abc import Callable

from kinemesh_client import Job, JobEvent, KinemeshClient


async def follow(client: KinemeshClient, job_id: str, note: Callable[[JobEvent], None]) -> Job:
    """The job when it has succeeded; ``note`` gets its events. Any other end is the benchmark's."""
    async for event in client.watch(job_id):
        note(event)
    job = await client.get_job(job_id)
    if job.state != "SUCCEEDED":
        raise SystemExit(f"The job ended as {job.state}: {job.failure}")
    return job
