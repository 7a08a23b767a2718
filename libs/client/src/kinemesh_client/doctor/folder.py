"""The data folder of a mesh on this machine, and what dead meshes left on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from kinemesh.embedded.guard import TAG
from kinemesh.embedded.layout import Layout
from kinemesh.embedded.ports import is_free
from kinemesh.inference.shared_memory import PREFIX
from kinemesh_client.doctor.findings import Finding, ok, problem, warning

_FOLDER: Final = "data folder"
_LEFT: Final = "leftovers"
_PORTS: Final = "ports"
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - POSIX shared memory has this name on Linux
_REGION: Final = re.compile(PREFIX + r"(\d+)_\d+_")


def look_at_folder(data_dir: Path, described: dict[str, Any] | None) -> list[Finding]:
    """What the folder says runs, against what does.

    :param described: what the mesh says that runs there, None if none does.
    """
    layout = Layout(data_dir.resolve())
    if not layout.root.is_dir():
        return [ok(_FOLDER, f"{data_dir} is not there yet; `kinemesh up` makes it.")]
    findings = []
    if layout.secrets.is_file():
        findings.append(judge_secrets(layout.secrets.stat().st_mode))
    if described is None:
        findings.append(judge_description(layout.state.is_file()))
    else:
        alive = {name: psutil.pid_exists(row["pid"]) for name, row in described["servers"].items() if row["pid"]}
        findings.append(judge_servers(alive))
    return findings


def judge_secrets(mode: int) -> Finding:
    """The mode of the file with the credentials."""
    if not mode & 0o077:
        return ok(_FOLDER, "Only its owner can read the credentials.")
    why = "Whoever can read them can read and change all media and results."
    return problem(
        _FOLDER, "Others can read secrets.json.", why, "chmod 600 secrets.json; then make new ones if need be."
    )


def judge_description(is_there: bool) -> Finding:
    """A description of a mesh that does not run."""
    if not is_there:
        return ok(_FOLDER, "No mesh runs here.")
    why = "The mesh was killed together with its guard; what it had in hand is begun anew at the next start."
    return warning(_FOLDER, "mesh.json describes a mesh that does not run.", why, "`kinemesh up` starts it again.")


def judge_servers(alive: dict[str, bool]) -> Finding:
    """Whether the processes of a mesh that runs are there."""
    gone = sorted(name for name, lives in alive.items() if not lives)
    if not gone:
        return ok(_FOLDER, f"A mesh runs here; its {len(alive)} processes are there.")
    why = "A server that ends by itself is started again, five times a minute at most; then it stays down."
    return problem(
        _FOLDER, f"Ended: {', '.join(gone)}.", why, f"kinemesh logs {gone[0]}; then kinemesh down, kinemesh up."
    )


def look_at_ports(port: int, described: dict[str, Any] | None) -> list[Finding]:
    """Whether the gateway's port is free for a mesh that is not running yet."""
    if described is not None:
        return [ok(_PORTS, f"The mesh serves {described['http']}.")]
    if is_free(port):
        return [ok(_PORTS, f"Port {port} is free.")]
    why = "`kinemesh up` would not start."
    return [
        problem(
            _PORTS,
            f"Something else listens on port {port}.",
            why,
            f"End it, or name another: kinemesh up --port 0. ss -ltnp 'sport = :{port}' shows it.",
        )
    ]


def look_at_leftovers() -> list[Finding]:
    """Processes and shared memory of meshes whose guard is gone."""
    regions = [path.name for path in _SHARED_MEMORY.glob(f"{PREFIX}*")] if _SHARED_MEMORY.is_dir() else []
    return [judge_processes(orphans(_processes())), judge_regions(dead_regions(regions, set(psutil.pids())))]


def _processes() -> Iterator[tuple[int, list[str], str]]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            yield process.pid, process.cmdline(), process.environ().get(TAG, "")


def orphans(processes: Iterable[tuple[int, list[str], str]]) -> list[int]:
    """Those of embedded meshes that nobody will stop.

    :param processes: pid, command line, and the tag of the mesh that it belongs to, or empty.
    """
    known = list(processes)
    guarded = {command[-1] for _, command, _ in known if len(command) > 1 and command[-2].endswith("/guard.py")}
    return sorted(pid for pid, _, tag in known if tag and tag not in guarded)


def judge_processes(pids: list[int]) -> Finding:
    """Processes without a guard."""
    if not pids:
        return ok(_LEFT, "No processes of dead meshes.")
    shown = " ".join(map(str, pids[:20]))
    why = "They hold ports, memory and perhaps the data of a folder that another mesh shall use."
    return problem(_LEFT, f"{len(pids)} processes of a mesh that is gone: {shown}.", why, f"kill {shown}")


def dead_regions(names: Iterable[str], pids: set[int]) -> list[str]:
    """Shared memory whose process has ended."""
    owners = ((name, _REGION.match(name)) for name in names)
    return sorted(name for name, owner in owners if owner and int(owner[1]) not in pids)


def judge_regions(names: list[str]) -> Finding:
    """Shared memory that nobody uses."""
    if not names:
        return ok(_LEFT, "No shared memory of dead processes.")
    why = "It counts against the memory of this machine; the next service that starts removes it."
    return warning(_LEFT, f"{len(names)} regions of shared memory of dead processes.", why, f"rm /dev/shm/{names[0]} …")
