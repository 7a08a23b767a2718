"""``kinemesh assets`` and ``kinemesh pipelines``"""

from __future__ import annotations

from typing import Annotated

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, reached
from kinemesh_client.cli.output import print_deleted, print_json, print_page, print_table
from kinemesh_client.cli.running import run
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
