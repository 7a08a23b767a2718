"""The model project's program, run as a child: it writes models into the repository, and examines users' own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog

from kinemesh import errors

# The program must not go on when we are killed: whoever takes its work up again would meet what it writes. Linux ends
# it with us (PR_SET_PDEATHSIG, prctl(2)). Not between fork and exec: gRPC's threads do not survive a fork in earnest.
_WITH_US: Final = (
    "import ctypes, os, signal, sys; parent, *argv = sys.argv[1:]; "
    "sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "os.getppid() == int(parent) or sys.exit(1); os.execv(argv[0], argv)"
)
_KEPT_BYTES: Final = 64 * 1024
_REMOVE_S: Final = 60.0
_KINDS: Final[Mapping[str, type[errors.KinemeshError]]] = {
    "CONVERTER_MISSING": errors.FailedPrecondition,
    "MODEL_EXISTS": errors.AlreadyExists,
    "MODEL_NOT_FOUND": errors.NotFound,
    "UNKNOWN_MODEL": errors.NotFound,
    "MODEL_TOO_LARGE": errors.TooLarge,
    "DOWNLOAD_FAILED": errors.Unavailable,
}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model is like that the program has made."""

    labels: list[str]
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Program:
    """``python -m kinemesh_models``.

    :ivar python: interpreter that it is installed for.
    :ivar repository: where it writes models.
    :ivar accelerator: what the model server runs them on.
    :ivar environment: all that it gets to see of ours.
    """

    python: Path
    repository: Path
    accelerator: str
    timeout_s: float
    environment: Mapping[str, str] = field(repr=False)

    async def import_weights(
        self,
        file: Path,
        name: str,
        labels: list[str],
        licence: str,
        picture: Path | None,
        task: str = "detector",
        colors: Mapping[str, Any] = MappingProxyType({}),
    ) -> Facts:
        """Examine weights and make a model of them; answers with what it is like.

        :param colors: ``order``, ``mean`` and ``scale`` of an embedder, as far as the user says them.
        :raises KinemeshError: with the program's own reason.
        :raises DeadlineExceeded: IMPORT_TIMEOUT.
        """
        options = [f"--label={label}" for label in labels]
        options += [f"--licence={licence}"] if licence else []
        options += [f"--task={task}"] if task != "detector" else []
        options += [f"--picture={picture}"] if picture else []
        options += [f"--order={colors['order']}"] if colors.get("order") else []
        options += [f"--{what}={','.join(map(str, colors[what]))}" for what in ("mean", "scale") if colors.get(what)]
        return _facts(await self._run(self.timeout_s, "import", str(file), f"--name={name}", self._for, *options))

    async def add(self, name: str) -> Facts:
        """Fetch a model of the manifest."""
        return _facts(await self._run(self.timeout_s, "add", name, self._for))

    async def remove(self, name: str) -> None:
        """Remove a model; one that is not there is no error."""
        with suppress(errors.NotFound):
            await self._run(_REMOVE_S, "remove", name)

    @property
    def _for(self) -> str:
        return f"--accelerator={self.accelerator}"

    async def _run(self, timeout_s: float, *arguments: str) -> dict[str, Any]:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _WITH_US, str(os.getpid())),
            *(str(self.python), "-m", "kinemesh_models", *arguments),
            *(f"--repository={self.repository}", "--json"),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(self.environment),
            # A group of its own, so that what it starts ends with it.
            start_new_session=True,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            async with asyncio.timeout(timeout_s):
                told, complained, _ = await asyncio.gather(_end_of(child.stdout), _end_of(child.stderr), child.wait())
        except TimeoutError:
            raise errors.DeadlineExceeded(
                "IMPORT_TIMEOUT", f"The model was not ready after {timeout_s:g} seconds.", seconds=f"{timeout_s:g}"
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
        return _answer(arguments[0], child.returncode, told, complained)


def _facts(answer: dict[str, Any]) -> Facts:
    try:
        return Facts([str(label) for label in answer["labels"]], str(answer["sha256"]), int(answer["size_bytes"]))
    except (KeyError, TypeError, ValueError) as error:
        _log.exception("the program of the models answered something else")
        raise errors.Internal("IMPORT_FAILED", "The program that prepares models gave no facts of it.") from error


async def _end_of(stream: asyncio.StreamReader) -> str:
    """What comes last on a stream, however much that is."""
    kept = b""
    while chunk := await stream.read(_KEPT_BYTES):
        kept = (kept + chunk)[-_KEPT_BYTES:]
    return kept.decode(errors="replace")


def _answer(command: str, status: int | None, told: str, complained: str) -> dict[str, Any]:
    answer: Any = None
    with suppress(ValueError):
        answer = json.loads(told.strip().rpartition("\n")[2])
    if isinstance(answer, dict) and status == 0:
        return answer
    refusal = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(refusal, dict) or not refusal.get("reason"):
        _log.error("the program of the models failed", command=command, status=status, stderr=complained[-4000:])
        raise errors.Internal("IMPORT_FAILED", "The program that prepares models ended without an answer.")
    kind = _KINDS.get(str(refusal["reason"]), errors.InvalidArgument)
    raise kind(str(refusal["reason"]), str(refusal.get("message", "")), **(refusal.get("metadata") or {}))
