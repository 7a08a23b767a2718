"""One server as a child process: start, wait until ready, restart, stop."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from kinemesh.errors import Unavailable
from kinemesh.pipelining import in_thread

_POLL_S = 0.05
_FIRST_BACKOFF_S = 0.2
_LONGEST_BACKOFF_S = 5.0
_KILL_S = 5.0
_UNANSWERED = 4
_PULSE_S = 0.5
_LOG_BYTES = 16 << 20
# Servers share the machine with each other: none may start as many threads as there are cores.
_THREAD_CAPS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "GOMAXPROCS": "2"}


class State(Enum):
    """The life of a server."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How to run one server.

    :param argv: the program and its arguments, without secrets: other users can see them.
    :param ready: asks the running server whether it can work; asked again until it says yes.
    :param log: where standard output and error go, appended; one that is large at a start is put aside as ``.1``.
    :param address: what a person connects to; for the status table.
    :param after: names of servers that have to be ready before this one is started.
    :param alive: asks the running server whether it still answers; one that leaves several questions in a row
        unanswered is killed, which counts as a crash.
    :param alive_every_s: time between two such questions.
    :param restarts: how often within a minute it may be started again after a crash.
    :param prepare: runs, on a thread, before each start; must be idempotent.
    :param leftovers: glob patterns of files and folders that the server may leave behind, removed in the end;
        ``{pid}`` stands for its pid.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    log: Path
    address: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    user: str | None = None
    after: tuple[str, ...] = ()
    ready_within_s: float = 120.0
    alive: Callable[[], Awaitable[bool]] | None = None
    alive_every_s: float = 15.0
    restarts: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    prepare: Callable[[], None] | None = None
    leftovers: tuple[str, ...] = ()


