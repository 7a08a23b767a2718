"""A mesh that a command started ends with the command."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from kinemesh.embedded.running import running_mesh
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


def commands_below(pid: int) -> list[str]:
    """The command lines of all processes that this one has started."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # some run for a moment only
            found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.parametrize("program", ["weed", "postgres --single", "kinemesh_ingest"])
async def test_ctrl_c_while_a_temporary_mesh_starts_leaves_nothing(
    open_folder: Path, models: Path, video: Path, tmp_path: Path, program: str
) -> None:
    """Interrupted when the first, second and last of these appear: the database is being made in the second."""
    folder = open_folder / f"temporary-{program.split()[0]}"
    folder.mkdir()
    nowhere = f"--data-dir={tmp_path / 'none'}"
    process = await start("run", "pose", str(video), f"--models={models}", nowhere, TMPDIR=str(folder))

    async def begun() -> bool:
        assert process.returncode is None
        return any(program in command for command in commands_below(process.pid))

    await until(begun, 60)
    traces = traces_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130, error
    assert out == b""
    assert traces.left() == ([], [])
    assert list(folder.iterdir()) == []
