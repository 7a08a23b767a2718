"""A video in, files out: what all commands that run a pipeline share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import Progress

from kinemesh.errors import KinemeshError, NotFound
from kinemesh_client import local
from kinemesh_client.cli.options import reached
from kinemesh_client.cli.output import err, out, print_error, print_facts, print_json
from kinemesh_client.cli.progress import bars, follow
from kinemesh_client.cli.running import Exit
from kinemesh_client.client import KinemeshClient
from kinemesh_client.credentials import of_secret
from kinemesh_client.resources import Failure, Job
from kinemesh_client.transfer import size_of

Place = Callable[[str, str], Path | None]
"""Where an output goes, by the job's id and the output's name; None leaves it out."""

_CANCEL_S = 5.0
_CLEAR_S = 30.0  # to remove a model starts a program


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    :ivar keep: whether video and job stay on the mesh.
    """

    pipeline: str
    video: Path
    parameters: Mapping[str, Any]
    place: Place
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended; ``files`` are absolute paths by name, ``seconds`` from upload to the end of the job."""

    job: Job
    files: Mapping[str, Path]
    seconds: float
    stages: Mapping[str, float]


def into(out_dir: Path | None) -> Place:
    """All outputs go to a folder, ``out/<job id>`` when none is named."""
    return lambda job_id, name: (out_dir or Path("out") / job_id) / name


def given(**values: Any) -> dict[str, Any]:
    """Those that are not None: what is left out has the mesh's default."""
    return {name: value for name, value in values.items() if value is not None}


async def run_request(request: Request, url: str, data_dir: Path, models: str) -> Outcome:
    """Process on the mesh that was named or runs, or else on one of its own."""
    async with client_or_temporary(url, data_dir, models) as (client, _):
        return await process(client, request)


async def process(client: KinemeshClient, request: Request) -> Outcome:
    """Upload, run, watch and download. When cancelled, so is the job."""
    started = time.monotonic()
    job: Job | None = None
    with bars() as progress:
        upload = progress.add_task("upload", total=request.video.stat().st_size)
        asset = await client.upload(
            request.video, keep_refused=request.keep, progress=lambda count: progress.advance(upload, count)
        )
        try:
            job = await client.create_job(request.pipeline, asset.asset_id, request.parameters)
            job, stages = await follow_or_cancel(client, job, progress)
            seconds = time.monotonic() - started
            files = await fetch(client, job, request.place, progress) if job.state == "SUCCEEDED" else {}
        finally:
            if job is not None and not request.keep:
                await clear(client.delete_job(job.job_id), f"the job {job.job_id}")
            if job is None or not request.keep:
                await clear(client.delete_asset(asset.asset_id), f"the asset {asset.asset_id}")
    return Outcome(job, files, seconds, stages)


async def upload(client: KinemeshClient, path: Path, kind: str, progress: Progress) -> str:
    """Send a file, with a bar of its own; returns the asset's id. What is refused does not stay.

    :param kind: VIDEO or IMAGE.
    """
    bar = progress.add_task(f"upload {path.name}", total=size_of(path))
    asset = await client.upload(
        path, kind=kind, keep_refused=False, progress=lambda count: progress.advance(bar, count)
    )
    return asset.asset_id


async def fetch(client: KinemeshClient, job: Job, place: Place, progress: Progress) -> dict[str, Path]:
    """Download a job's outputs to where they go."""
    wanted = [
        (output, target)
        for output in sorted(job.outputs, key=lambda output: output.name)
        if (target := place(job.job_id, output.name)) is not None
    ]
    download = progress.add_task("download", total=sum(output.size_bytes for output, _ in wanted))
    return {
        output.name: await client.download(
            job.job_id, output, target, progress=lambda count: progress.advance(download, count)
        )
        for output, target in wanted
    }


async def follow_or_cancel(client: KinemeshClient, job: Job, progress: Progress) -> tuple[Job, dict[str, float]]:
    """Show a job until it is over; returns it and the seconds that each stage took. When cancelled, so is the job."""
    try:
        return await follow(client, job, progress)
    except asyncio.CancelledError:
        await _cancel(client, job)
        raise


async def _cancel(client: KinemeshClient, job: Job) -> None:
    with suppress(KinemeshError, TimeoutError):
        async with asyncio.timeout(_CANCEL_S):
            await client.cancel_job(job.job_id)
            err.print(f"The job {job.job_id} was cancelled.")


async def clear(removal: Awaitable[None], what: str) -> None:
    """Remove what need not stay; that this failed is told and changes nothing else."""
    try:
        async with asyncio.timeout(_CLEAR_S):
            await removal
    except NotFound:
        pass
    except (KinemeshError, TimeoutError) as error:
        err.print(f"[yellow]Could not remove {escape(what)}:[/] {escape(str(error) or 'no answer in time.')}")


def report(outcome: Outcome, *, as_json: bool, **more: Any) -> None:
    """Print how a job ended; of one that failed, what is known of it.

    :param more: further members of the JSON object.
    :raises Exit: with 3, if it failed; with 130, if somebody cancelled it.
    """
    job = outcome.job
    if as_json:
        print_json(
            {
                **more,
                "job": dict(job.raw),
                "results": {name: str(path) for name, path in outcome.files.items()},
                "seconds": round(outcome.seconds, 3),
                "stages": dict(outcome.stages),
            }
        )
    if job.state != "SUCCEEDED":
        failure = job.failure or Failure("CANCELLED", "The job was cancelled.")
        print_error(failure.reason, failure.message, {}, as_json=False)
        print_facts(failure.metadata)
        raise Exit(130 if job.state == "CANCELLED" else 3)
    err.print(f"[green]Done[/] in {outcome.seconds:.1f} s: job {job.job_id}")
    if not as_json:
        width = max((len(name) for name in outcome.files), default=0)
        for name, path in outcome.files.items():
            out.print(f"[bold]{name:<{width}}[/]  {escape(str(path))}")


@asynccontextmanager
async def client_or_temporary(url: str, data_dir: Path, models: str) -> AsyncIterator[tuple[KinemeshClient, bool]]:
    """A client of the mesh that was named or runs, or else of one that ends with this block; and whether it lasts."""
    if url or local.running_url(data_dir) is not None:
        async with reached(url, data_dir) as client:
            yield client, True
        return
    err.print("No mesh runs here: starting one for this job.")
    async with temporary_client(models, data_dir) as client:
        yield client, False


@asynccontextmanager
async def temporary_client(models: str, brought: Path | None = None) -> AsyncIterator[KinemeshClient]:
    """A client of a mesh that lives as long as this block, with the models that lie in the folder ``brought``."""
    from kinemesh_client.cli.starting import start_shown
    from kinemesh_client.temporary import temporary_mesh

    async with temporary_mesh(models, brought) as mesh:
        await start_shown(mesh, err)
        async with KinemeshClient(mesh.http_url, api_key="", tokens=of_secret()) as client:
            yield client
        err.print("Stopping the mesh …")
