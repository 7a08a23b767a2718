"""``kinemesh jobs``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, with_client
from kinemesh_client.cli.output import out, print_deleted, print_json, print_page, print_table, short_time
from kinemesh_client.cli.processing import Outcome, report
from kinemesh_client.cli.progress import bars, follow
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Job, LogLine

app = typer.Typer(help="Look at jobs and steer them.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="The job's id.")]

_PAGE = 100


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most jobs to show.")] = 20,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state, such as RUNNING; repeatable.")] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Your jobs, newest first."""

    async def collect(client: KinemeshClient) -> tuple[list[Job], int]:
        jobs: list[Job] = []
        token = ""
        while True:
            page = await client.list_jobs(min(_PAGE, limit - len(jobs)), token, state or ())
            jobs += page.items
            token = page.next_page_token
            if not token or len(jobs) >= limit:
                return jobs, page.total

    jobs, total = with_client(url, data_dir, collect)
    columns = ("job", "pipeline", "state", "stage", "progress", "created")

    def row(job: Job) -> tuple[str, ...]:
        return job.job_id, job.pipeline, job.state, job.stage, f"{job.progress:.0%}", short_time(job.create_time)

    print_page("jobs", jobs, total, columns, row, as_json=as_json)


@app.command()
def show(job_id: JobId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """One job."""
    job = with_client(url, data_dir, lambda client: client.get_job(job_id))
    _print_job(job, as_json)


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Stop a job; what it wrote is removed."""
    job = with_client(url, data_dir, lambda client: client.cancel_job(job_id))
    _print_job(job, as_json)


@app.command()
def delete(job_id: JobId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Delete a job with all its results."""
    with_client(url, data_dir, lambda client: client.delete_job(job_id))
    print_deleted("job", job_id, as_json=as_json)


@app.command()
def logs(job_id: JobId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """A job's log, oldest line first."""

    async def collect(client: KinemeshClient) -> list[LogLine]:
        lines: list[LogLine] = []
        token = ""
        while True:
            page = await client.job_logs(job_id, page_token=token)
            lines += page.items
            token = page.next_page_token
            if not token:
                return lines

    lines = with_client(url, data_dir, collect)
    if as_json:
        print_json({"logs": [{"time": line.time, "level": line.level, "text": line.text} for line in lines]})
        return
    for line in lines:
        out.print(f"{line.time[11:19]} {line.level:<7} {line.text}", markup=False)


@app.command()
def watch(job_id: JobId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Show a job's progress until it is over; exits with 3 if it fails."""

    async def look(client: KinemeshClient) -> Outcome:
        job = await client.get_job(job_id)
        with bars() as progress:
            job, stages = await follow(client, job, progress)
        return Outcome(job, {}, sum(stages.values()), stages)

    report(with_client(url, data_dir, look), as_json=as_json)


def _print_job(job: Job, as_json: bool) -> None:
    if as_json:
        print_json(dict(job.raw))
        return
    out.print(f"[bold]{job.job_id}[/]  {job.pipeline}  {job.state}  {job.progress:.0%}  {short_time(job.create_time)}")
    if job.failure is not None:
        out.print(f"[red]{escape(job.failure.message)}[/] ({job.failure.reason})")
    rows = ((s.stage, f"{s.tasks_done}/{s.tasks}", f"{s.progress:.0%}") for s in job.stages)
    print_table(("stage", "tasks", "progress"), rows)
    if job.outputs:
        print_table(("output", "type", "bytes"), ((o.name, o.content_type, o.size_bytes) for o in job.outputs))
