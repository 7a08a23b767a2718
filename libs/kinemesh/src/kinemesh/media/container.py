"""Opening hostile media.

The container is recognised by its first bytes and opened with exactly that demuxer, so that no playlist, image list or
other format that refers to further files is ever tried. Bytes come from our own reader only: libavformat opens nothing.
"""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from kinemesh.errors import TooLarge, UnsupportedMedia
from kinemesh.media import isobmff
from kinemesh.media.source import BinaryFile, Source, open_bytes, read_up_to
from kinemesh.media.types import Limits

VIDEO_DECODERS = {
    *("h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "mjpeg", "prores"),
    *("mpeg4", "msmpeg4", "msmpeg4v2", "h263", "mpeg1video", "mpeg2video"),
}
AUDIO_DECODERS = {
    *("aac", "mp3", "mp3float", "opus", "libopus", "vorbis", "ac3", "eac3", "flac", "alac", "amrnb", "amrwb"),
    *("mp2", "mp2float", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt"),  # old cameras
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_mulaw", "pcm_alaw"),
}
_DEMUXERS = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}
_BUFFER_BYTES = 256 << 10  # few, large reads: the source may be a range reader over a network


class _Reader:
    """What libavformat may see of a source: bytes, and neither a name nor a way to close it."""

    def __init__(self, file: BinaryFile) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


@contextmanager
def open_media(source: Source, limits: Limits, *, checked: bool = False) -> Iterator[InputContainer]:
    """Open a video for demuxing.

    :param checked: the file passed :func:`kinemesh.media.probe` or :func:`kinemesh.media.build_index` before, so that
        its structure need not be read again.
    :raises UnsupportedMedia: EMPTY_FILE, NOT_A_VIDEO, UNSUPPORTED_CONTAINER, TRUNCATED, CORRUPT_MEDIA, NO_FRAMES,
        EXTERNAL_REFERENCE.
    :raises TooLarge: TOO_MANY_STREAMS, TOO_MANY_FRAMES, TOO_LARGE_INDEX.
    """
    with open_bytes(source) as file:
        kind = recognise(file)
        if not checked:
            _check_structure(file, kind, limits)
        file.seek(0)
        options = {
            "format_whitelist": _DEMUXERS[kind],
            "codec_whitelist": ",".join(sorted(VIDEO_DECODERS | AUDIO_DECODERS)),
            "protocol_whitelist": "none",
            "max_pixels": str(limits.max_pixels),
            "max_streams": str(2 * limits.max_streams),
            "threads": "1",
        }
        with translated_errors():
            container = av.open(
                _Reader(file),
                "r",
                format=_DEMUXERS[kind],
                options=options,
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
                io_open=_refuse_open,
            )
        with container:
            if len(container.streams) > limits.max_streams:
                raise TooLarge(
                    "TOO_MANY_STREAMS",
                    f"The file has more than {limits.max_streams} streams.",
                    max_streams=limits.max_streams,
                )
            yield container


def _refuse_open(*_: Any) -> Any:
    raise UnsupportedMedia("EXTERNAL_REFERENCE", "The file refers to other files; such references are not followed.")


def recognise(file: BinaryFile) -> str:
    """``mp4``, ``matroska`` or ``avi``, by the first bytes and never by the name.

    :raises UnsupportedMedia: EMPTY_FILE, UNSUPPORTED_CONTAINER, NOT_A_VIDEO.
    """
    file.seek(0)
    head = read_up_to(file, 400)
    if not head:
        raise UnsupportedMedia("EMPTY_FILE", "The file is empty.")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"):
        return "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"AVIX"):
        return "avi"
    if (
        head.startswith((b"OggS", b"FLV", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b".RMF"))
        or head[::188][:2] == b"GG"
        or head[4::192][:2] == b"GG"
    ):
        raise UnsupportedMedia(
            "UNSUPPORTED_CONTAINER", "This kind of video file is not supported; use MP4, MOV, MKV, WebM or AVI."
        )
    raise UnsupportedMedia("NOT_A_VIDEO", "The file is not a video; use MP4, MOV, MKV, WebM or AVI.")


def _check_structure(file: BinaryFile, kind: str, limits: Limits) -> None:
    size = file.seek(0, io.SEEK_END)
    if kind == "mp4":
        isobmff.check(file, size, limits)
        return
    file.seek(0)
    claimed = (
        _claimed_matroska_size(read_up_to(file, 4096))
        if kind == "matroska"
        else _claimed_riff_size(read_up_to(file, 8))
    )
    if claimed > size:
        raise UnsupportedMedia(
            "TRUNCATED",
            "The file ends before its contents do; it was cut short.",
            missing_bytes=claimed - size,
        )


def _claimed_riff_size(head: bytes) -> int:
    return 8 + struct.unpack_from("<I", head, 4)[0] if len(head) >= 8 else 0


def _claimed_matroska_size(head: bytes) -> int:
    """End of the Segment by its header (RFC 8794, RFC 9559); 0 if unknown, as in live recordings."""
    _, length, position = _ebml_element(head, 0)
    identifier, size, body = _ebml_element(head, position + (length or 0))
    return body + size if identifier == 0x18538067 and size is not None else 0


def _ebml_element(data: bytes, position: int) -> tuple[int, int | None, int]:
    """(identifier, size or None if unknown, start of the body); zeros where the data end."""
    identifier, position, _ = _ebml_integer(data, position, keep_marker=True)
    size, position, unknown = _ebml_integer(data, position, keep_marker=False)
    return identifier, None if unknown else size, position


def _ebml_integer(data: bytes, position: int, *, keep_marker: bool) -> tuple[int, int, bool]:
    if position >= len(data) or data[position] == 0:
        return 0, position, True
    length = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + length], "big")
    ones = (1 << 7 * length) - 1
    return value if keep_marker else value & ones, position + length, value & ones == ones


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn libav's errors into ours; errors of the source's own reader pass as they are.

    :raises UnsupportedMedia: CORRUPT_MEDIA, NO_FRAMES
    :raises MemoryError: the file asks for more than there is; a confined process makes a refusal of it.
    """
    try:
        yield
    except av.error.EOFError as error:  # only while opening: packets just end
        raise UnsupportedMedia("NO_FRAMES", "The file ends before its first frame.") from error
    except av.error.FFmpegError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        raise UnsupportedMedia("CORRUPT_MEDIA", "The file cannot be read as a video; it is damaged.") from error


def video_stream(container: InputContainer, limits: Limits) -> VideoStream:
    """The stream to work on; all others are set to be skipped by the demuxer.

    :raises UnsupportedMedia: NO_VIDEO_STREAM, UNSUPPORTED_CODEC, CORRUPT_MEDIA.
    :raises TooLarge: TOO_MANY_PIXELS.
    """
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise UnsupportedMedia("NO_VIDEO_STREAM", "The file holds no video stream.")
    best = container.streams.best("video")
    stream = next((video for video in videos if best is not None and video.index == best.index), videos[0])
    context = cast("av.VideoCodecContext | None", stream.codec_context)
    if context is None or context.codec.name not in VIDEO_DECODERS:
        name = context.codec.name if context is not None else "unknown"
        raise UnsupportedMedia("UNSUPPORTED_CODEC", f"The video codec ({name}) is not supported.", codec=name)
    check_pixels(context.width, context.height, limits)
    if not stream.time_base:
        raise UnsupportedMedia("CORRUPT_MEDIA", "The video stream has no time base.")
    context.options = {"max_pixels": str(limits.max_pixels)}
    keep_only(container, stream.index)
    return stream


def audio_stream(container: InputContainer) -> AudioStream | None:
    """The first audio stream that can be decoded, if any."""
    for stream in container.streams.audio:
        context = cast("av.AudioCodecContext | None", stream.codec_context)
        if context is not None and context.codec.name in AUDIO_DECODERS and stream.time_base:
            return stream
    return None


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """:raises TooLarge: TOO_MANY_PIXELS"""
    if width * height > limits.max_pixels:
        raise TooLarge(
            "TOO_MANY_PIXELS",
            f"Frames of {width}×{height} are too large; at most {limits.max_pixels} pixels are accepted.",
            width=width,
            height=height,
            max_pixels=limits.max_pixels,
        )


def keep_only(container: InputContainer, index: int) -> None:
    for stream in container.streams:
        if stream.index != index:
            stream.discard = Discard.all
