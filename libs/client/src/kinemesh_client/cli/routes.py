"""``kinemesh routes``"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from kinemesh_client import local
from kinemesh_client.cli import areas, attempts, references
from kinemesh_client.cli.options import AsJson, DataDir, Limit, RouteId, Url, with_client
from kinemesh_client.cli.output import err, out, print_deleted, print_json, print_page, print_table
from kinemesh_client.cli.parameters import changes_of
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Page
from kinemesh_client.route_catalogue import Area, Attempt, Route, SearchHit

app = typer.Typer(help="Climbing routes, attempts at them, and pictures of walls.", no_args_is_help=True)
app.add_typer(areas.app, name="areas")
app.add_typer(attempts.app, name="attempts")
app.add_typer(references.app, name="references")

_HOUR_S = 3600
_MIB = 1024 * 1024


@app.command()
def tree(as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """All areas with their routes, by name."""
    found = with_client(url, data_dir, lambda client: client.routes.tree())
    if as_json:
        print_json(dict(found.raw))
        return
    rows: list[tuple[object, ...]] = []
    for area in found.areas:
        rows.append((area.name, "", "", area.area_id))
        rows += (("  " + route.name, route.grade, route.attempts, route.route_id) for route in area.routes)
    print_table(("area / route", "grade", "attempts", "id"), rows)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="Words, all of which must occur.")],
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Areas, routes and attempts by words in names, descriptions, grades and notes, best first."""
    page = with_client(url, data_dir, lambda client: client.routes.search(" ".join(words), limit))
    columns = ("what", "name", "where", "id")
    print_page("hits", page.items, page.total, columns, _hit_row, as_json=as_json)


@app.command()
def clean(
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Only files older than this; all if not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Delete temporary files of matching that no running job needs. They also go by themselves after a while."""
    age = None if older_than is None else older_than * _HOUR_S
    cleared = with_client(
        url, data_dir, lambda client: client.routes.clear_temporary(older_than_sec=age, dry_run=dry_run)
    )
    if as_json:
        print_json({**cleared.raw, "dry_run": dry_run})
    else:
        size = f"{cleared.files} files with {cleared.bytes / _MIB:.1f} MiB"
        err.print(f"{size} would be deleted." if dry_run else f"{size} were deleted.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name, unique in the area.")],
    area: Annotated[str, typer.Option(metavar="AREA", help="The area's id.")],
    grade: Annotated[str, typer.Option(help="As climbers write it, such as 6b+ or V4.")] = "",
    reference: Annotated[str, typer.Option(metavar="ID", help="Reference image of its wall.")] = "",
    description: Annotated[str, typer.Option(help="Free text.")] = "",
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Add a route or a boulder problem; prints its id."""
    made = with_client(
        url,
        data_dir,
        lambda client: client.routes.create(area, name, grade=grade, description=description, reference_id=reference),
    )
    _print_id(made, as_json)


@app.command("list")
def list_(
    area: Annotated[str, typer.Option(metavar="AREA", help="Only routes of this area.")] = "",
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Your routes, by name."""
    page = with_client(url, data_dir, lambda client: client.routes.list(area, limit))

    def row(one: Route) -> tuple[object, ...]:
        return one.route_id, one.name, one.grade, one.attempts, one.reference_id, one.area_id

    columns = ("route", "name", "grade", "attempts", "reference", "area")
    print_page("routes", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def show(
    route_id: RouteId, limit: Limit = 20, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR
) -> None:
    """One route with the attempts at it."""

    async def ask(client: KinemeshClient) -> tuple[Route, Page[Attempt]]:
        return await client.routes.get(route_id), await client.attempts.list(route_id, limit)

    route, page = with_client(url, data_dir, ask)
    if as_json:
        print_json({**route.raw, "attempts": [dict(one.raw) for one in page.items]})
        return
    out.print(f"[bold]{escape(route.route_id)}[/]  {escape(route.name)}  {escape(route.grade)}")
    if route.description:
        out.print(route.description, markup=False)
    if route.reference_id:
        out.print(f"reference: {escape(route.reference_id)}")
    attempts.print_attempts(page, as_json=False)


@app.command()
def update(
    route_id: RouteId,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    grade: Annotated[str | None, typer.Option(help="Another grade.")] = None,
    reference: Annotated[str | None, typer.Option(metavar="ID", help="Another reference image.")] = None,
    description: Annotated[str | None, typer.Option(help="Another text.")] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Change what the options say."""
    changes = changes_of(display_name=name, grade=grade, reference_id=reference, description=description)
    _print_id(with_client(url, data_dir, lambda client: client.routes.update(route_id, changes)), as_json)


@app.command()
def delete(route_id: RouteId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Delete a route with its attempts."""
    with_client(url, data_dir, lambda client: client.routes.delete(route_id))
    print_deleted("route", route_id, as_json=as_json)


def _print_id(route: Route, as_json: bool) -> None:
    if as_json:
        print_json(dict(route.raw))
    else:
        out.print(route.route_id, markup=False)


def _hit_row(hit: SearchHit) -> tuple[str, ...]:
    match hit.item:
        case Area(area_id=name_id, name=name) | Route(route_id=name_id, name=name):
            return hit.kind, name, hit.path, name_id
        case Attempt() as attempt:
            return hit.kind, attempts.name_of(attempt), hit.path, attempt.attempt_id
