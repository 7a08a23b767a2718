"""Checks on MP4 and MOV files before a demuxer touches them (ISO/IEC 14496-12).

Only box headers and the ``moov`` and ``moof`` boxes are read. The checks refuse what a demuxer would tolerate, follow
or allocate memory for: files cut short, media in other files, and tables that claim more than the file can hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kinemesh.errors import TooLarge, UnsupportedMedia
from kinemesh.media.source import BinaryFile, read_up_to
from kinemesh.media.types import Limits

_MAX_BOXES = 200_000
_MAX_INDEX_BYTES = 256 << 20
_MAX_DEPTH = 8
_CONTAINERS = {b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"traf", b"mvex"}
_STILL_BRANDS = {b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"avif", b"avis", b"crx "}


def check(file: BinaryFile, size: int, limits: Limits) -> None:
    """Refuse a file that cannot be demuxed whole and safely.

    :param file: read from its start; the position afterwards is undefined.
    :param size: length of the file in bytes.
    :raises UnsupportedMedia: TRUNCATED, NOT_A_VIDEO, EXTERNAL_REFERENCE, CORRUPT_MEDIA, UNSUPPORTED_CONTAINER.
    :raises TooLarge: TOO_MANY_FRAMES, TOO_LARGE_INDEX.
    """
    has_movie = False
    fragment_samples = 0
    for kind, start, end in _top_level(file, size):
        if end > size:
            raise UnsupportedMedia(
                "TRUNCATED",
                "The file ends before its contents do; it was cut short.",
                missing_bytes=end - size,
            )
        if kind in (b"moov", b"moof"):
            body = _read(file, start, end)
            has_movie = has_movie or kind == b"moov"
            fragment_samples += _check_tables(body, size, limits)
            _check_frames(fragment_samples, 4 * limits.max_frames)
        elif kind == b"ftyp" and _read(file, start, min(end, start + 4)) in _STILL_BRANDS:
            raise UnsupportedMedia("NOT_A_VIDEO", "The file is a still picture, not a video.")
    if not has_movie:
        raise UnsupportedMedia(
            "TRUNCATED", "The file has no index (moov box); the recording or the upload did not finish."
        )


def _top_level(file: BinaryFile, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of the body, end) of every outermost box."""
    position = 0
    for _ in range(_MAX_BOXES):
        if size - position < 8:
            return
        file.seek(position)
        header = read_up_to(file, 16)
        length, kind = struct.unpack_from(">I4s", header)
        start = position + 8
        if length == 1:
            if len(header) < 16:
                return
            (length,) = struct.unpack_from(">Q", header, 8)
            start = position + 16
        end = size if length == 0 else position + length
        if end < start or not all(32 <= byte < 127 or byte == 0xA9 for byte in kind):
            if position:  # junk after the last box is harmless; missing parts show in what was found before it
                return
            raise UnsupportedMedia("CORRUPT_MEDIA", "The file does not start with a valid MP4 box.")
        yield kind, start, end
        position = end


def _read(file: BinaryFile, start: int, end: int) -> bytes:
    if end - start > _MAX_INDEX_BYTES:
        raise TooLarge("TOO_LARGE_INDEX", "The index of the file is larger than any real video needs.")
    file.seek(start)
    return read_up_to(file, end - start)


def _check_tables(body: bytes, size: int, limits: Limits, depth: int = 0) -> int:
    """Check the boxes in ``body``; the number of samples in its fragment runs."""
    samples = 0
    position = 0
    while position + 8 <= len(body):
        length, kind = struct.unpack_from(">I4s", body, position)
        start, end = position + 8, position + length
        if length == 1 and position + 16 <= len(body):
            start, end = position + 16, position + struct.unpack_from(">Q", body, position + 8)[0]
        if length == 0:
            end = len(body)
        if end < start or end > len(body):
            return samples  # some writers end a list of boxes with four zero bytes; the demuxer judges the rest
        inner = body[start:end]
        if kind == b"cmov":
            raise UnsupportedMedia("UNSUPPORTED_CONTAINER", "A compressed movie index is not supported.")
        if kind in _CONTAINERS and depth < _MAX_DEPTH:
            samples += _check_tables(inner, size, limits, depth + 1)
        elif kind == b"dref":
            _check_references(inner)
        elif kind == b"stsz" and len(inner) >= 12:
            each, count = struct.unpack_from(">II", inner, 4)
            if each * count > size:
                raise UnsupportedMedia("CORRUPT_MEDIA", "The index claims more media than the file holds.")
        elif kind == b"trun" and len(inner) >= 8:
            samples += struct.unpack_from(">I", inner, 4)[0]
        position = end
    return samples


def _check_references(body: bytes) -> None:
    """A data reference (``dref``) must point into the file itself."""
    position = 8
    while position + 12 <= len(body):
        (length,) = struct.unpack_from(">I", body, position)
        self_contained = body[position + 11] & 1
        if not self_contained and length > 12:
            raise UnsupportedMedia(
                "EXTERNAL_REFERENCE", "The file keeps its media in other files; such references are not followed."
            )
        if length < 12:
            return
        position += length


def _check_frames(count: int, most: int) -> None:
    if count > most:
        raise TooLarge("TOO_MANY_FRAMES", f"The video claims {count} frames; at most {most} are accepted.")