class Process:
    """A supervised server. Made by :class:`kinemesh.embedded.supervisor.Supervisor`."""

    def __init__(
        self, spec: ServerSpec, tag: Mapping[str, str], notify: Callable[[str], None], tell: Callable[[Process], None]
    ) -> None:
        self.spec = spec
        self.state = State.WAITING
        self.restarts = 0
        self.start_seconds: float | None = None
        self._tag = tag
        self._tell_guard = notify
        self._tell = tell
        self._child: asyncio.subprocess.Process | None = None
        self._exited: asyncio.Task[int] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._starts: deque[float] = deque(maxlen=32)

    @property
    def pid(self) -> int | None:
        """The pid of the running server."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def start(self) -> None:
        """Start the server and wait until it is ready.

        :raises Unavailable: ``SERVER_START_FAILED``, with the end of its log.
        """
        self._set(State.STARTING)
        try:
            await self._launch()
        except BaseException:
            await self._end_child()
            self._set(State.FAILED)
            raise
        self._watch = asyncio.create_task(self._keep_running(), name=f"watch {self.spec.name}")

    async def stop(self) -> None:
        """Ask the server to end; kill it, and all it started, after its grace."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._end_child()
        if self.state is not State.FAILED:
            self._set(State.STOPPED)

    async def kill(self) -> None:
        """``kill -9`` to all that belongs to the server, as a crash would do; it is restarted if its spec says so."""
        if self._child is not None and self._child.returncode is None:
            _signal_group(self._child.pid, signal.SIGKILL)
            await self._exit(_KILL_S)

    async def restart(self) -> None:
        """Stop the server, start it again and wait until it is ready."""
        await self.stop()
        await self.start()

    async def _launch(self) -> None:
        spec = self.spec
        began = time.monotonic()
        self._starts.append(began)
        if spec.prepare is not None:
            # To its end, however often we are cancelled: nothing may be written after the stop.
            await in_thread(spec.prepare)
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(spec.log)
        with spec.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *as_user(spec.user, spec.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=spec.cwd,
                env={**os.environ, **_THREAD_CAPS, **spec.env, **self._tag},
                # A group of its own: Ctrl-C in the terminal reaches only us, and we stop them in order.
                start_new_session=True,
            )
        self._exited = asyncio.create_task(self._child.wait())
        self._tell_guard(f"group {self._child.pid} {spec.stop_signal.value} {spec.grace_s}")
        for pattern in spec.leftovers:
            self._tell_guard(f"remove {pattern.replace('{pid}', str(self._child.pid))}")
        await self._until_ready(self._child, began + spec.ready_within_s)
        self.start_seconds = time.monotonic() - began
        self._set(State.READY)

    async def _until_ready(self, child: asyncio.subprocess.Process, deadline: float) -> None:
        while time.monotonic() < deadline:
            if child.returncode is not None:
                raise self._failure(f"ended with exit code {child.returncode} before it was ready")
            with suppress(TimeoutError):
                async with asyncio.timeout(max(_POLL_S, deadline - time.monotonic())):
                    if await self.spec.ready():
                        return
            await self._exit(_POLL_S)
        raise self._failure(f"was not ready after {self.spec.ready_within_s:.0f} s")

    async def _keep_running(self) -> None:
        """Wait for the end of the server, which nobody asked for, and start it again while that is allowed."""
        backoff = _FIRST_BACKOFF_S
        while self._exited is not None:
            exited = self._exited
            await self._until_gone(exited)
            if exited.done():
                self._note(f"ended with exit code {exited.result()}")
            await self._end_child()
            while True:
                recent = sum(moment > time.monotonic() - 60 for moment in self._starts)
                if recent > self.spec.restarts:
                    self._set(State.FAILED)
                    return
                self.restarts += 1
                self._set(State.RESTARTING)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _LONGEST_BACKOFF_S)
                try:
                    await self._launch()
                except Unavailable:
                    await self._end_child()
                else:
                    backoff = _FIRST_BACKOFF_S
                    break

    async def _until_gone(self, exited: asyncio.Task[int]) -> None:
        """Wait for the end of the server; kill it if it lives on and answers nothing, as after a deadlock."""
        if self.spec.alive is None:
            await asyncio.wait({exited})
            return
        unanswered = 0
        while unanswered < _UNANSWERED:
            await self._exit(self.spec.alive_every_s)
            if exited.done():
                return
            answered, listened = await _ask(self.spec.alive)
            if answered:
                unanswered = 0
            elif listened:
                unanswered += 1
        self._note(f"is killed: it left {unanswered} questions in a row unanswered")
        await self.kill()

    def _note(self, what: str) -> None:
        """A line of ours in the server's log; a disk that is full keeps no server from being started again."""
        with suppress(OSError), self.spec.log.open("a") as log:
            log.write(f"supervisor: {datetime.now(UTC).isoformat(timespec='milliseconds')} {self.spec.name} {what}\n")

    async def _end_child(self) -> None:
        child = self._child
        if child is None:
            return
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.send_signal(self.spec.stop_signal)
            await self._exit(self.spec.grace_s)
        # Also what the server started and left behind.
        _signal_group(child.pid, signal.SIGKILL)
        await self._exit(_KILL_S)
        self._tell_guard(f"ended {child.pid}")
        self._child = self._exited = None

    async def _exit(self, within_s: float) -> None:
        """Wait for the end of the server, but not longer than this. Unlike wait_for it never loses a cancellation."""
        if self._exited is not None:
            await asyncio.wait({self._exited}, timeout=within_s)

    def _set(self, state: State) -> None:
        self.state = state
        self._tell(self)

    def _failure(self, what: str) -> Unavailable:
        return Unavailable(
            "SERVER_START_FAILED",
            f"The server {self.spec.name} {what}. Its log ends with:\n{_tail(self.spec.log)}",
            server=self.spec.name,
            log=self.spec.log,
        )


async def _ask(alive: Callable[[], Awaitable[bool]]) -> tuple[bool, bool]:
    """Whether a server answers, and whether we listened all the while: else it may have answered in time.

    Our event loop may stand still for long, on a machine that was suspended or where something else keeps it.
    """
    asking = asyncio.ensure_future(alive())
    listened = True
    try:
        while not asking.done():
            before = time.monotonic()
            await asyncio.wait({asking}, timeout=_PULSE_S)
            listened &= time.monotonic() - before < 2 * _PULSE_S
        return asking.result(), listened
    finally:
        asking.cancel()


def as_user(user: str | None, argv: Sequence[str]) -> tuple[str, ...]:
    """The command that runs ``argv`` as another user, or as ours if None.

    A program of its own changes the user: were it to happen between fork and exec, Python would have to fork in
    earnest, and gRPC's threads do not survive that.
    """
    if user is None:
        return tuple(argv)
    entry = pwd.getpwnam(user)
    return (sys.executable, "-I", "-S", "-c", _BECOME, str(entry.pw_uid), str(entry.pw_gid), *argv)


_BECOME = (
    "import os, sys; uid, gid, *argv = sys.argv[1:]; "
    "os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid)); os.execv(argv[0], argv)"
)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _rotate(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name(log.name + ".1"))


def _tail(path: Path, lines: int = 15, most: int = 8192) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return "(no log)"
