"""``kinemesh watch``"""

from __future__ import annotations

import json
import sys
from contextlib import aclosing
from typing import Annotated

import typer
from rich.markup import escape

from kinemesh_client import local
from kinemesh_client.cli.options import DataDir, Url, reached
from kinemesh_client.cli.output import err, out
from kinemesh_client.cli.running import Exit, run
from kinemesh_client.tracking import TaskStatus, TrackingUpdate

_SHORT_ID = 8


def watch(
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="The task's id, which is its job's.")],
    since_frame: Annotated[int, typer.Option(min=0, help="First step to show.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the messages as they come, one JSON a line.")] = False,
    as_map: Annotated[bool, typer.Option("--map", help="Draw where everyone is.")] = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Show what several cameras see while a job runs, and afterwards: a line per message, until the job is over.

    Resumes by itself after a disconnect. Exits with 3 if the job fails.
    """
    from kinemesh_client.cli.live_map import LiveMap

    if as_json and as_map:
        raise typer.BadParameter("Either --json or --map, not both.", param_hint="--map")

    async def follow() -> TaskStatus | None:
        last: TaskStatus | None = None
        async with reached(url, data_dir) as client:
            with LiveMap(client) if as_map else Lines(as_json) as shown:
                async with aclosing(client.tracking.watch(task_id, since_frame)) as messages:
                    async for message in messages:
                        await shown.show(message)
                        if isinstance(message, TaskStatus):
                            last = message
        return last

    last = run(follow())
    if last is not None and last.status in ("FAILED", "CANCELLED"):
        err.print(f"[bold red]{last.status}[/] {escape(last.details or last.current_step)}")
        raise Exit(3 if last.status == "FAILED" else 130)


class Lines:
    """A line for each message, on standard output."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._status = ""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    async def show(self, message: TaskStatus | TrackingUpdate) -> None:
        """Print a message."""
        if self._as_json:
            kind = "status_update" if isinstance(message, TaskStatus) else "tracking_update"
            sys.stdout.write(json.dumps({"type": kind, "payload": message.raw}, separators=(",", ":")) + "\n")
            sys.stdout.flush()
        elif isinstance(message, TaskStatus):
            color = {"COMPLETED": "green", "FAILED": "red", "CANCELLED": "yellow"}.get(message.status, "cyan")
            line = f"[{color}]{message.status:<12}[/] {message.progress:4.0%}  {escape(message.current_step)}".rstrip()
            if line != self._status:  # progress moves by less than is shown
                out.print(line)
            self._status = line
        else:
            out.print(line_of(message), markup=False)


def line_of(update: TrackingUpdate) -> str:
    """A step in one line: who is where, camera by camera."""
    cameras = []
    for camera, tracks in sorted(update.cameras.items()):
        people = (
            f"{(track.global_id or f'#{track.track_id}')[:_SHORT_ID]}"
            + ("" if track.position is None else f" ({track.position[0]:.1f}, {track.position[1]:.1f})")
            for track in tracks
        )
        cameras.append(f"{camera}: {', '.join(people) or '–'}")
    return f"frame {update.global_frame_index:>6}  " + "  |  ".join(cameras)
