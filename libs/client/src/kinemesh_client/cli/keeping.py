"""``kinemesh backup | restore``"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kinemesh.embedded.backup import Backup, restore_backup, write_backup
from kinemesh.embedded.layout import Layout
from kinemesh.embedded.running import running_mesh, take_lock
from kinemesh.errors import FailedPrecondition, NotFound
from kinemesh.pipelining import in_thread
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir
from kinemesh_client.cli.output import err, print_json
from kinemesh_client.cli.running import run

_LOCK_S = 15.0


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write the backup; must not exist.")],
    data_dir: DataDir = local.DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write all that a mesh keeps to one file: catalogue, streams, media, results, models, credentials.

    The mesh must be down (`kinemesh down`), so that all of it is of one moment; jobs go on after `kinemesh up`. Keep
    the file safe: whoever reads it has everything, credentials too.
    """
    if not data_dir.is_dir():
        raise NotFound("DATA_DIR_NOT_FOUND", f"There is no folder {data_dir}.")
    if running_mesh(data_dir) is not None:
        raise FailedPrecondition(
            "MESH_RUNNING", "A mesh runs in this folder: stop it with `kinemesh down`, back up, and start it again."
        )
    if not file.absolute().parent.is_dir():
        raise NotFound("FOLDER_NOT_FOUND", f"There is no folder {file.absolute().parent}.")
    _tell(run(_write(Layout(data_dir.resolve()), file)), f"Written to {file}", as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="A backup.", exists=True, dir_okay=False)],
    data_dir: DataDir = local.DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a data folder of a backup; every checksum is looked at, and nothing is overwritten."""
    _tell(run(in_thread(restore_backup, file, data_dir)), f"Restored to {data_dir}", as_json)


async def _write(layout: Layout, file: Path) -> Backup:
    with await take_lock(layout, _LOCK_S):
        return await in_thread(write_backup, layout, file)


def _tell(found: Backup, what: str, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "create_time": found.create_time.isoformat()})
    else:
        size = f"{found.bytes / 1e6:.1f} MB in {found.files} files"
        err.print(f"{escape(what)}: {size}, of {found.create_time:%Y-%m-%d %H:%M} UTC, Kinemesh {found.version}.")
