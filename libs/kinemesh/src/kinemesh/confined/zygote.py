"""The process that confined children come from: ``python -I -m kinemesh.confined.zygote DESCRIPTOR MODULE...``

It has loaded what they need and forks one in a few milliseconds. It is single-threaded, which makes forking safe, holds
no credentials, and never sees an unproven byte. Over the socket DESCRIPTOR it is asked for children; each comes with a
socket for calls and one for its end: there we say how it ended, and when the other side closes that, we kill the child.
When our parent is gone, so are we and, by the kernel, all our children.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any, Final

from kinemesh.confined import child, sandbox

_MOST_REQUEST: Final = 4096
_HANGS_UP: Final = select.POLLIN | select.POLLHUP | select.POLLERR


def main(descriptor: int, modules: list[str]) -> None:
    """Load ``modules``, say so, and make children until the other side hangs up."""
    control = socket.socket(fileno=descriptor)
    try:
        for module in modules:
            importlib.import_module(module)
    except Exception:  # noqa: BLE001 - the parent tells what it was
        control.send(json.dumps({"failed": traceback.format_exc()[-_MOST_REQUEST // 2 :]}).encode())
        return
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": True, "filter": sandbox.has_filter()}).encode())
    _Nursery(control).run()


class _Nursery:
    """Children by pid, and the sockets on which their ends are told."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._ends: dict[int, socket.socket] = {}
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, _note)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def run(self) -> None:
        while True:
            poll = select.poll()
            poll.register(self._control, _HANGS_UP)
            poll.register(self._woken, select.POLLIN)
            for end in self._ends.values():
                poll.register(end, _HANGS_UP)
            ready = {descriptor for descriptor, _ in poll.poll()}
            for pid, end in self._ends.items():
                if end.fileno() in ready:
                    os.kill(pid, signal.SIGKILL)  # not waited for yet, so the pid is still its own
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            self._bury()
            if self._control.fileno() in ready and not self._take():
                return

    def _take(self) -> bool:
        request, descriptors, _, _ = socket.recv_fds(self._control, _MOST_REQUEST, 2)
        if not request or len(descriptors) != 2:
            return False
        calls, end = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            _tell(end, {"failed": error.strerror})
            end.close()
        else:
            if pid == 0:
                self._live(calls, end, parent, json.loads(request))
            self._ends[pid] = end
        calls.close()
        return True

    def _live(self, calls: socket.socket, end: socket.socket, parent: int, limits: dict[str, int]) -> None:
        """All that a child does. Never returns."""
        status = 1
        try:
            sandbox.die_with(parent)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self._control, *self._ends.values()):
                other.close()
            os.close(self._woken)
            os.close(self._waker)
            sandbox.confine(**limits)
        except Exception:  # noqa: BLE001 - the parent tells what it was
            _tell(end, {"failed": traceback.format_exc()[-_MOST_REQUEST // 2 :]})
            os._exit(status)
        end.close()
        try:
            child.serve(calls)
            status = 0
        except MemoryError:
            status = child.OUT_OF_MEMORY
        finally:
            os._exit(status)

    def _bury(self) -> None:
        while self._ends:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                return
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
            with self._ends.pop(pid) as end:
                _tell(end, {"signal": number, "status": code, "memory_kb": used.ru_maxrss})


def _note(number: int, frame: object) -> None:
    """SIGCHLD only has to end the poll."""


def _tell(end: socket.socket, facts: dict[str, Any]) -> None:
    with suppress(OSError):
        end.send(json.dumps(facts).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
