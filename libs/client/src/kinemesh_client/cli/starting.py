"""Running a mesh in a command, and showing how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kinemesh.embedded.mesh import Mesh, MeshConfig
from kinemesh.embedded.process import State
from kinemesh.embedded.supervisor import Status
from kinemesh_client.cli.output import err, out, print_wide, table


async def serve(config: MeshConfig) -> None:
    """Run a mesh until this is cancelled."""
    async with Mesh(config) as mesh:
        await start_shown(mesh, out)
        err.print("Ctrl-C stops everything.")
        async for row in mesh.changes():
            color = "green" if row.state is State.READY else "yellow"
            out.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {row.name} is [{color}]{row.state.value}[/]")


async def start_shown(mesh: Mesh, console: Console) -> None:
    """Start a mesh and show how far that is: in a terminal all the time, elsewhere at the end."""
    started = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:

        async def show() -> None:
            async for _ in mesh.changes():
                live.update(status_table(mesh.status()), refresh=console.is_terminal)

        showing = asyncio.create_task(show())
        try:
            await mesh.start()
        finally:
            showing.cancel()
            live.update("")
    print_wide(status_table(mesh.status()), console)
    console.print(f"Ready in {time.monotonic() - started:.1f} s: [bold]{mesh.http_url}[/]")


def status_table(rows: Iterable[Status]) -> Table:
    """What runs where."""
    cells = ((row.name, row.state.value, row.address, row.pid or "", _seconds(row)) for row in rows)
    return table(("server", "state", "address", "pid", "start"), cells)


def _seconds(row: Status) -> str:
    return "" if row.start_seconds is None else f"{row.start_seconds:.1f} s"
