from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from kinemesh.embedded.process import ServerSpec, State
from kinemesh.embedded.supervisor import Supervisor
from kinemesh.errors import Unavailable

# Announces itself by a file and waits; what it does before is given.
SERVER = "import os, pathlib, signal, subprocess, sys, time\n{}\npathlib.Path(sys.argv[1]).touch()\ntime.sleep(600)\n"


def server(folder: Path, name: str, before: str = "", **more: Any) -> ServerSpec:
    flag = folder / f"{name}.ready"

    async def ready() -> bool:
        return flag.exists()

    return ServerSpec(
        name=name,
        argv=(sys.executable, "-I", "-S", "-c", SERVER.format(before), str(flag)),
        ready=ready,
        log=folder / f"{name}.log",
        prepare=lambda: flag.unlink(missing_ok=True),
        **more,
    )


async def until(condition: Callable[..., bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.to_thread(os.stat, "/")  # a turn for everybody else


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_servers_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    seen: list[tuple[str, State]] = []

    def record(name: str, state: State) -> None:
        seen.append((name, state))

    async def watch(supervisor: Supervisor) -> None:
        async for change in supervisor.changes():
            record(change.name, change.state)

    async with Supervisor() as supervisor:
        watching = asyncio.create_task(watch(supervisor))
        await asyncio.sleep(0)  # let it begin to watch
        await supervisor.start(
            [
                server(tmp_path, "top", after=("left", "right")),
                server(tmp_path, "left", after=("base",)),
                server(tmp_path, "right", after=("base",)),
                server(tmp_path, "base", address="here"),
            ]
        )
        rows = {row.name: row for row in supervisor.status()}
        assert {row.state for row in rows.values()} == {State.READY}
        assert rows["base"].address == "here"
        pids = [row.pid for row in rows.values()]
        assert all(pid is not None and not gone(pid) for pid in pids)
        await supervisor.stop()
        await until(lambda: len(seen) == 12)
        watching.cancel()
    ready = [name for name, state in seen if state is State.READY]
    stopped = [name for name, state in seen if state is State.STOPPED]
    assert (ready[0], ready[-1]) == ("base", "top")
    assert (stopped[0], stopped[-1]) == ("top", "base")
    assert seen.index(("top", State.STARTING)) > max(seen.index((side, State.READY)) for side in ("left", "right"))
    assert all(pid is not None and gone(pid) for pid in pids)


async def test_a_server_that_fails_takes_the_others_with_it(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        specs = [server(tmp_path, "good"), server(tmp_path, "bad", "print('no such device'); sys.exit(3)")]
        with pytest.raises(Unavailable) as caught:
            await supervisor.start(specs)
        assert caught.value.reason == "SERVER_START_FAILED"
        assert caught.value.metadata["server"] == "bad"
        assert "exit code 3" in caught.value.message
        assert "no such device" in caught.value.message
        assert {row.pid for row in supervisor.status()} == {None}


async def test_a_server_that_is_never_ready(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        with pytest.raises(Unavailable, match="not ready after"):
            await supervisor.start([server(tmp_path, "slow", "time.sleep(600)", ready_within_s=0.5)])
        assert supervisor.status()[0].state is State.FAILED


async def test_an_unknown_predecessor_is_refused(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        with pytest.raises(ValueError, match="nobody starts ghost"):
            await supervisor.start([server(tmp_path, "x", after=("ghost",))])


async def test_a_crashed_server_is_started_again_until_it_crashes_too_often(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        await supervisor.start([server(tmp_path, "x", restarts=2)])
        process = supervisor.processes["x"]
        for restarts in (1, 2):
            await process.kill()
            await until(lambda wanted=restarts: process.state is State.READY and process.restarts == wanted)
        await process.kill()
        await until(lambda: process.state is State.FAILED)
        assert process.spec.log.read_text().count("x ended with exit code -9\n") == 3
        await process.start()
        assert process.state is State.READY


async def test_a_server_that_lives_and_does_not_answer_is_started_again(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        first: int | None = None

        async def alive() -> bool:
            return supervisor.processes["x"].pid != first

        await supervisor.start([server(tmp_path, "x", restarts=1, alive=alive, alive_every_s=0.01)])
        process = supervisor.processes["x"]
        first = process.pid
        assert first is not None
        await until(lambda: process.state is State.READY and process.pid not in (None, first))
        assert gone(first)
        assert process.restarts == 1
    assert "unanswered" in (tmp_path / "x.log").read_text()


async def test_what_was_asked_while_we_stood_still_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinemesh.embedded.process._PULSE_S", 0.05)
    asked = 0

    async def alive() -> bool:
        nonlocal asked
        asked += 1
        time.sleep(0.2)  # noqa: ASYNC251 - as when other work keeps the event loop
        return False

    async with Supervisor() as supervisor:
        await supervisor.start([server(tmp_path, "x", restarts=1, alive=alive, alive_every_s=0.01)])
        await until(lambda: asked > 8)
        assert supervisor.processes["x"].restarts == 0


async def test_a_server_can_be_restarted_on_demand(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        await supervisor.start([server(tmp_path, "x")])
        process = supervisor.processes["x"]
        before = process.pid
        await process.restart()
        assert process.state is State.READY
        assert process.pid not in (None, before)


STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
CHILD = "print(subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(600)']).pid, flush=True)"
STRAY = CHILD.replace("])", "], start_new_session=True)")


async def test_stopping_kills_the_stubborn_and_children_left_behind(tmp_path: Path) -> None:
    async with Supervisor() as supervisor:
        await supervisor.start(
            [
                server(tmp_path, "stubborn", STUBBORN, grace_s=0.2),
                server(tmp_path, "parent", CHILD),
                server(tmp_path, "leaver", STRAY),
            ]
        )
        pids = [row.pid for row in supervisor.status() if row.pid]
        pids += [int((tmp_path / f"{name}.log").read_text()) for name in ("parent", "leaver")]
        assert len(pids) == 5
    await until(lambda: all(map(gone, pids)))


SCRIPT = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_supervisor as these
from kinemesh.embedded.supervisor import Supervisor

async def main():
    folder = Path({folder!r})
    async with Supervisor() as supervisor:
        leftovers = (str(folder / "left*"),)
        await supervisor.start([
            these.server(folder, "plain", leftovers=leftovers),
            these.server(folder, "stubborn", these.STUBBORN, grace_s=0.2),
            these.server(folder, "parent", these.CHILD),
            these.server(folder, "leaver", these.STRAY),
        ])
        print(*(row.pid for row in supervisor.status()), supervisor._guard.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_survives_a_killed_parent(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "leftover.sock").touch()
    script = SCRIPT.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await parent.stdout.readline()).split()]
    pids += [int((tmp_path / f"{name}.log").read_text()) for name in ("parent", "leaver")]
    assert len(pids) == 7
    assert not any(map(gone, pids))
    parent.send_signal(number)
    await parent.wait()
    await until(lambda: all(map(gone, pids)))
    assert not (tmp_path / "leftover.sock").exists()
