"""A set of servers that lives and dies with this process."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from kinemesh.embedded import guard
from kinemesh.embedded.process import Process, ServerSpec, State

_EVENTS = 256
_GUARD_S = 30.0


@dataclass(frozen=True, slots=True)
class Status:
    """One row of the status table."""

    name: str
    state: State
    address: str
    pid: int | None
    restarts: int
    start_seconds: float | None
    log: Path


class Supervisor:
    """Starts servers, several at once, and stops them in reverse order.

    ::

        async with Supervisor() as supervisor:
            await supervisor.start([nats, postgres])

    A guard process clears up after us should we be killed, so that no server, file or shared memory is left behind.

    :param keep_open: descriptors that the guard shall hold until it has cleared up, such as that of a lock file.
    """

    def __init__(self, keep_open: Iterable[int] = ()) -> None:
        self.processes: dict[str, Process] = {}
        self._keep_open = tuple(keep_open)
        self._tag = secrets.token_hex(8)
        self._guard: asyncio.subprocess.Process | None = None
        self._watchers: set[asyncio.Queue[Status]] = set()

    async def __aenter__(self) -> Supervisor:
        self._guard = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(Path(guard.__file__)), self._tag),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            pass_fds=self._keep_open,
            start_new_session=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, specs: Iterable[ServerSpec]) -> None:
        """Start servers, each as soon as those it comes after are ready; returns when all are.

        If one fails, those of this call are stopped again.

        :raises Unavailable: ``SERVER_START_FAILED``.
        """
        specs = tuple(specs)
        names = {spec.name for spec in specs} | set(self.processes)
        if unknown := {name for spec in specs for name in spec.after} - names:
            raise ValueError(f"nobody starts {', '.join(sorted(unknown))}")
        started = [self._add(spec) for spec in specs]
        ready = {name: asyncio.Event() for name in names}
        for process in self.processes.values():
            if process.state is State.READY:
                ready[process.spec.name].set()

        async def run(process: Process) -> None:
            for name in process.spec.after:
                await ready[name].wait()
            await process.start()
            ready[process.spec.name].set()

        tasks = [asyncio.create_task(run(process)) for process in started]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop(started)
            raise

    async def stop(self) -> None:
        """Stop all servers, the last started first, and remove what they left."""
        await self._stop(list(self.processes.values()))
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await asyncio.wait_for(self._guard.wait(), _GUARD_S)
            self._guard = None

    def status(self) -> tuple[Status, ...]:
        """A row per server, in the order of starting."""
        return tuple(_status(process) for process in self.processes.values())

    async def changes(self) -> AsyncIterator[Status]:
        """A row whenever a server changes its state, from now on. Who reads too slowly misses the oldest."""
        queue: asyncio.Queue[Status] = asyncio.Queue(_EVENTS)
        self._watchers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    def _add(self, spec: ServerSpec) -> Process:
        if (known := self.processes.get(spec.name)) is not None and known.pid is not None:
            raise ValueError(f"{spec.name} runs already")
        for pattern in spec.leftovers:
            self._tell_guard(f"remove {pattern}")
        process = Process(spec, {guard.TAG: self._tag}, self._tell_guard, self._changed)
        self.processes[spec.name] = process
        return process

    async def _stop(self, processes: list[Process]) -> None:
        """Level by level: servers that nothing which still runs comes after are stopped at once."""
        remaining = [process for process in processes if process.state is not State.STOPPED]
        while remaining:
            needed = {name for process in remaining for name in process.spec.after}
            last = [process for process in remaining if process.spec.name not in needed] or remaining
            await asyncio.gather(*(process.stop() for process in last))
            remaining = [process for process in remaining if process not in last]

    def _tell_guard(self, line: str) -> None:
        if self._guard is None or self._guard.stdin is None:
            raise RuntimeError("the supervisor is not running")
        self._guard.stdin.write(f"{line}\n".encode())

    def _changed(self, process: Process) -> None:
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(_status(process))


def _status(process: Process) -> Status:
    spec = process.spec
    return Status(
        spec.name, process.state, spec.address, process.pid, process.restarts, process.start_seconds, spec.log
    )
