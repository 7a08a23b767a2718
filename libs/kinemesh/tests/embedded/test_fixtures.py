"""A test run that uses every server leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from kinemesh.embedded import triton
from kinemesh.testing.fixtures import triton_python

TESTS = """
import asyncio

async def test_servers(nats_server, s3_store, postgres_url, triton_server):
    assert await s3_store.ready()
    print("all are ready", flush=True)
    if {wait}:
        await asyncio.Event().wait()
"""


async def run_until_ready(folder: Path, *, wait: bool) -> asyncio.subprocess.Process:
    triton_python()
    (folder / "test_it.py").write_text(TESTS.format(wait=wait))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-s", "-p", "kinemesh.testing.fixtures"),
        *("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session"),
        *(f"--rootdir={folder}", f"--basetemp={folder / 'base'}", str(folder / "test_it.py")),
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert child.stdout is not None
    output = b""
    async with asyncio.timeout(120):
        while line := await child.stdout.readline():
            if line.endswith(b"all are ready\n"):
                return child
            output += line
    pytest.fail(f"the servers did not start: {output.decode()}")


def left(folder: Path) -> list[str]:
    """Processes that work in ``folder``, the shared memory of its model server, and the database."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.pid != os.getpid():
            found.append(line)
    prefix = triton.shm_prefix(folder / "base" / "triton0" / "server")
    found += [str(path) for path in folder.glob("kinemesh-postgres-*")]
    return found + [str(path) for path in Path("/dev/shm").glob(f"{prefix}*")]


async def test_after_a_plain_run(open_folder: Path) -> None:
    child = await run_until_ready(open_folder, wait=False)
    async with asyncio.timeout(60):
        assert child.stdout is not None
        await child.stdout.read()
        assert await child.wait() == 0
    assert left(open_folder) == []


async def test_after_kill_9(open_folder: Path) -> None:
    child = await run_until_ready(open_folder, wait=True)
    running = left(open_folder)
    for trace in ("weed", "nats-server", "postgres", "tritonserver", "/dev/shm"):
        assert any(trace in line for line in running), f"{trace} is not running, so its end shows nothing"
    child.send_signal(signal.SIGKILL)
    await child.wait()
    async with asyncio.timeout(60):
        while left(open_folder):
            await asyncio.to_thread(os.stat, "/")
