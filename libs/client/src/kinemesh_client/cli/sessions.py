"""``kinemesh sessions``"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from kinemesh.errors import KinemeshError
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, reached
from kinemesh_client.cli.output import out, print_deleted, print_json, print_page, print_table, short_time
from kinemesh_client.cli.parameters import At, Threshold, Video, existing, point_of
from kinemesh_client.cli.processing import Outcome, clear, follow_or_cancel, given, report
from kinemesh_client.cli.progress import bars
from kinemesh_client.cli.running import run
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Page, Session

app = typer.Typer(help="Recorded sessions and the track of who leads them.", no_args_is_help=True)

SessionId = Annotated[str, typer.Argument(help="The session's id.")]
Detector = Annotated[str, typer.Option("--model", help="Detector; the mesh's default if not given.")]


@app.command("import")
def import_(
    video: Video,
    name: Annotated[str, typer.Option(help="Name of the session; the file's if not given.")] = "",
    at: At = "",
    model: Detector = "",
    threshold: Threshold = 0.5,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Keep a video as a session and follow the person at --at, or who is there longest."""
    existing(video, "VIDEO")
    parameters = _parameters(at, model, threshold)

    async def act() -> tuple[Session, Outcome]:
        async with reached(url, data_dir) as client:
            with bars() as progress:
                upload = progress.add_task("upload", total=video.stat().st_size)
                asset = await client.upload(video, progress=lambda count: progress.advance(upload, count))
            try:
                session = await client.create_session(asset.asset_id, name, parameters)
            except KinemeshError:
                await clear(client.delete_asset(asset.asset_id), f"the asset {asset.asset_id}")
                raise
            return session, await _follow(client, session)

    _report(*run(act()), as_json)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most sessions to show.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Your sessions, newest first."""

    async def ask() -> Page[Session]:
        async with reached(url, data_dir) as client:
            return await client.list_sessions(limit)

    page = run(ask())
    columns = ("session", "name", "result", "latest job", "created")

    def row(one: Session) -> tuple[str, ...]:
        return one.session_id, one.name, "yes" if one.has_result else "no", one.job_id, short_time(one.create_time)

    print_page("sessions", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def show(
    session_id: SessionId,
    result: Annotated[
        bool, typer.Option("--result", help="Print the whole result, track and all, as one JSON object.")
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """One session, with the figures of its result."""

    async def ask() -> tuple[Session, Mapping[str, Any] | None]:
        async with reached(url, data_dir) as client:
            session = await client.get_session(session_id)
            wanted = result or session.has_result
            return session, await client.instructor_tracking(session_id) if wanted else None

    session, tracking = run(ask())
    metrics = None if tracking is None else tracking["derivedMetrics"]
    if result:
        print_json(tracking)
    elif as_json:
        print_json({**session.raw, "metrics": metrics})
    else:
        created = short_time(session.create_time)
        out.print(f"[bold]{session.session_id}[/]  {escape(session.name)}  {created}  job {session.job_id}")
        figures = ((name, f"{value:g}") for name, value in (metrics or {}).items() if isinstance(value, int | float))
        print_table(("metric", "value"), figures)


@app.command()
def process(
    session_id: SessionId,
    at: At = "",
    model: Detector = "",
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Least score of a box.")] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Follow the instructor again: as the last time, unless an option says otherwise."""
    parameters = _parameters(at, model, threshold) or None

    async def act() -> tuple[Session, Outcome]:
        async with reached(url, data_dir) as client:
            session = await client.process_session(session_id, parameters)
            return session, await _follow(client, session)

    _report(*run(act()), as_json)


@app.command()
def delete(session_id: SessionId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Delete a session with its video, jobs and results."""

    async def act() -> None:
        async with reached(url, data_dir) as client:
            await client.delete_session(session_id)

    run(act())
    print_deleted("session", session_id, as_json=as_json)


async def _follow(client: KinemeshClient, session: Session) -> Outcome:
    with bars() as progress:
        job, stages = await follow_or_cancel(client, await client.get_job(session.job_id), progress)
    return Outcome(job, {}, sum(stages.values()), stages)


def _report(session: Session, outcome: Outcome, as_json: bool) -> None:
    if not as_json:
        out.print(session.session_id)
    report(outcome, as_json=as_json, session=dict(session.raw))


def _parameters(at: str, model: str, threshold: float | None) -> dict[str, Any]:
    return given(subject_point=point_of(at) if at else None, model=model or None, threshold=threshold)
