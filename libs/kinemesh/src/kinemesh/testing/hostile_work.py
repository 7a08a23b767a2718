"""What a decoder that was taken over would try, for tests of :mod:`kinemesh.confined`."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinemesh.confined.child import Call
from kinemesh.confined.messages import receive, send

Answer = tuple[dict[str, Any], bytes]


def crash(_call: Call) -> Answer:
    ctypes.string_at(0)
    return {}, b""


def eat(call: Call) -> Answer:
    return {"eaten": len(bytearray(call.arguments["bytes"]))}, b""


def spin(_call: Call) -> Answer:
    while True:
        pass


def who(_call: Call) -> Answer:
    return {"pid": os.getpid()}, b""


def give_and_spin(call: Call) -> Answer:
    call.give(said="here")
    return spin(call)


def sleep(_call: Call) -> Answer:
    time.sleep(600)
    return {}, b""


def fail(_call: Call) -> Answer:
    raise ZeroDivisionError


def lie(call: Call) -> Answer:
    return call.arguments["facts"], b""


def say(call: Call) -> Answer:
    """Put bytes on the socket that are no message."""
    os.write(call._connection.fileno(), b"\xff" * 64)
    return {}, b""


def copy(call: Call) -> Answer:
    return {}, call.source().read()


def attempt(call: Call) -> Answer:
    """Which of the things succeed that nobody who decodes needs."""
    parent = call.arguments["parent"]
    attempts: dict[str, Callable[[], object]] = {
        "open": lambda: Path("/etc/hostname").read_bytes(),
        "write": lambda: Path("/tmp/kinemesh-was-here").write_bytes(b"x"),  # noqa: S108 - must fail
        "environ": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "unix": lambda: socket.socketpair(),
        "fork": _fork,
        "run": lambda: subprocess.run([sys.executable, "-V"], check=True),
        "kill": lambda: os.kill(parent, 0),
        "signal_by_file": lambda: _fcntl_owner(call, parent),
    }
    done = []
    for name, tried in attempts.items():
        try:
            tried()
        except OSError:
            continue
        done.append(name)
    started = threading.Thread(target=lambda: None)
    started.start()
    started.join()
    secrets = [name for name in os.environ if "KINEMESH" in name or "PATH" in name]
    return {"done": done, "environment": secrets}, b""


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _fcntl_owner(call: Call, parent: int) -> None:
    import fcntl

    fcntl.fcntl(call._connection.fileno(), fcntl.F_SETOWN, parent)
    fcntl.fcntl(call._connection.fileno(), fcntl.F_SETSIG, signal.SIGKILL)


def wish(call: Call) -> Answer:
    """Ask for things as no child does: each wish is an object and how many bytes come along."""
    answers = []
    for facts, count in call.arguments["wishes"]:
        send(call._connection, facts, bytes(count))
        if "write" not in facts:
            answers.append(len(receive(call._connection).data))
    return {"answers": answers}, b""


def scribble(call: Call) -> Answer:
    """Write at the places that are asked for, and give back what is there then."""
    target = call.target()
    for offset, text in call.arguments["writes"]:
        target.seek(offset)
        target.write(text.encode())
    read = target.reopened().read()
    target.seek(0)
    target.write(b"again")
    target.flush()
    return {}, read
