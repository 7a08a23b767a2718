"""``kinemesh run``: a video in, files out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from kinemesh.errors import KinemeshError
from kinemesh_client import local
from kinemesh_client.cli.mesh import start_shown
from kinemesh_client.cli.options import AsJson, DataDir, Models, Url, reached
from kinemesh_client.cli.output import err, out, print_error, print_json
from kinemesh_client.cli.progress import bars, follow
from kinemesh_client.cli.running import Exit
from kinemesh_client.cli.running import run as run_async
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Job

app = typer.Typer(help="Run a pipeline on a video and fetch its results.", no_args_is_help=True)

_CANCEL_S = 5.0


class Subject(StrEnum):
    """Whom to follow."""

    ALL = "all"
    MAIN = "main"
    AT_POINT = "at-point"


@app.callback()
def _pipelines() -> None:
    """Run a pipeline on a video and fetch its results."""


@app.command()
def pose(
    video: Annotated[Path, typer.Argument(help="The video file.")],
    max_persons: Annotated[int, typer.Option(min=1, max=16, help="Most persons to look for in a frame.")] = 4,
    subject: Annotated[Subject, typer.Option(help="Everyone, the main person, or the one at --at.")] = Subject.ALL,
    at: Annotated[str, typer.Option(metavar="TIME,X,Y", help="Seconds, and fractions of width and height.")] = "",
    smooth: Annotated[bool, typer.Option("--smooth", help="Add smoothed landmarks beside the raw ones.")] = False,
    blur_faces: Annotated[bool, typer.Option("--blur-faces", help="Blur faces in the annotated video.")] = False,
    color: Annotated[list[str] | None, typer.Option(help="Colours of persons, as #RRGGBB; may be repeated.")] = None,
    line_thickness: Annotated[int | None, typer.Option(min=1, max=32, help="Pixels at 720 lines.")] = None,
    joint_radius: Annotated[int | None, typer.Option(min=-1, max=32, help="Pixels at 720 lines; -1: none.")] = None,
    trail: Annotated[float | None, typer.Option(min=0, max=10, help="Seconds of motion that trails show.")] = None,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="The original beside it.")] = False,
    hide_labels: Annotated[bool, typer.Option("--hide-labels", help="Leave out the persons' ids.")] = False,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for results; out/<job id> if not given.")
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
) -> None:
    """Poses of everyone in a video, their movement in figures, and an annotated video.

    Uses the mesh that --url names or that runs in --data-dir, and starts one for as long as it takes if none does.
    Ctrl-C cancels the job.
    """
    style = {
        "colors": color or None,
        "line_thickness": line_thickness,
        "joint_radius": joint_radius,
        "trail_sec": trail,
        "side_by_side": side_by_side or None,
        "hide_labels": hide_labels or None,
    }
    parameters = {
        "max_persons": max_persons,
        "subject": subject.name,
        "subject_point": _point(subject, at),
        "smooth": smooth,
        "blur_faces": blur_faces,
        "style": {name: value for name, value in style.items() if value is not None} or None,
    }
    request = Request("pose", video, {name: value for name, value in parameters.items() if value is not None}, out_dir)
    if not video.is_file():
        raise typer.BadParameter(f"There is no file {video}.", param_hint="VIDEO")
    report(run_async(_run(request, url, data_dir, models)), as_json=as_json)


@dataclass(frozen=True, slots=True)
class Request:
    """What to run."""

    pipeline: str
    video: Path
    parameters: Mapping[str, Any]
    out_dir: Path | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended; ``files`` are absolute paths by name, ``seconds`` from upload to the end of the job."""

    job: Job
    files: Mapping[str, Path]
    seconds: float
    stages: Mapping[str, float]


