"""``kinemesh routes references``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kinemesh.errors import KinemeshError
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Limit, OutFile, Url, with_client
from kinemesh_client.cli.output import out, print_deleted, print_file, print_json, print_page
from kinemesh_client.cli.parameters import existing
from kinemesh_client.cli.processing import clear, upload
from kinemesh_client.cli.progress import bars
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Page
from kinemesh_client.route_catalogue import ReferenceImage

app = typer.Typer(help="Pictures of walls, on which attempts are compared.", no_args_is_help=True)

ReferenceId = Annotated[str, typer.Argument(metavar="ID", help="The reference image's id.")]


class Source(StrEnum):
    """Where pictures come from."""

    BUILT_IN = "built-in"
    UPLOADED = "uploaded"


@app.command()
def add(
    picture: Annotated[Path, typer.Argument(metavar="FILE", help="JPEG, PNG or WebP.")],
    name: Annotated[str, typer.Option(help="Name; the file's if not given.")] = "",
    route: Annotated[str, typer.Option(metavar="ROUTE", help="Route that it shows, which uses it from then on.")] = "",
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Upload a picture of a wall; prints its id."""
    existing(picture, "FILE")

    async def act(client: KinemeshClient) -> ReferenceImage:
        with bars() as progress:
            asset_id = await upload(client, picture, "IMAGE", progress)
        try:
            return await client.references.create(asset_id, name=name, route_id=route)
        except KinemeshError:
            await clear(client.delete_asset(asset_id), f"the asset {asset_id}")
            raise

    made = with_client(url, data_dir, act)
    if as_json:
        print_json(dict(made.raw))
    else:
        out.print(made.reference_id, markup=False)


@app.command("list")
def list_(
    source: Annotated[Source | None, typer.Option(help="Only those.")] = None,
    route: Annotated[str, typer.Option(metavar="ROUTE", help="Only pictures of this route.")] = "",
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """The pictures that you may use, built-in ones first."""

    async def ask(client: KinemeshClient) -> Page[ReferenceImage]:
        return await client.references.list(limit, source=source.name if source else "", route_id=route)

    page = with_client(url, data_dir, ask)

    def row(one: ReferenceImage) -> tuple[object, ...]:
        kind = one.source.lower().replace("_", "-")
        return one.reference_id, one.name, kind, f"{one.width}x{one.height}", one.features or "", one.route_id

    columns = ("reference", "name", "source", "pixels", "features", "route")
    print_page("references", page.items, page.total, columns, row, as_json=as_json)


@app.command()
def get(
    reference_id: ReferenceId,
    target: OutFile,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Write a picture to a file."""
    written = with_client(url, data_dir, lambda client: client.references.download(reference_id, target))
    print_file(written, as_json=as_json, reference_id=reference_id)


@app.command()
def delete(
    reference_id: ReferenceId, as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR
) -> None:
    """Delete an uploaded picture; refused while a route or a job that is not over uses it."""
    with_client(url, data_dir, lambda client: client.references.delete(reference_id))
    print_deleted("reference", reference_id, as_json=as_json)
