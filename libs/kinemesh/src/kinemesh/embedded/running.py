"""The mesh that runs in a data folder, as other processes see it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from kinemesh.embedded.layout import Layout
from kinemesh.errors import FailedPrecondition

_POLL_S = 0.1


def running_mesh(data_dir: Path) -> dict[str, Any] | None:
    """What a mesh that runs in ``data_dir`` says of itself; None if none is ready there.

    Holds ``pid``, ``data_dir``, ``http`` (the URL of the gateway) and ``servers`` (address, pid and log of each, and
    ``metrics``, a URL, of those that have any).
    """
    layout = Layout(data_dir.resolve())
    with suppress(OSError, ValueError):
        if not _is_locked(layout):
            return None
        described: dict[str, Any] = json.loads(layout.state.read_text())
        return described
    return None


async def stop_running(data_dir: Path, within_s: float = 60.0) -> bool:
    """Ask the mesh that another process runs in ``data_dir`` to stop, and wait; False if there was none.

    :raises FailedPrecondition: ``MESH_RUNNING``, if it does not stop in time.
    """
    described = running_mesh(data_dir)
    if described is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(int(described["pid"]), signal.SIGTERM)
    (await take_lock(Layout(Path(described["data_dir"])), within_s)).close()
    return True


async def take_lock(layout: Layout, within_s: float) -> IO[bytes]:
    """Take hold of a data folder until the file is closed; the guard of a mesh that was killed may still clear up.

    :raises FailedPrecondition: ``MESH_RUNNING``.
    """
    layout.root.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + within_s
    lock = layout.lock.open("ab")
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                lock.close()
                raise FailedPrecondition("MESH_RUNNING", "A mesh runs in this folder already.") from None
            await asyncio.sleep(_POLL_S)
        else:
            return lock


def _is_locked(layout: Layout) -> bool:
    with layout.lock.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
