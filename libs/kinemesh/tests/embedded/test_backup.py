"""A backup is whole or refused, and a folder is restored whole or not at all."""

from __future__ import annotations

import io
import stat
import tarfile
from pathlib import Path

import pytest

from kinemesh.embedded.backup import restore_backup, write_backup
from kinemesh.embedded.credentials import load_secrets
from kinemesh.embedded.layout import Layout
from kinemesh.embedded.postgres import installed_major
from kinemesh.errors import AlreadyExists, FailedPrecondition, InvalidArgument, KinemeshError

FILES = {
    "nats/jetstream/$G/streams/KINEMESH_TASKS/msgs/1.blk": b"task",
    "s3/data/1.dat": bytes(range(256)) * 9000,
    "models/pitstop/1/model.bin": b"",
    "postgres/PG_VERSION": f"{installed_major()}\n".encode(),
    "postgres/base/1/1259": b"rows",
}


@pytest.fixture
def layout(open_folder: Path, tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "mesh")
    for name, data in {**FILES, "logs/pose.log": b"said", "postgres/postmaster.pid": b"1"}.items():
        path = layout.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (layout.root / "postgres" / "pg_notify").mkdir()
    load_secrets(layout.secrets)
    return layout


def test_all_comes_back_as_it_was(layout: Layout, tmp_path: Path) -> None:
    archive, target = tmp_path / "b.tar", tmp_path / "new" / "mesh"
    written = write_backup(layout, archive)
    assert written.files == len(FILES) + 1
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert restore_backup(archive, target) == written
    restored = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in restored.items()} == {
        **FILES,
        "secrets.json": layout.secrets.read_bytes(),
    }
    assert (target / "postgres" / "pg_notify").is_dir()
    assert stat.S_IMODE((target / "postgres").stat().st_mode) == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in restored.values())


def test_nothing_is_overwritten(layout: Layout, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    write_backup(layout, archive)
    with pytest.raises(AlreadyExists):
        write_backup(layout, archive)
    with pytest.raises(FailedPrecondition) as caught:
        restore_backup(archive, layout.root)
    assert caught.value.reason == "DATA_DIR_NOT_EMPTY"
    with pytest.raises(FailedPrecondition) as empty:
        write_backup(Layout(tmp_path / "nothing"), tmp_path / "other.tar")
    assert empty.value.reason == "NOTHING_TO_BACK_UP"
    assert not list(tmp_path.glob("other.tar*"))


def test_a_damaged_backup_leaves_nothing(layout: Layout, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    write_backup(layout, archive)
    whole = archive.read_bytes()

    def refused(data: bytes) -> str:
        archive.write_bytes(data)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(KinemeshError) as caught:
            restore_backup(archive, tmp_path / "new")
        assert sorted(tmp_path.iterdir()) == before
        return caught.value.reason

    place = whole.index(b"task")
    assert refused(whole[:place] + b"tusk" + whole[place + 4 :]) == "BACKUP_DAMAGED"
    for end in (0, 700, len(whole) // 2, whole.rindex(b"manifest.json")):
        assert refused(whole[:end]) == "BACKUP_DAMAGED"
    assert refused(whole.replace(b'"format": 1', b'"format": 9')) == "BACKUP_TOO_NEW"
    version = f'"postgres": "{installed_major()}"'.encode()
    assert refused(whole.replace(version, b'"postgres": "12"')) == "POSTGRESQL_DIFFERS"


@pytest.mark.parametrize("name", ["../outside", "/outside", "nats/../../outside", "mesh.json"])
def test_nothing_is_written_outside(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(InvalidArgument) as caught:
        restore_backup(archive, tmp_path / "a" / "new")
    assert caught.value.reason == "BACKUP_DAMAGED"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["b.tar"]


def test_a_link_that_leads_outside_is_refused(layout: Layout, tmp_path: Path) -> None:
    (layout.root / "models" / "link").symlink_to("/etc")
    write_backup(layout, tmp_path / "b.tar")
    with pytest.raises(InvalidArgument):
        restore_backup(tmp_path / "b.tar", tmp_path / "new")
