"""The parent's side of confined children: it starts them, reads files for them, and believes nothing they say."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from kinemesh import errors
from kinemesh.confined.child import OUT_OF_MEMORY
from kinemesh.confined.files import BinaryFile, Files, Implausible, Target
from kinemesh.confined.messages import Gone, Message, receive, send

_START_S: Final = 60.0
_END_S: Final = 10.0
_MOST_TEXT: Final = 500
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_KINDS: Final = {
    kind.__name__: kind
    for kind in (errors.InvalidArgument, errors.OutOfRange, errors.TooLarge, errors.UnsupportedMedia)
}
# Each of our own children works on one thing, so that their libraries need no threads of their own.
_ENVIRONMENT: Final = {
    **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    **{"MALLOC_ARENA_MAX": "2", "LANG": "C.UTF-8"},
}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Budget:
    """What a call may take.

    :ivar memory_mb: beside what a child begins with.
    :ivar total_s: by the clock; None sets no end to a call that goes on giving signs of life.
    :ivar silent_s: without a sign of life: an item, or a wish to read or write.
    :ivar cpu_s: processor seconds of a child in all its calls.
    """

    memory_mb: int
    total_s: float | None
    silent_s: float
    cpu_s: int


class Confinement:
    """Makes confined children. Starts the process they come from when the first is asked for, and again when that ends.

    :param modules: what children need, loaded beforehand.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start now what would be started later. Blocks.

        :raises Unavailable: DECODER_UNAVAILABLE.
        """
        with self._lock:
            self._started()

    @contextlib.contextmanager
    def child(self, budget: Budget) -> Iterator[Child]:
        """A child of one's own, gone afterwards. Blocks; use it in a thread.

        :raises Unavailable: DECODER_UNAVAILABLE.
        """
        made = self._spawn(budget)
        try:
            yield made
        finally:
            made.close()

    def close(self) -> None:
        """End the process that children come from, and with it all children."""
        with self._lock:
            self._end()

    def _spawn(self, budget: Budget) -> Child:
        limits = json.dumps({"memory_bytes": budget.memory_mb << 20, "cpu_s": budget.cpu_s}).encode()
        ours, theirs = socket.socketpair()
        end, told = socket.socketpair()
        with theirs, told, self._lock:
            for _ in range(2):
                try:
                    socket.send_fds(self._started(), [limits], [theirs.fileno(), told.fileno()])
                    return Child(ours, end, budget)
                except OSError:
                    self._end()  # it was ended from outside; another is started
        ours.close()
        end.close()
        raise _unavailable()

    def _started(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._end()
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-m", "kinemesh.confined.zygote", str(theirs.fileno()), *self._modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._control = control
        control.settimeout(_START_S)
        try:
            hello = json.loads(control.recv(65536) or b"{}")
        except (OSError, ValueError):
            hello = {}
        control.settimeout(None)
        if not hello.get("ready"):
            _log.error("confined processes cannot be started", why=hello.get("failed", ""))
            self._end()
            raise _unavailable()
        if not hello.get("filter"):
            _log.warning("confined processes run without a filter of system calls on this machine")
        return control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class Child:
    """A confined child, for one call after the other, by one thread at a time."""

    def __init__(self, calls: socket.socket, end: socket.socket, budget: Budget) -> None:
        self._calls = calls
        self._end = end
        self._budget = budget

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more calls, as far as is known."""
        return self._calls.fileno() < 0

    def close(self) -> None:
        """End the child, whatever it is at."""
        self._calls.close()
        self._end.close()

    def call(
        self,
        work: str,
        arguments: Mapping[str, Any],
        data: bytes = b"",
        *,
        sources: Sequence[BinaryFile] = (),
        target: Target | None = None,
        shared: int | None = None,
    ) -> Message:
        """Have a call done; see :meth:`stream`."""
        *_, answer = self.stream(work, arguments, data, sources=sources, target=target, shared=shared)
        return answer

    def stream(
        self,
        work: str,
        arguments: Mapping[str, Any],
        data: bytes = b"",
        *,
        sources: Sequence[BinaryFile] = (),
        target: Target | None = None,
        shared: int | None = None,
    ) -> Iterator[Message]:
        """Have a call done: yields what it gives on its way, each taken when the next is asked for, and its answer.

        :param work: ``module:function``, of the kind :data:`kinemesh.confined.child.Work`.
        :param sources: files that the child may read, through us; each is asked for when it is wanted.
        :param target: a file that it may write, and read again.
        :param shared: descriptor of memory for both.
        :raises InvalidArgument: what the work refuses with, or a subclass.
        :raises UnsupportedMedia: DECODER_CRASHED, also if the child asks for what it may not have.
        :raises TooLarge: DECODER_OUT_OF_MEMORY, DECODER_TIMEOUT.
        :raises Unavailable: DECODER_UNAVAILABLE, when somebody else ended the child.
        """
        deadline = None if self._budget.total_s is None else time.monotonic() + self._budget.total_s
        files = Files(sources, target)
        request = {"work": work, "arguments": dict(arguments), "shared": 0}
        if shared is not None:
            request["shared"] = os.fstat(shared).st_size
        try:
            self._calls.settimeout(self._budget.silent_s)
            send(self._calls, request, data, () if shared is None else (shared,))
            while True:
                message = receive(self._calls, self._patience(deadline))
                facts = message.facts
                if "item" in facts:
                    yield Message(_object(facts["item"]))
                    send(self._calls, {"taken": 1})
                elif "done" in facts:
                    yield Message(_object(facts["done"]), message.data)
                    return
                elif "refused" in facts:
                    raise _refusal(_object(facts["refused"]))
                elif "failed" in facts:
                    _log.warning("a file made its decoder fail", work=work, trace=str(facts["failed"])[-4000:])
                    raise _crashed()
                elif (answer := files.serve(message)) is not None:
                    self._calls.settimeout(self._budget.silent_s)
                    send(self._calls, *answer)
        except TimeoutError:
            self.close()
            raise _timeout() from None
        except Implausible:
            _log.warning("a confined process says what it never would", work=work)
            self.close()
            raise _crashed() from None
        except Gone:
            raise self._fate(work) from None

    def _patience(self, deadline: float | None) -> float:
        left = self._budget.silent_s
        return left if deadline is None else max(0.001, min(left, deadline - time.monotonic()))

    def _fate(self, work: str) -> errors.KinemeshError:
        """Why the child is gone."""
        self._calls.close()
        self._end.settimeout(_END_S)
        try:
            told = json.loads(self._end.recv(4096) or b"{}")
        except (OSError, ValueError):
            told = {}
        number, status = told.get("signal", 0), told.get("status", 0)
        _log.warning("a confined process ended", work=work, signal=number, status=status, why=told.get("failed", ""))
        if not told or "failed" in told or number in (signal.SIGKILL, signal.SIGTERM):
            return _unavailable()
        if status == OUT_OF_MEMORY:
            return errors.TooLarge("DECODER_OUT_OF_MEMORY", "Decoding the file takes more memory than is allowed.")
        return _timeout() if number == signal.SIGXCPU else _crashed()


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Implausible
    return value


def _refusal(facts: dict[str, Any]) -> errors.KinemeshError:
    kind, reason = _KINDS.get(str(facts.get("kind"))), str(facts.get("reason"))
    metadata = facts.get("metadata")
    if kind is None or not _REASON.fullmatch(reason) or not isinstance(metadata, dict):
        return _crashed()
    told = {str(name)[:64]: str(value)[:_MOST_TEXT] for name, value in list(metadata.items())[:16]}
    return kind(reason, str(facts.get("message"))[:_MOST_TEXT], **told)


def _crashed() -> errors.KinemeshError:
    return errors.UnsupportedMedia("DECODER_CRASHED", "The file makes its decoder fail; it is damaged, or made to.")


def _timeout() -> errors.KinemeshError:
    return errors.TooLarge("DECODER_TIMEOUT", "Decoding the file takes more time than is allowed.")


def _unavailable() -> errors.KinemeshError:
    return errors.Unavailable("DECODER_UNAVAILABLE", "The process that decodes files was ended, or cannot be started.")
