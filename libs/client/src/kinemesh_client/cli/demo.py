"""``kinemesh demo``"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, Models
from kinemesh_client.cli.output import err
from kinemesh_client.cli.processing import Outcome, Request, into, process, report, temporary_client
from kinemesh_client.cli.running import run

# Seen well on the photo's orange suit, also on the small pictures of the contact sheet.
_STYLE = {"colors": ["#ffd400", "#00e5ff", "#ff4fd8"], "line_thickness": 7, "joint_radius": 7, "trail_sec": 0.6}


def demo(
    video: Annotated[Path | None, typer.Option(help="A video of yours instead of the clip made from a photo.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder for results; out/<job id> if not given.")
    ] = None,
    as_json: AsJson = False,
    models: Models = "default",
) -> None:
    """Start a mesh, run the pipeline `pose` on a clip of a person through REST, stop the mesh."""
    if video is not None and not video.is_file():
        raise typer.BadParameter(f"There is no file {video}.", param_hint="--video")
    report(run(_demo(video, out_dir, models)), as_json=as_json)


async def _demo(video: Path | None, out_dir: Path | None, models: str) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="kinemesh-demo-") as folder:
        if video is None:
            video = Path(folder) / "astronaut.mp4"
            err.print("Making a clip from a photo (Eileen Collins; NASA, public domain).")
            await make_clip(video)
        async with temporary_client(models) as client:
            return await process(client, Request("pose", video, {"smooth": True, "style": _STYLE}, into(out_dir)))


async def make_clip(video: Path) -> None:
    """Write the default clip."""
    from kinemesh_client.clip import write_clip

    photo = video.with_suffix(".png")
    await local.fetch_photo(photo)
    await asyncio.to_thread(write_clip, photo, video)
