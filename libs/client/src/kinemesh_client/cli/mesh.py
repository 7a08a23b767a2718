"""``kinemesh up | down | status | logs``"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.markup import escape

from kinemesh.embedded.running import running_mesh, stop_running
from kinemesh.errors import InvalidArgument, Unavailable
from kinemesh_client import local
from kinemesh_client.cli.options import AsJson, DataDir, Models, reached
from kinemesh_client.cli.output import err, out, print_json, print_table
from kinemesh_client.cli.running import Exit, Interrupted, run

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the gateway on 127.0.0.1; 0 takes a free one.")]

_START_S = 180.0
_POLL_S = 0.1
_TAIL = 64 * 1024


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (up, down, status, logs):
        app.command()(command)


def up(
    data_dir: DataDir = local.DATA_DIR,
    models: Models = "default",
    port: Port = local.PORT,
    host: Annotated[str, typer.Option(help="Address of the gateway; others than 127.0.0.1 need --auth.")] = local.HOST,
    auth: Annotated[bool, typer.Option("--auth", help="Ask callers who they are; see `kinemesh keys`.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return as soon as everything is ready.")] = False,
) -> None:
    """Run the whole mesh on this machine until Ctrl-C: servers and services, in one table."""
    if (described := running_mesh(data_dir)) is not None:
        err.print(f"A mesh runs in {escape(str(data_dir))} already.")
        _print_servers(described, {})
        return
    if host not in local.LOOPBACK and not auth:
        raise InvalidArgument(
            "AUTH_NEEDED", f"Others can reach {host}: add --auth, so that not all may call.", host=host
        )
    if detach:
        _detached(data_dir, models, port, host, auth)
        return
    from kinemesh.embedded.mesh import MeshConfig
    from kinemesh_client.cli.starting import serve

    config = MeshConfig(data_dir=data_dir, models=local.find_models(models), http_port=port, http_host=host, auth=auth)
    with suppress(Interrupted):
        run(serve(config))
    err.print("Stopped.")


def _print_servers(described: dict[str, Any], health: Mapping[str, Any]) -> None:
    """What another process runs. Health is the gateway's word, and for what it does not ask, that the process lives."""

    def state(name: str, pid: int) -> str:
        return str(health.get(name, {}).get("status") or ("up" if psutil.pid_exists(pid) else "down"))

    rows = ((name, state(name, row["pid"]), row["address"], row["pid"]) for name, row in described["servers"].items())
    print_table(("server", "health", "address", "pid"), rows)


def _print_queues(waiting: Mapping[str, Mapping[str, float]]) -> None:
    if waiting:
        rows = (
            (stage, int(one.get("waiting", 0)), int(one.get("in_hand", 0)), f"{one.get('oldest_s', 0.0):.0f} s")
            for stage, one in waiting.items()
        )
        out.print()
        print_table(("stage", "waiting", "in hand", "oldest"), rows)


def _detached(data_dir: Path, models: str, port: int, host: str, auth: bool) -> None:
    local.find_models(models)
    started = time.monotonic()
    log = data_dir / "logs" / "mesh.log"
    before = log.stat().st_size if log.exists() else 0
    arguments = [sys.executable, "-m", "kinemesh_client", "up", f"--data-dir={data_dir.resolve()}"]
    arguments += [f"--models={models}", f"--port={port}", f"--host={host}", *(["--auth"] if auth else [])]
    child = local.spawn(arguments, log)
    try:
        with err.status("Starting the mesh …"):
            described = _wait_for(child, data_dir, log, before)
    except BaseException:
        child.terminate()
        raise
    _print_servers(described, {})
    err.print(f"Ready in {time.monotonic() - started:.1f} s: [bold]{described['http']}[/]  (`kinemesh down` stops it)")


def _wait_for(child: subprocess.Popen[bytes], data_dir: Path, log: Path, before: int) -> dict[str, Any]:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if (described := running_mesh(data_dir)) is not None and described["pid"] == child.pid:
            return described
        if child.poll() is not None:
            said = log.read_bytes()[before:].decode(errors="replace").strip()
            raise Unavailable("MESH_START_FAILED", f"The mesh did not start:\n{said[-2000:]}", log=log)
        time.sleep(_POLL_S)
    raise Unavailable("MESH_START_FAILED", f"The mesh was not ready after {_START_S:.0f} s.", log=log)


def down(data_dir: DataDir = local.DATA_DIR) -> None:
    """Stop the mesh that runs in the data folder; its data stays."""
    stopped = data_dir.is_dir() and run(stop_running(data_dir))
    err.print("Stopped." if stopped else f"No mesh runs in {escape(str(data_dir))}.")


def status(data_dir: DataDir = local.DATA_DIR, as_json: AsJson = False) -> None:
    """Show what runs where and how it is. Exits with 4 if no mesh runs, or if it cannot answer requests."""
    described = running_mesh(data_dir)
    if described is None:
        raise Unavailable("MESH_NOT_RUNNING", f"No mesh runs in {data_dir}: start one with `kinemesh up`.")
    from kinemesh_client.cli.queues import queues

    async def ask() -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
        async with reached("", data_dir) as client:
            return dict(await client.health()), await queues(described)

    health, waiting = run(ask())
    if as_json:
        print_json({**described, "health": health, "queues": waiting})
    else:
        _print_servers(described, health["services"])
        _print_queues(waiting)
    if health["status"] == "down":
        raise Exit(4)


def logs(
    service: Annotated[str, typer.Argument(help="Only this server's log.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each log to begin with.")] = 20,
    data_dir: DataDir = local.DATA_DIR,
) -> None:
    """Print what the servers logged."""
    known = {path.stem: path for path in sorted((data_dir / "logs").glob("*.log"))}
    if service and service not in known:
        names = ", ".join(known) or "none yet"
        raise InvalidArgument("UNKNOWN_SERVICE", f"There is no log of {service}; there are: {names}.", service=service)
    chosen = {service: known[service]} if service else known
    places = {name: _tail(name, path, lines, bool(service)) for name, path in chosen.items()}
    if follow:
        with suppress(Interrupted):
            run(_follow(chosen, places, bool(service)))


def _tail(name: str, path: Path, lines: int, alone: bool) -> int:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _TAIL))
        last = file.read(end - file.tell()).decode(errors="replace").splitlines()[-lines:] if lines else []
    _print_lines(name, last, alone)
    return end


async def _follow(paths: dict[str, Path], places: dict[str, int], alone: bool) -> None:
    while True:
        for name, path in paths.items():
            with path.open("rb") as file:
                file.seek(places[name])
                whole, newline, _ = file.read().rpartition(b"\n")
            places[name] += len(whole + newline)
            _print_lines(name, whole.decode(errors="replace").splitlines(), alone)
        await asyncio.sleep(_POLL_S)


def _print_lines(name: str, lines: list[str], alone: bool) -> None:
    for line in lines:
        out.print(line if alone else f"{name:>12} │ {line}", markup=False)
