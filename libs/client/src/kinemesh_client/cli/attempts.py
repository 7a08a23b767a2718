"""``kinemesh routes attempts``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kinemesh.errors import KinemeshError
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Limit, OutFile, Url, with_client
from kinemesh_client.cli.output import out, print_deleted, print_file, print_json, print_page, print_table, short_time
from kinemesh_client.cli.parameters import Video, changes_of, existing, rfc3339
from kinemesh_client.cli.processing import clear, upload
from kinemesh_client.cli.progress import bars
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Page
from kinemesh_client.route_catalogue import Attempt, Comparison, RecentAttempt

app = typer.Typer(help="Attempts at routes.", no_args_is_help=True)

AttemptId = Annotated[str, typer.Argument(metavar="ATTEMPT", help="The attempt's id.")]

_MOST = 8


class Data(StrEnum):
    """What is kept with an attempt."""

    VIDEO = "video"
    POSES = "poses"
    FEATURES = "features"


@app.command()
def add(
    video: Video,
    route: Annotated[str, typer.Option(metavar="ROUTE", help="The route's id.")],
    name: Annotated[str, typer.Option(help="Name; its time if not given.")] = "",
    notes: Annotated[str, typer.Option(help="Free text.")] = "",
    time: Annotated[str, typer.Option(help="When it was climbed, such as 2026-03-01T08:00:00Z; now.")] = "",
    topped: Annotated[bool, typer.Option("--topped", help="The top was reached.")] = False,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Upload a video as an attempt at a route; prints its id."""
    existing(video, "VIDEO")
    climbed = rfc3339(time, "--time") if time else ""

    async def act(client: KinemeshClient) -> Attempt:
        await client.routes.get(route)  # a wrong id is told before anything is uploaded
        with bars() as progress:
            asset_id = await upload(client, video, "VIDEO", progress)
        try:
            return await client.attempts.create(
                route, asset_id, name=name, notes=notes, attempt_time=climbed, topped=topped
            )
        except KinemeshError:
            await clear(client.delete_asset(asset_id), f"the asset {asset_id}")
            raise

    _print_id(with_client(url, data_dir, act), as_json)


@app.command("list")
def list_(
    route: Annotated[str, typer.Option(metavar="ROUTE", help="The route's id.")],
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """The attempts at a route, last climbed first."""
    print_attempts(with_client(url, data_dir, lambda client: client.attempts.list(route, limit)), as_json=as_json)


@app.command()
def recent(limit: Limit = 20, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Your attempts over all routes, last added first."""
    page = with_client(url, data_dir, lambda client: client.attempts.recent(limit))

    def row(one: RecentAttempt) -> tuple[str, ...]:
        attempt = one.attempt
        return attempt.attempt_id, name_of(attempt), one.area, one.route, short_time(attempt.attempt_time)

    columns = ("attempt", "name", "area", "route", "climbed")
    print_page("attempts", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def show(attempt_id: AttemptId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """One attempt with its figures."""
    found = with_client(url, data_dir, lambda client: client.attempts.get(attempt_id))
    if as_json:
        print_json(dict(found.raw))
        return
    facts = (name_of(found), short_time(found.attempt_time), "topped" if found.topped else "")
    out.print(f"[bold]{escape(found.attempt_id)}[/]  {escape('  '.join(filter(None, facts)))}")
    for what, value in (("notes", found.notes), ("route", found.route_id), ("job", found.job_id)):
        if value:
            out.print(f"{what}: {escape(value)}")
    if found.metrics is not None:
        print_table(("metric", "value"), ((name, f"{value:g}") for name, value in found.raw["metrics"].items()))


@app.command()
def compare(
    attempt_ids: Annotated[list[str], typer.Argument(metavar="ATTEMPT ATTEMPT...", help="Two to eight, at one route.")],
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """The figures of several attempts side by side."""
    if not 2 <= len(attempt_ids) <= _MOST:
        raise typer.BadParameter(f"Two to {_MOST} attempts are needed.", param_hint="ATTEMPT")

    async def ask(client: KinemeshClient) -> Comparison:
        first = await client.attempts.get(attempt_ids[0])
        return await client.attempts.compare(first.route_id, attempt_ids)

    found = with_client(url, data_dir, ask)
    if as_json:
        print_json(dict(found.raw))
        return
    rows = (
        (row.metric, row.unit, *("" if value is None else f"{value:.3g}" for value in row.values)) for row in found.rows
    )
    print_table(("metric", "unit", *map(name_of, found.attempts)), rows)


@app.command()
def get(
    attempt_id: AttemptId,
    target: OutFile,
    data: Annotated[Data, typer.Option(help="What to fetch; poses and features are Parquet.")] = Data.VIDEO,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Write an attempt's video, poses or features to a file."""

    async def act(client: KinemeshClient) -> Path:
        return await client.attempts.download(attempt_id, data.value, target)

    print_file(with_client(url, data_dir, act), as_json=as_json, attempt_id=attempt_id)


@app.command()
def update(
    attempt_id: AttemptId,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    notes: Annotated[str | None, typer.Option(help="Another text.")] = None,
    time: Annotated[str | None, typer.Option(help="When it was climbed, such as 2026-03-01T08:00:00Z.")] = None,
    topped: Annotated[bool | None, typer.Option(help="Whether the top was reached.")] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Change what the options say."""
    climbed = rfc3339(time, "--time") if time else None
    changes = changes_of(display_name=name, notes=notes, attempt_time=climbed, topped=topped)
    _print_id(with_client(url, data_dir, lambda client: client.attempts.update(attempt_id, changes)), as_json)


@app.command()
def delete(attempt_id: AttemptId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Delete an attempt with its video, poses, features and jobs."""
    with_client(url, data_dir, lambda client: client.attempts.delete(attempt_id))
    print_deleted("attempt", attempt_id, as_json=as_json)


def print_attempts(page: Page[Attempt], *, as_json: bool) -> None:
    """A page of attempts at one route."""
    columns = ("attempt", "name", "climbed", "topped", "seconds", "moves", "path", "straightness")

    def row(one: Attempt) -> tuple[object, ...]:
        figures: tuple[object, ...] = ("", "", "", "")
        if (found := one.metrics) is not None:
            seconds, path = f"{found.time_on_route_sec:.1f}", f"{found.path_length:.2f}"
            figures = seconds, found.moves, path, f"{found.straightness:.2f}"
        return one.attempt_id, name_of(one), short_time(one.attempt_time), "yes" if one.topped else "no", *figures

    print_page("attempts", page.items, page.total, columns, row, as_json=as_json)


def name_of(attempt: Attempt) -> str:
    """What people call an attempt: its time if it has no name."""
    return attempt.name or short_time(attempt.attempt_time)


def _print_id(attempt: Attempt, as_json: bool) -> None:
    if as_json:
        print_json(dict(attempt.raw))
    else:
        out.print(attempt.attempt_id, markup=False)
