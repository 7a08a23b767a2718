"""``kinemesh routes areas``"""

from __future__ import annotations

from typing import Annotated

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Limit, Url, with_client
from kinemesh_client.cli.output import out, print_deleted, print_json, print_page, short_time
from kinemesh_client.cli.parameters import changes_of
from kinemesh_client.route_catalogue import Area

app = typer.Typer(help="Crags and halls.", no_args_is_help=True)

AreaId = Annotated[str, typer.Argument(metavar="AREA", help="The area's id.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name, unique among your areas.")],
    description: Annotated[str, typer.Option(help="Free text.")] = "",
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Add an area; prints its id."""
    _print_area(with_client(url, data_dir, lambda client: client.areas.create(name, description)), as_json)


@app.command("list")
def list_(limit: Limit = 20, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Your areas, by name."""
    page = with_client(url, data_dir, lambda client: client.areas.list(limit))

    def row(one: Area) -> tuple[object, ...]:
        return one.area_id, one.name, one.routes, short_time(one.create_time), one.description

    columns = ("area", "name", "routes", "created", "description")
    print_page("areas", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def update(
    area_id: AreaId,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="Another text.")] = None,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Change what the options say."""
    changes = changes_of(display_name=name, description=description)
    _print_area(with_client(url, data_dir, lambda client: client.areas.update(area_id, changes)), as_json)


@app.command()
def delete(area_id: AreaId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """Delete an area with its routes and their attempts."""
    with_client(url, data_dir, lambda client: client.areas.delete(area_id))
    print_deleted("area", area_id, as_json=as_json)


def _print_area(area: Area, as_json: bool) -> None:
    if as_json:
        print_json(dict(area.raw))
    else:
        out.print(area.area_id, markup=False)
