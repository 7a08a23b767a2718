"""A confined child can do its work and nothing else, and however it ends, its parent lives on."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from kinemesh import errors
from kinemesh.confined.parent import Budget, Child, Confinement
from kinemesh.confined.sandbox import has_filter
from kinemesh.testing.waiting import until

WORK = "kinemesh.testing.hostile_work"
PATIENT = Budget(memory_mb=256, total_s=60, silent_s=60, cpu_s=60)


@pytest.fixture(scope="module")
def confinement() -> Iterator[Confinement]:
    made = Confinement([WORK])
    yield made
    made.close()


def _fate(confinement: Confinement, work: str, budget: Budget = PATIENT, **arguments: Any) -> errors.KinemeshError:
    with confinement.child(budget) as child, pytest.raises(errors.KinemeshError) as caught:
        child.call(f"{WORK}:{work}", arguments)
    return caught.value


def _works(confinement: Confinement) -> bool:
    with confinement.child(PATIENT) as child:
        return child.call(f"{WORK}:copy", {}, sources=[io.BytesIO(b"sound")]).data == b"sound"


@pytest.mark.parametrize(
    ("work", "budget", "arguments", "kind", "reason"),
    [
        ("crash", PATIENT, {}, errors.UnsupportedMedia, "DECODER_CRASHED"),
        ("fail", PATIENT, {}, errors.UnsupportedMedia, "DECODER_CRASHED"),
        ("say", PATIENT, {}, errors.UnsupportedMedia, "DECODER_CRASHED"),
        ("eat", PATIENT, {"bytes": 400 << 20}, errors.TooLarge, "DECODER_OUT_OF_MEMORY"),
        ("spin", Budget(256, 60, 60, 1), {}, errors.TooLarge, "DECODER_TIMEOUT"),
        ("sleep", Budget(256, 60, 0.2, 60), {}, errors.TooLarge, "DECODER_TIMEOUT"),
        ("sleep", Budget(256, 0.2, 60, 60), {}, errors.TooLarge, "DECODER_TIMEOUT"),
    ],
)
def test_however_a_child_ends_there_is_a_reason_and_the_next_works(
    confinement: Confinement,
    work: str,
    budget: Budget,
    arguments: dict[str, Any],
    kind: type[errors.KinemeshError],
    reason: str,
) -> None:
    error = _fate(confinement, work, budget, **arguments)
    assert (type(error), error.reason) == (kind, reason)
    assert _works(confinement)


def test_memory_within_the_limit_can_be_had(confinement: Confinement) -> None:
    with confinement.child(PATIENT) as child:
        assert child.call(f"{WORK}:eat", {"bytes": 100 << 20}).facts == {"eaten": 100 << 20}


@pytest.mark.skipif(not has_filter(), reason="system calls are filtered on x86-64 only")
def test_a_child_can_do_nothing_but_its_work(confinement: Confinement) -> None:
    with confinement.child(PATIENT) as child:
        answer = child.call(f"{WORK}:attempt", {"parent": os.getpid()})
    assert answer.facts == {"done": [], "environment": []}


def test_a_child_reads_what_its_parent_reads_for_it(confinement: Confinement) -> None:
    data = os.urandom(3_000_000)
    with confinement.child(PATIENT) as child:
        assert child.call(f"{WORK}:copy", {}, sources=[io.BytesIO(data)]).data == data
        assert child.call(f"{WORK}:copy", {}, sources=[io.BytesIO(b"")]).data == b""


def test_what_the_source_raises_reaches_the_caller(confinement: Confinement) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise errors.Unavailable("STORAGE_UNAVAILABLE", "Storage does not answer.")

    with confinement.child(PATIENT) as child, pytest.raises(errors.Unavailable) as caught:
        child.call(f"{WORK}:copy", {}, sources=[Broken(b"something")])
    assert caught.value.reason == "STORAGE_UNAVAILABLE"


def test_killing_what_children_come_from_is_got_over(confinement: Confinement) -> None:
    assert _works(confinement)
    zygote = _zygote_of(os.getpid())
    with confinement.child(PATIENT) as child:
        born = psutil.Process(child.call(f"{WORK}:who", {}).facts["pid"])
        zygote.kill()
        psutil.wait_procs([zygote, born], 30)
        assert not born.is_running() or born.status() == psutil.STATUS_ZOMBIE
    assert _works(confinement)


def test_a_killed_child_may_be_tried_again(confinement: Confinement) -> None:
    with confinement.child(PATIENT) as child:
        os.kill(child.call(f"{WORK}:who", {}).facts["pid"], signal.SIGKILL)
        with pytest.raises(errors.Unavailable) as caught:
            child.call(f"{WORK}:copy", {}, sources=[io.BytesIO(b"x")])
    assert (caught.value.reason, caught.value.retryable) == ("DECODER_UNAVAILABLE", True)


async def test_a_child_that_nobody_wants_any_more_is_ended(confinement: Confinement) -> None:
    with confinement.child(PATIENT) as child:
        assert next(child.stream(f"{WORK}:give_and_spin", {})).facts == {"said": "here"}

    async def ended() -> bool:
        return not _zygote_of(os.getpid()).children()

    await until(ended)


async def test_nothing_outlives_the_parent() -> None:
    program = (
        "from kinemesh.confined.parent import Budget, Confinement\n"
        f"with Confinement([{WORK!r}]).child(Budget(64, 60, 60, 60)) as child:\n"
        f"    given = child.stream('{WORK}:give_and_spin', {{}})\n"
        "    next(given)\n"
        "    print('made', flush=True)\n"
        "    next(given)\n"
    )
    family = await asyncio.to_thread(_killed, program)
    assert len(family) == 2

    async def ended() -> bool:
        return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)

    await until(ended)


def _killed(program: str) -> list[psutil.Process]:
    """The children of a program that was killed."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"made\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    return family


def test_children_leave_no_files_open(confinement: Confinement) -> None:
    assert _works(confinement)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        _fate(confinement, "crash")
        assert _works(confinement)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert len(_zygote_of(os.getpid()).open_files()) == 0


def test_a_child_that_lies_is_not_believed(confinement: Confinement) -> None:
    with confinement.child(PATIENT) as child:
        assert _refused(child, "not an object") == "DECODER_CRASHED"


def _refused(child: Child, facts: object) -> str:
    with pytest.raises(errors.KinemeshError) as caught:
        child.call(f"{WORK}:lie", {"facts": facts})
    return caught.value.reason


def _zygote_of(pid: int) -> psutil.Process:
    (found,) = [
        one
        for one in psutil.Process(pid).children()
        if any("kinemesh.confined.zygote" in part for part in one.cmdline())
    ]
    return found
