"""A mesh that a command started ends with the command."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import psutil

from kinemesh.embedded import running_mesh
from kinemesh.testing.waiting import until
from kinemesh_client.testing import PROGRAM, environment, traces_of


async def start(*arguments: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**env)
    )


async def test_up_stops_everything_on_ctrl_c(open_folder: Path, models: Path) -> None:
    folder = open_folder / "foreground"
    process = await start("up", f"--data-dir={folder}", f"--models={models}", "--port=0")

    async def ready() -> bool:
        assert process.returncode is None
        return running_mesh(folder) is not None

    await until(ready, 120)
    traces = traces_of(process.pid)
    assert len(traces.pids) > 10
    process.send_signal(signal.SIGINT)
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, error
    assert b"gateway" in out
    assert traces.left() == ([], [])
    assert running_mesh(folder) is None


async def test_ctrl_c_while_a_temporary_mesh_starts_leaves_nothing(
    open_folder: Path, models: Path, video: Path, tmp_path: Path
) -> None:
    folder = open_folder / "temporary"
    folder.mkdir()
    nowhere = f"--data-dir={tmp_path / 'none'}"
    process = await start("run", "pose", str(video), f"--models={models}", nowhere, TMPDIR=str(folder))

    async def begun() -> bool:
        assert process.returncode is None
        return len(psutil.Process(process.pid).children()) > 2

    await until(begun, 60)
    traces = traces_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130, error
    assert out == b""
    assert traces.left() == ([], [])
    assert list(folder.iterdir()) == []
