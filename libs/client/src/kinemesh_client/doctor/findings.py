"""What a check found, and running checks such that one that hangs or breaks keeps nobody from hearing the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEADLINE_S: Final = 20.0


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    :ivar check: what was looked at.
    :ivar why: why it matters, and
    :ivar action: what to do; both empty if all is well.
    """

    check: str
    level: Level
    found: str
    why: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at."""

    name: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, why: str, action: str) -> Finding:
    """It works, but may not for long, or not well."""
    return Finding(check, Level.WARNING, found, why, action)


def problem(check: str, found: str, why: str, action: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.PROBLEM, found, why, action)


def blocking(name: str, look: Callable[[], Sequence[Finding]]) -> Check:
    """A check that is a plain function. One that hangs keeps its thread, but not the process from ending."""

    async def on_thread() -> Sequence[Finding]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Finding]] = loop.create_future()

        def work() -> None:
            try:
                found, error = look(), None
            except Exception as raised:  # noqa: BLE001 - it is raised again where it is waited for
                found, error = (), raised
            with suppress(RuntimeError):  # nobody waits any longer
                loop.call_soon_threadsafe(settle, found, error)

        def settle(found: Sequence[Finding], error: Exception | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        threading.Thread(target=work, name=f"doctor-{name}", daemon=True).start()
        return await answer

    return Check(name, on_thread)


async def look_at(checks: Iterable[Check], deadline_s: float = DEADLINE_S) -> list[Finding]:
    """Run all checks at once, each with a deadline; answers in their order."""
    found = await asyncio.gather(*(_look(check, deadline_s) for check in checks))
    return [finding for several in found for finding in several]


async def _look(check: Check, deadline_s: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(deadline_s):
            return await check.look()
    except TimeoutError:
        said = f"No answer within {deadline_s:.0f} s."
        return [problem(check.name, said, "Whoever needs it waits as long.", "See whether it runs and is overloaded.")]
    except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
        said = f"The check broke: {type(error).__name__}: {error}"
        return [problem(check.name, said, "Nothing is known about it.", "Report this as a defect of the doctor.")]


def exit_code(findings: Iterable[Finding]) -> int:
    """0: all is well, 1: there are warnings, 2: there are problems."""
    order = (Level.OK, Level.WARNING, Level.PROBLEM)
    return max((order.index(finding.level) for finding in findings), default=0)
