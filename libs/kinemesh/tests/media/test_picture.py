from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from kinemesh.errors import InvalidArgument, KinemeshError, TooLarge, UnsupportedMedia
from kinemesh.media.picture import decode_picture, encode_picture, picture_size

RNG = np.random.default_rng(3)
IMAGE = np.kron(RNG.integers(0, 256, (6, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_pictures_survive(extension: str) -> None:
    data = encode_picture(IMAGE, extension, 95)
    assert picture_size(data) == (96, 72)
    decoded = decode_picture(data, 96 * 72)
    assert decoded.shape == IMAGE.shape
    assert np.abs(decoded.astype(int) - IMAGE).mean() < (0.1 if extension == ".png" else 12)


def test_the_size_is_known_before_anything_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(TooLarge) as caught:
        decode_picture(data, 33_000_000)
    assert caught.value.reason == "TOO_MANY_PIXELS"


def test_lossless_and_extended_webp() -> None:
    lossless = b"RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + struct.pack("<I", (400 - 1) | (300 - 1) << 14)
    assert picture_size(lossless) == (400, 300)
    extended = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + bytes([0x8F, 1, 0, 0x2B, 1, 0])
    assert picture_size(extended) == (400, 300)


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", InvalidArgument, "EMPTY_PICTURE"),
        (b"hello", UnsupportedMedia, "NOT_A_PICTURE"),
        (b"GIF89a" + bytes(20), UnsupportedMedia, "NOT_A_PICTURE"),
        (b"\xff\xd8\xff", UnsupportedMedia, "CORRUPT_PICTURE"),
        (b"\xff\xd8\xff\xe0\x00\x10" + bytes(14), UnsupportedMedia, "CORRUPT_PICTURE"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00", UnsupportedMedia, "CORRUPT_PICTURE"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 \x00", UnsupportedMedia, "CORRUPT_PICTURE"),
        (encode_picture(IMAGE, ".png", 90)[:60], UnsupportedMedia, "CORRUPT_PICTURE"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, kind: type[KinemeshError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        decode_picture(data, 10_000_000)
    assert caught.value.reason == reason
