"""``kinemesh assets`` and ``kinemesh pipelines``"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, reached, with_client
from kinemesh_client.cli.output import out, print_deleted, print_json, print_page, print_table
from kinemesh_client.cli.progress import transfer_bar
from kinemesh_client.cli.running import run
from kinemesh_client.client import KinemeshClient
from kinemesh_client.resources import Asset, Page, Pipeline

assets = typer.Typer(help="Uploaded videos, pictures and weights.", no_args_is_help=True)

_MIB = 1024 * 1024


@assets.command("list")
def list_assets(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most assets to show.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Your assets, newest first."""

    async def ask() -> Page[Asset]:
        async with reached(url, data_dir) as client:
            return await client.list_assets(limit)

    page = run(ask())
    columns = ("asset", "file", "state", "MiB", "created")

    def row(asset: Asset) -> tuple[str, ...]:
        size = f"{asset.size_bytes / _MIB:.1f}"
        return asset.asset_id, asset.filename, asset.state, size, asset.create_time[:19]

    print_page("assets", page.items, page.total, columns, row, as_json=as_json)


class Kind(StrEnum):
    """What a file is."""

    VIDEO = "video"
    IMAGE = "image"
    WEIGHTS = "weights"


@assets.command("upload")
def upload_asset(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What to upload.")],
    kind: Annotated[Kind, typer.Option(help="What it is.")] = Kind.VIDEO,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an upload of this file that broke off.")] = False,
    checksum: Annotated[bool, typer.Option(help="Have the mesh check the SHA-256 of what arrives.")] = True,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Send a file to the mesh. Of a large one, what has arrived stays for a day; --resume sends only the rest."""

    async def act(client: KinemeshClient) -> Asset:
        with transfer_bar(file.name, file.stat().st_size) as progress:
            return await client.upload(
                file, kind=kind.name, resume=resume, checksum=checksum, keep_refused=False, progress=progress
            )

    asset = with_client(url, data_dir, act)
    if as_json:
        print_json(dict(asset.raw))
    else:
        out.print(asset.asset_id, markup=False)


@assets.command("delete")
def delete_asset(
    asset_id: Annotated[str, typer.Argument(help="The asset's id.")],
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Delete an asset; refused while a job that is not over reads it."""

    async def act() -> None:
        async with reached(url, data_dir) as client:
            await client.delete_asset(asset_id)

    run(act())
    print_deleted("asset", asset_id, as_json=as_json)


def usage(as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """What you use of the mesh, and how much of it you may."""
    found = with_client(url, data_dir, lambda client: client.usage())
    if as_json:
        print_json(dict(found))
        return
    rows = [
        (name.replace("_", " "), f"{measure['used']:,}", "–" if measure["limit"] is None else f"{measure['limit']:,}")
        for name, measure in found.items()
    ]
    print_table(("what", "used", "limit"), rows)


def pipelines(as_json: AsJson = False, url: Url = "", data_dir: DataDir = local.DATA_DIR) -> None:
    """What the mesh can run."""

    async def ask() -> Page[Pipeline]:
        async with reached(url, data_dir) as client:
            return await client.list_pipelines()

    found = run(ask()).items
    if as_json:
        print_json({"pipelines": [dict(pipeline.raw) for pipeline in found]})
    else:
        rows = ((pipeline.name, " → ".join(pipeline.stages), pipeline.description) for pipeline in found)
        print_table(("pipeline", "stages", "description"), rows)
