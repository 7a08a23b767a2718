"""Runs one task over untrusted files in a process of its own, behind :mod:`~kinemesh_models.importing.walls`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from kinemesh_models.importing.walls import Limits
from kinemesh_models.refusal import RefusedError

_BOOT = "import sys; sys.path.append(sys.argv.pop()); from kinemesh_models.importing.child import main; main()"
_SOURCE = Path(__file__).parents[2]
_NOBODY = 65534
_MOST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a confined task returned (JSON), which walls stood, and the most memory it held."""

    result: Any
    walls: dict[str, Any]
    peak_bytes: int


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder for the files of tasks, in the system's folder for such: whoever runs them may reach it."""
    with tempfile.TemporaryDirectory(prefix="kinemesh-weights-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def run(
    python: Path,
    entry: str,
    arguments: dict[str, Any],
    scratch: Path,
    limits: Limits,
    *,
    demand: bool = True,
    code: tuple[Path, ...] = (),
) -> Answer:
    """Call ``entry`` (``module:function``) with ``arguments`` under ``python``, confined to ``scratch``.

    :param demand: refuse to run where this machine cannot wall off both network and files.
    :param code: further folders to import from.

    Raises :class:`RefusedError` with the task's own reason, CONVERSION_LIMIT (time, memory) or CONVERSION_FAILED.
    """
    python = python.absolute()  # not resolved: a virtual environment's Python is a link
    to_nobody = os.getuid() == 0 and _open_to_all(python, scratch, _SOURCE, *code)
    if to_nobody:
        os.chown(scratch, _NOBODY, _NOBODY)
    task = {
        "entry": entry,
        "arguments": arguments,
        "scratch": str(scratch),
        "limits": asdict(limits),
        "code": [str(path) for path in (_SOURCE, *code)],
        "nobody": to_nobody,
        "demand": demand,
    }
    with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as answers, tempfile.TemporaryFile() as log:
        question.write(json.dumps(task).encode())
        question.seek(0)
        process = subprocess.Popen(
            [str(python), "-s", "-P", "-c", _BOOT, str(_SOURCE)],
            stdin=question,
            stdout=answers,
            stderr=log,
            cwd=scratch,
            env=_environment(scratch),
            start_new_session=True,
        )
        try:
            code_returned = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            raise RefusedError(
                "CONVERSION_LIMIT", f"The model was not ready within {limits.seconds:g} s.", limit="time"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return _answer(answers, log, code_returned)


def _answer(answers: IO[bytes], log: IO[bytes], status: int) -> Answer:
    answers.seek(0)
    lines = answers.read(_MOST_ANSWER).splitlines()
    try:
        walls, answer = (json.loads(line) for line in lines)
    except ValueError:
        if status == -signal.SIGXCPU:
            raise RefusedError("CONVERSION_LIMIT", "The model takes too much computing time.", limit="time") from None
        if status == -signal.SIGKILL:  # not by us: the kernel's, for memory
            message = "The model was ended by the system, which has too little memory for it."
            raise RefusedError("CONVERSION_LIMIT", message, limit="memory") from None
        log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
        last = next(iter(reversed(log.read().decode(errors="replace").split("\n")[:-1])), "")
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise RefusedError(
            "CONVERSION_FAILED", f"Reading the model ended with {how}.", log=last[:500], status=str(status)
        ) from None
    if (error := answer.get("error")) is not None:
        raise RefusedError(error["reason"], error["message"], **error["metadata"])
    return Answer(answer["result"], walls, int(answer["peak_bytes"]))


def copy(source: Path, target: Path, most: int) -> None:
    """Copy a plain file to or from a task, and nothing that a link of a task's making points to.

    :raises RefusedError: CONVERSION_FAILED (no such file), MODEL_TOO_LARGE (over ``most`` bytes).
    """
    try:
        opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise RefusedError("CONVERSION_FAILED", f"There is no plain file {source.name[:100]}.") from error
    with os.fdopen(opened, "rb") as file, target.open("wb") as out:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError("CONVERSION_FAILED", f"There is no plain file {source.name[:100]}.")
        if status.st_size > most:
            raise RefusedError("MODEL_TOO_LARGE", f"The file has {status.st_size} bytes; {most} are the most.")
        shutil.copyfileobj(file, out)
    target.chmod(0o644)


def _open_to_all(*paths: Path) -> bool:
    """Whether every user can reach ``paths``: nobody cannot run a Python that lies in root's home."""
    folders = {folder for path in paths for real in (path, path.resolve()) for folder in real.parents}
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)


def _environment(scratch: Path) -> dict[str, str]:
    """Nothing of ours is inherited: an environment holds secrets."""
    home = str(scratch)
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "XDG_CACHE_HOME": home,
        "MPLCONFIGDIR": home,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # names in converted networks follow the order of sets
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "YOLO_CONFIG_DIR": home,
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
    }
