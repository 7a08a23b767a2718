"""Encoded pictures: recognised and measured before anything decodes them, because a few bytes can claim gigapixels."""

from __future__ import annotations

import struct
from typing import Final

import cv2
import numpy as np

from kinemesh.errors import InvalidArgument, TooLarge, UnsupportedMedia
from kinemesh.nv12 import Image

MOST_PIXELS: Final = 8192 * 4320
"""Of a picture, where nothing else is set."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, ITU-T T.81 table B.1
_NO_MEMORY: Final = -4  # cv::Error::StsNoMem
_JPEG_BARE: Final = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


def decode_picture(data: bytes, max_pixels: int) -> Image:
    """Decode a JPEG, PNG or WebP, upright as its EXIF orientation says.

    :returns: uint8 [height, width, 3], RGB.
    :raises InvalidArgument: EMPTY_PICTURE
    :raises UnsupportedMedia: NOT_A_PICTURE, CORRUPT_PICTURE
    :raises TooLarge: TOO_MANY_PIXELS
    """
    check_picture(data, max_pixels)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from error
        image = None
    if image is None:
        raise UnsupportedMedia("CORRUPT_PICTURE", "The picture cannot be decoded.")
    return np.ascontiguousarray(image, np.uint8)


def check_picture(data: bytes, max_pixels: int) -> tuple[int, int]:
    """(width, height) as stored, of a picture that may be decoded.

    :raises InvalidArgument: EMPTY_PICTURE
    :raises UnsupportedMedia: NOT_A_PICTURE, CORRUPT_PICTURE
    :raises TooLarge: TOO_MANY_PIXELS
    """
    if not data:
        raise InvalidArgument("EMPTY_PICTURE", "The picture is empty.", field="frame.data")
    width, height = picture_size(data)
    if width * height > max_pixels:
        raise TooLarge(
            "TOO_MANY_PIXELS",
            f"A picture of {width}×{height} is too large; at most {max_pixels} pixels are accepted.",
            width=width,
            height=height,
            max_pixels=max_pixels,
        )
    return width, height


def encode_picture(image: Image, extension: str, quality: int) -> bytes:
    """Encode RGB as ``.jpg``, ``.png`` or ``.webp``; ``quality`` is 1 to 100, and PNG has none."""
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }[extension]
    encoded = cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
    return encoded.tobytes()


def picture_size(data: bytes) -> tuple[int, int]:
    """(width, height) as stored, from the header alone.

    :raises UnsupportedMedia: NOT_A_PICTURE, CORRUPT_PICTURE
    """
    try:
        if data.startswith(_PNG) and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8\xff"):
            width, height = _jpeg_size(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        else:
            raise UnsupportedMedia("NOT_A_PICTURE", "The data is not a JPEG, PNG or WebP picture.")
    except struct.error:
        width = height = 0
    if not (width and height):
        raise UnsupportedMedia("CORRUPT_PICTURE", "The picture's header is damaged.")
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    while position < len(data):
        marker, code = struct.unpack_from(">BB", data, position)
        if marker != 0xFF:
            return 0, 0
        if code == 0xFF:  # fill byte
            position += 1
            continue
        if code in _JPEG_BARE:
            position += 2
            continue
        if code in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + max(length, 2)
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """RFC 9649: a simple lossy, a simple lossless or an extended file."""
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return 1 + low_w + (high_w << 16), 1 + low_h + (high_h << 16)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
