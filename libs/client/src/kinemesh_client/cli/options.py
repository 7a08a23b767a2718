"""Options that several commands share, and the mesh that they name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from kinemesh.errors import Unavailable
from kinemesh_client.cli.running import run
from kinemesh_client.client import KinemeshClient
from kinemesh_client.credentials import of_environment
from kinemesh_client.local import running_url, signer

DataDir = Annotated[Path, typer.Option(envvar="KINEMESH_DATA_DIR", help="Folder of the mesh on this machine.")]
Url = Annotated[str, typer.Option(envvar="KINEMESH_URL", help="A mesh elsewhere, such as http://127.0.0.1:8080.")]
Models = Annotated[str, typer.Option(help="default, mock (synthetic people), or a model repository's path.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

Limit = Annotated[int, typer.Option(min=1, max=100, help="Most to show.")]
OutFile = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")]
RouteId = Annotated[str, typer.Argument(metavar="ROUTE", help="The route's id.")]

T = TypeVar("T")


@asynccontextmanager
async def reached(url: str, data_dir: Path) -> AsyncIterator[KinemeshClient]:
    """A client of the mesh that ``--url`` names, or else of the one that runs in the data folder.

    :raises Unavailable: ``MESH_NOT_RUNNING``.
    """
    here = running_url(data_dir)
    address = (url or here or "").rstrip("/")
    if not address:
        raise Unavailable(
            "MESH_NOT_RUNNING",
            f"No mesh runs in {data_dir}: start one with `kinemesh up`, or name one with --url.",
            data_dir=data_dir,
        )
    # The mesh of this machine is called in its user's name, also when its URL is given.
    tokens = of_environment(address) or (signer(data_dir) if address == here else None)
    async with KinemeshClient(address, tokens=tokens) as client:
        yield client


def with_client(url: str, data_dir: Path, action: Callable[[KinemeshClient], Awaitable[T]]) -> T:
    """What an action on the mesh of :func:`reached` comes to; ends in order on signals."""

    async def act() -> T:
        async with reached(url, data_dir) as client:
            return await action(client)

    return run(act())
