"""All that an embedded mesh keeps, as one file, and back again.

The file is a tar of the data folder as it lies while no mesh runs there: catalogue, streams, objects, users' models and
credentials, all as of one moment. Its last member, the manifest, holds size and SHA-256 of every file; a file without
one is no whole backup.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from kinemesh.embedded.layout import Layout
from kinemesh.embedded.postgres import give_to_server, installed_major
from kinemesh.errors import AlreadyExists, FailedPrecondition, InvalidArgument

_FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_FOLDERS: Final = ("nats", "s3", "postgres", "models")
_CHUNK: Final = 1 << 20
_MOST_MANIFEST: Final = 256 << 20
# Of processes that have ended: what they leave would only mislead the next.
_LEFT_OUT: Final = frozenset({"postmaster.pid", "postmaster.opts"})


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    :ivar bytes: of its files.
    :ivar version: of Kinemesh, that wrote it.
    """

    files: int
    bytes: int
    version: str
    create_time: datetime


def write_backup(layout: Layout, archive: Path) -> Backup:
    """Write the data folder, which the caller holds the lock of, to a file that only its owner may read. Blocks.

    :raises AlreadyExists: ``FILE_EXISTS``.
    :raises FailedPrecondition: ``NOTHING_TO_BACK_UP``.
    """
    if archive.exists():
        raise AlreadyExists("FILE_EXISTS", "There is a file of this name; a backup overwrites none.", file=archive.name)
    if not (layout.secrets.exists() and (layout.data("postgres") / "PG_VERSION").exists()):
        raise FailedPrecondition("NOTHING_TO_BACK_UP", "No mesh has kept anything in this folder.")
    partial = archive.with_name(archive.name + ".part")
    files: dict[str, list[Any]] = {}
    created = datetime.now(UTC)
    try:
        with _private(partial) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in _kept(layout.root):
                name = path.relative_to(layout.root).as_posix()
                if path.is_symlink() or not path.is_file():
                    tar.add(path, name, recursive=False)
                    continue
                files[name] = _add_file(tar, path, name)
            manifest = {
                "format": _FORMAT,
                "version": version("kinemesh"),
                "postgres": (layout.data("postgres") / "PG_VERSION").read_text().strip(),
                "create_time": created.isoformat(),
                "files": files,
            }
            _add_bytes(tar, _MANIFEST, json.dumps(manifest).encode())
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    return _described(manifest)


def restore_backup(archive: Path, data_dir: Path) -> Backup:
    """Make a data folder of a backup: whole and with every checksum right, or not at all. Blocks.

    :param data_dir: must not exist, or be empty.
    :raises FailedPrecondition: ``DATA_DIR_NOT_EMPTY``, or ``POSTGRESQL_DIFFERS`` from the one that is installed.
    :raises InvalidArgument: ``BACKUP_DAMAGED``, ``BACKUP_TOO_NEW``.
    """
    data_dir = data_dir.resolve()
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise FailedPrecondition("DATA_DIR_NOT_EMPTY", "Something lies in this folder; nothing is overwritten.")
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, so that a rename makes it appear whole.
    partial = Path(tempfile.mkdtemp(prefix=f".{data_dir.name}.restoring-", dir=data_dir.parent))
    try:
        try:
            with tarfile.open(archive, mode="r|") as tar:
                manifest = _extract(tar, partial)
        except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
            raise _damaged(f"{type(error).__name__}") from error
        if manifest["postgres"] != installed_major():
            raise FailedPrecondition(
                "POSTGRESQL_DIFFERS",
                f"The backup is of PostgreSQL {manifest['postgres']}, installed is {installed_major()}: restore it "
                f"with the version of Kinemesh that wrote it, {manifest['version']}.",
            )
        give_to_server(partial / "postgres")
        partial.chmod(0o755)
        partial.replace(data_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _described(manifest)


def _kept(root: Path) -> Iterator[Path]:
    """Everything that belongs to a backup, in the same order each time, folders before what they hold."""
    for name in _FOLDERS:
        folder = root / name
        if folder.is_dir():
            yield folder
            yield from sorted(path for path in folder.rglob("*") if path.name not in _LEFT_OUT and not path.is_socket())
    yield root / "secrets.json"


def _add_file(tar: tarfile.TarFile, path: Path, name: str) -> list[Any]:
    info = tar.gettarinfo(path, name)
    # Two names of one file are kept as two files.
    info.type, info.linkname = tarfile.REGTYPE, ""
    info.size = path.stat().st_size
    with path.open("rb") as file:
        reading = _Hashing(file)
        tar.addfile(info, reading)
    return [info.size, reading.digest.hexdigest()]


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))


class _Hashing:
    """A file that notes what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _extract(tar: tarfile.TarFile, folder: Path) -> dict[str, Any]:
    """Write all members below ``folder``; answers with the manifest that they agree with."""
    found: dict[str, list[Any]] = {}
    for member in tar:
        if member.name == _MANIFEST:
            manifest = _read_manifest(tar, member)
            if manifest["files"] != found:
                raise _damaged("a file is missing, or is not what it was")
            return manifest
        top = PurePosixPath(member.name).parts[0]
        if top not in _FOLDERS and member.name != "secrets.json":
            raise _damaged("it holds what no backup does")
        # Refuses paths and links that lead out of the folder, devices and the like.
        safe = tarfile.data_filter(member, str(folder))
        if not member.isreg():
            tar.extract(safe, folder, filter="data")
            continue
        target = folder / safe.name
        target.parent.mkdir(parents=True, exist_ok=True)
        found[member.name] = _write(tar, member, target)
        target.chmod(member.mode & 0o700)
    raise _damaged("it ends before its manifest")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> list[Any]:
    source = tar.extractfile(member)
    assert source is not None
    digest = hashlib.sha256()
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        size = file.tell()
        os.fsync(file.fileno())
    return [size, digest.hexdigest()]


def _read_manifest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    source = tar.extractfile(member) if member.isreg() and member.size <= _MOST_MANIFEST else None
    if source is None:
        raise _damaged("its manifest is none")
    manifest: dict[str, Any] = json.loads(source.read())
    if manifest["format"] > _FORMAT:
        raise InvalidArgument("BACKUP_TOO_NEW", f"A newer version wrote this backup: {manifest['version']}.")
    return manifest


def _damaged(how: str) -> InvalidArgument:
    return InvalidArgument("BACKUP_DAMAGED", f"This is no whole backup: {how}.")


def _described(manifest: Mapping[str, Any]) -> Backup:
    sizes = [int(size) for size, _ in manifest["files"].values()]
    when = datetime.fromisoformat(manifest["create_time"])
    return Backup(len(sizes), sum(sizes), str(manifest["version"]), when)


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    with suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
