"""What hostile weights might try once they run: tasks for a confined process, imported there."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import threading
from pathlib import Path


def attempt(what: str, *arguments: object) -> str:
    """Try one thing; answer with the error's name, or with "done"."""
    try:
        globals()[f"_{what}"](*arguments)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return type(error).__name__
    return "done"


def attempts(tries: list[list[object]]) -> list[str]:
    return [attempt(str(what), *arguments) for what, *arguments in tries]


def unpickle(file: str) -> str:
    """What a careless loader does. Returns the name of what was raised, if anything."""
    try:
        pickle.loads(Path(file).read_bytes())
    except OSError as error:
        return type(error).__name__
    return "done"


def allocate(size: int) -> int:
    return len(bytearray(size))


def spin() -> None:
    while True:
        pass


def link(name: str, target: str) -> None:
    Path(name).symlink_to(target)


def environment() -> list[str]:
    return sorted(os.environ)


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def _datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"secret", ("127.0.0.1", port))


def _local(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sender:
        sender.connect(path)


def _write(path: str) -> None:
    Path(path).write_text("written")


def _much(path: str, size: int) -> None:
    Path(path).write_bytes(bytes(size))


def _read(path: str) -> None:
    Path(path).read_bytes()


def _chmod(path: str) -> None:
    Path(path).chmod(0o777)


def _run(command: str) -> None:
    subprocess.run([command], check=True)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _kill() -> None:
    os.kill(os.getppid(), 0)


def _thread() -> None:
    thread = threading.Thread(target=os.getpid)
    thread.start()
    thread.join()
