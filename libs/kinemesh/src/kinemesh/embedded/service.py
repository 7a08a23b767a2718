"""Our own services as child processes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from kinemesh.embedded.checks import Check
from kinemesh.embedded.process import ServerSpec
from kinemesh.inference.shared_memory import PREFIX
from kinemesh.memory import ALLOCATION


def service_spec(
    name: str,
    env: Mapping[str, str],
    log: Path,
    scratch: Path,
    ready: Check,
    *,
    service: str = "",
    address: str = "",
    after: tuple[str, ...] = (),
    restarts: int = 0,
    niceness: int = 0,
) -> ServerSpec:
    """``python -m kinemesh_<service>`` with the settings in ``env``.

    :param service: the service that it is; ``name`` if empty.
    :param niceness: how much it gives way to the others where they all share the processor.
    :param scratch: a folder for its temporary files. It is emptied at each start: a killed service leaves some behind.
    """

    def prepare() -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)

    return ServerSpec(
        name=name,
        argv=(
            *(("nice", "-n", str(niceness)) if niceness else ()),
            sys.executable,
            "-m",
            f"kinemesh_{service or name}",
        ),
        ready=ready,
        log=log,
        address=address,
        env={**ALLOCATION, "PYTHONUNBUFFERED": "1", "TMPDIR": str(scratch), **env},
        prepare=prepare,
        after=after,
        restarts=restarts,
        grace_s=15.0,
        leftovers=(f"/dev/shm/{PREFIX}{{pid}}_*",),  # noqa: S108 - POSIX shared memory, not a temporary file
    )
