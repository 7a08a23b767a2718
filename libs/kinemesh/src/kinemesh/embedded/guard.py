"""Clears up when the process that started the servers is gone, however it ended.

Runs as a process of its own (``python -I -S guard.py TAG``), needs the standard library only, and waits for the end of
its standard input, which is a pipe from the supervisor: the kernel closes it even after ``kill -9``. Then it stops what
still runs and removes what was to be removed. Lines that it reads before that::

    group PID SIGNAL GRACE    a process group by its leader, the signal that asks that to end, and the seconds it has
    ended PID                 that group has ended
    remove GLOB               files and folders to remove in the end
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_STRAY_GRACE_S = 2.0
TAG = "KINEMESH_EMBEDDED_TAG"


def main(tag: str) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: dict[int, tuple[int, float]] = {}
    remove: list[str] = []
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "group":
            pid, number, grace = rest.split()
            groups[int(pid)] = (int(number), float(grace))
        elif verb == "ended":
            groups.pop(int(rest), None)
        elif verb == "remove":
            remove.append(rest)
    stop(groups, tag)
    for pattern in remove:
        for path in glob.glob(pattern):  # noqa: PTH207 - Path.glob takes no absolute pattern
            if Path(path).is_dir():
                shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                Path(path).unlink()


def stop(groups: dict[int, tuple[int, float]], tag: str) -> None:
    """End all groups, the last started first, and whatever else carries our tag in its environment."""
    now = time.monotonic()
    deadlines: dict[int, float] = {}
    for pid, (number, grace) in reversed(groups.items()):
        deadlines[pid] = now + grace
        with suppress(OSError):
            os.kill(pid, number)
    while deadlines:
        for pid in [pid for pid, deadline in deadlines.items() if not alive(pid) or time.monotonic() > deadline]:
            del deadlines[pid]
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.05)
    deadline = now + _STRAY_GRACE_S
    while strays := tagged(tag):
        for pid in strays:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
        if time.monotonic() > deadline + 1:
            return
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended counts as gone even where nobody collects its exit code."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def tagged(tag: str) -> set[int]:
    """The processes whose environment names us: also those that left their group, or were started an instant ago."""
    wanted = f"{TAG}={tag}".encode()
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in entry.read_bytes().split(b"\0"):
                found.add(int(entry.parent.name))
    return found - {os.getpid()}


if __name__ == "__main__":
    main(sys.argv[1])