async def process(client: KinemeshClient, request: Request) -> Outcome:
    """Upload, run, watch and download. When cancelled, so is the job."""
    started = time.monotonic()
    with bars() as progress:
        upload = progress.add_task("upload", total=request.video.stat().st_size)
        asset = await client.upload(request.video, progress=lambda count: progress.advance(upload, count))
        job = await client.create_job(request.pipeline, asset.asset_id, request.parameters)
        try:
            job, stages = await follow(client, job, progress)
        except asyncio.CancelledError:
            await _cancel(client, job)
            raise
        seconds = time.monotonic() - started
        files: dict[str, Path] = {}
        if job.state == "SUCCEEDED":
            download = progress.add_task("download", total=sum(output.size_bytes for output in job.outputs))
            folder = request.out_dir or Path("out") / job.job_id
            for output in sorted(job.outputs, key=lambda output: output.name):
                files[output.name] = await client.download(
                    job.job_id, output, folder / output.name, progress=lambda count: progress.advance(download, count)
                )
    return Outcome(job, files, seconds, stages)


async def _cancel(client: KinemeshClient, job: Job) -> None:
    with suppress(KinemeshError, TimeoutError):
        async with asyncio.timeout(_CANCEL_S):
            await client.cancel_job(job.job_id)
            err.print(f"The job {job.job_id} was cancelled.")


def report(outcome: Outcome, *, as_json: bool) -> None:
    """Print how a job ended.

    :raises Exit: with 3, if it failed; with 130, if somebody cancelled it.
    """
    job = outcome.job
    if as_json:
        print_json(
            {
                "job": dict(job.raw),
                "results": {name: str(path) for name, path in outcome.files.items()},
                "seconds": round(outcome.seconds, 3),
                "stages": dict(outcome.stages),
            }
        )
    if job.state != "SUCCEEDED":
        reason, sentence = (
            ("CANCELLED", "The job was cancelled.")
            if job.failure is None
            else (
                job.failure.reason,
                job.failure.message,
            )
        )
        print_error(reason, sentence, {}, as_json=False)
        raise Exit(130 if job.state == "CANCELLED" else 3)
    err.print(f"[green]Done[/] in {outcome.seconds:.1f} s: job {job.job_id}")
    if not as_json:
        width = max((len(name) for name in outcome.files), default=0)
        for name, path in outcome.files.items():
            out.print(f"[bold]{name:<{width}}[/]  {escape(str(path))}")


async def _run(request: Request, url: str, data_dir: Path, models: str) -> Outcome:
    async with client_or_temporary(url, data_dir, models) as client:
        return await process(client, request)


@asynccontextmanager
async def client_or_temporary(url: str, data_dir: Path, models: str) -> AsyncIterator[KinemeshClient]:
    """A client of the mesh that was named or runs, or else of one that ends with this block."""
    if url or local.running_url(data_dir) is not None:
        async with reached(url, data_dir) as client:
            yield client
        return
    err.print("No mesh runs here: starting one for this job.")
    async with temporary_client(models) as client:
        yield client


@asynccontextmanager
async def temporary_client(models: str) -> AsyncIterator[KinemeshClient]:
    """A client of a mesh that lives as long as this block."""
    async with local.temporary_mesh(models) as mesh:
        await start_shown(mesh, err)
        async with KinemeshClient(mesh.http_url) as client:
            yield client
        err.print("Stopping the mesh …")


def _point(subject: Subject, at: str) -> dict[str, Any] | None:
    if (subject is Subject.AT_POINT) != bool(at):
        raise typer.BadParameter("--subject at-point and --at TIME,X,Y go together.", param_hint="--at")
    if not at:
        return None
    try:
        moment, x, y = (float(part) for part in at.split(","))
    except ValueError:
        raise typer.BadParameter("Three numbers are needed, such as 1.5,0.4,0.6.", param_hint="--at") from None
    if not (moment >= 0 and 0 <= x <= 1 and 0 <= y <= 1):
        raise typer.BadParameter("TIME is at least 0; X and Y lie between 0 and 1.", param_hint="--at")
    return {"time_sec": moment, "point": {"x": x, "y": y}}
