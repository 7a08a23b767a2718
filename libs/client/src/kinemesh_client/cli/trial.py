"""``kinemesh test-upload``: whether a mesh takes a clip and gives it back, by the ways that other clients go."""

from __future__ import annotations

import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from kinemesh.errors import Aborted
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Url, with_client
from kinemesh_client.cli.output import out, print_json
from kinemesh_client.client import KinemeshClient

_RATE = 30
_SIZE = (640, 360)


def upload_trial(
    seconds: Annotated[int, typer.Option(min=1, max=60, help="Length of the clip.")] = 2,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the clip there, to run jobs on.")] = False,
    as_json: AsJson = False,
    url: Url = "",
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Make a clip, send it straight to storage, have it checked, read it back, compare, and delete it."""
    tried = with_client(url, data_dir, lambda client: _try(client, seconds, keep))
    if as_json:
        print_json(tried)
        return
    for step, took_s in tried["took_s"].items():
        out.print(f"{step:<10} {took_s:7.2f} s")
    out.print(f"asset {tried['asset_id']}, {tried['size_bytes']} bytes: {'kept' if keep else 'deleted'}")


async def _try(client: KinemeshClient, seconds: int, keep: bool) -> dict[str, Any]:
    from kinemesh.media.synthetic import write_clip

    took: dict[str, float] = {}
    began = time.monotonic()

    def done(step: str) -> None:
        nonlocal began
        now = time.monotonic()
        took[step], began = round(now - began, 3), now

    with tempfile.TemporaryDirectory(prefix="kinemesh-test-upload-") as folder:
        sent, returned = Path(folder) / "test-upload.mp4", Path(folder) / "returned.mp4"
        write_clip(sent, pts=range(seconds * _RATE), time_base=Fraction(1, _RATE), size=_SIZE)
        done("make")
        asset = await client.upload(sent, keep_refused=False)
        done("upload")
        try:
            await client.asset_content(asset.asset_id, returned)
            done("read back")
            if returned.read_bytes() != sent.read_bytes():
                raise Aborted("CONTENT_DIFFERS", "What came back is not what was sent.", asset_id=asset.asset_id)
        finally:
            if not keep:
                await client.delete_asset(asset.asset_id)
                done("delete")
    return {"asset_id": asset.asset_id, "size_bytes": asset.size_bytes, "kept": keep, "took_s": took}
