"""What was uploaded, looked at before anybody else does: by what it holds, not by what it is called."""

from __future__ import annotations

from typing import Final

from kinemesh import errors
from kinemesh.asset.v1 import asset_pb2
from kinemesh.media.confined import Decoder
from kinemesh.media.types import Limits
from kinemesh.positioned import PositionedFile
from kinemesh_ingest.catalogue import assets
from kinemesh_ingest.settings import UploadSettings

_MIB: Final = 1024 * 1024
HEAD_BYTES: Final = 64
_NOUNS: Final = {assets.VIDEO: "Files", assets.IMAGE: "Pictures", assets.WEIGHTS: "Files of weights"}

_ZIP: Final = b"PK\x03\x04"
_PICKLE: Final = b"\x80"  # the opcode PROTO, with which every pickle of protocol 2 and later begins
_PICKLE_PROTOCOLS: Final = range(2, 6)
_IR_VERSION: Final = 0x08  # field 1 of onnx.ModelProto, a varint
_FIELDS_AFTER: Final = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72)  # its fields 2 to 8 and 14


def limits_of(settings: UploadSettings) -> Limits:
    """What a video may be like."""
    return Limits(
        max_pixels=settings.max_pixels, max_frames=settings.max_frames, max_duration_s=settings.max_duration_s
    )


def check_size(kind: str, size: int, settings: UploadSettings) -> None:
    """Refuse what is empty or too large for its kind.

    :raises InvalidArgument: EMPTY_FILE.
    :raises TooLarge: FILE_TOO_LARGE.
    """
    if size <= 0:
        raise errors.InvalidArgument("EMPTY_FILE", "size_bytes must be at least 1.", field="size_bytes")
    most = most_bytes(kind, settings)
    if size > most:
        raise errors.TooLarge(
            "FILE_TOO_LARGE", f"{_NOUNS[kind]} may have at most {most // _MIB} MB.", field="size_bytes"
        )


def most_bytes(kind: str, settings: UploadSettings) -> int:
    """The largest size that a file of a kind may have."""
    most_mb = {
        assets.VIDEO: settings.max_size_mb,
        assets.IMAGE: settings.max_picture_mb,
        assets.WEIGHTS: settings.max_weights_mb,
    }[kind]
    return most_mb * _MIB


def check_content(
    kind: str, source: PositionedFile, settings: UploadSettings, decoder: Decoder
) -> asset_pb2.Video | None:
    """Look at an upload whose size is right; answers with what a video is like. Blocks.

    :raises InvalidArgument: NOT_A_VIDEO and what else is wrong with a video; NOT_A_PICTURE, CORRUPT_PICTURE,
        TOO_MANY_PIXELS; UNKNOWN_FORMAT of weights; and what :class:`kinemesh.media.confined.Decoder` raises.
    """
    if kind == assets.IMAGE:
        decoder.decode_picture(source.read(), settings.max_pixels)
        return None
    if kind == assets.WEIGHTS:
        if not weights_suffix(source.read(HEAD_BYTES)):
            raise errors.UnsupportedMedia("UNKNOWN_FORMAT", "Weights come as .onnx or .pt; this file is neither.")
        return None
    info = decoder.probe(source, limits_of(settings))
    return asset_pb2.Video(
        width=info.width,
        height=info.height,
        rotation=info.rotation,
        frame_rate=float(info.frame_rate),
        duration_sec=info.duration_s,
        codec=info.codec,
        container=info.container,
        has_audio=info.has_audio,
    )


def weights_suffix(head: bytes) -> str:
    """``.onnx`` or ``.pt`` by a file's first bytes, empty if it is neither. Only the importer looks further."""
    if head.startswith(_ZIP) or (head[:1] == _PICKLE and len(head) > 1 and head[1] in _PICKLE_PROTOCOLS):
        return ".pt"
    if len(head) > 2 and head[0] == _IR_VERSION and head[1] < 0x80 and head[2] in _FIELDS_AFTER:
        return ".onnx"
    return ""
