"""Media that is looked at in confined processes gives what it gives elsewhere, and hostile media the same refusals."""

from __future__ import annotations

import io
import signal
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kinemesh import media
from kinemesh.confined.settings import DecodingSettings
from kinemesh.errors import KinemeshError, OutOfRange, TooLarge, UnsupportedMedia
from kinemesh.media.confined import Decoder
from kinemesh.media.picture import decode_picture, encode_picture
from kinemesh.testing.decoding import confined_processes

NAMES = ("open_gop.mkv", "fragmented.mp4", "vp8.webm", "mpeg4.avi", "trimmed.mp4", "hevc.mp4")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    made = Decoder(DecodingSettings(memory_mb=1024))
    yield made
    made.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_is_what_it_is_elsewhere(decoder: Decoder, clips: Path, name: str) -> None:
    path = clips / name
    assert decoder.probe(path) == media.probe(path)
    assert decoder.build_index(path).to_bytes() == media.build_index(path).to_bytes()


@pytest.mark.parametrize(
    "options", [{}, {"layout": "nv12"}, {"size": (50, 30), "whole": lambda number: number % 7 == 0}]
)
@pytest.mark.parametrize("name", ["open_gop.mkv", "mpeg4.avi"])
def test_frames_are_the_same_to_the_bit(decoder: Decoder, clips: Path, name: str, options: dict[str, object]) -> None:
    path = clips / name
    index = media.build_index(path)
    given = list(decoder.decode(path, index, 7, 60, **options))  # type: ignore[arg-type]
    wanted = list(media.decode(path, index, 7, 60, **options))  # type: ignore[arg-type]
    assert [(one.index, one.pts) for one in given] == [(one.index, one.pts) for one in wanted]
    for one, other in zip(given, wanted, strict=True):
        assert np.array_equal(one.image, other.image)
        if one.whole is None or other.whole is None:
            assert one.whole is other.whole
        else:
            assert np.array_equal(one.whole, other.whole)


def test_frames_may_be_left_over(decoder: Decoder, clips: Path) -> None:
    path = clips / "constant.mp4"
    frames = decoder.decode(path, media.build_index(path))
    assert next(frames).index == 0
    frames.close()


def test_what_cannot_be_decoded_is_refused_alike(decoder: Decoder, clips: Path) -> None:
    path = clips / "constant.mp4"
    index = media.build_index(path)
    with pytest.raises(OutOfRange):
        decoder.decode(path, index, 0, index.frame_count + 1)
    for data in (b"", b"\0" * 5000, path.read_bytes()[:20_000], path.read_bytes()[:-5000]):
        refusals = []
        for look in (decoder.probe, decoder.build_index, media.probe, media.build_index):
            with pytest.raises(KinemeshError) as caught:
                look(io.BytesIO(data))
            refusals.append((type(caught.value), caught.value.reason, caught.value.message))
        assert refusals[:2] == refusals[2:]


def test_a_picture_is_what_it_is_elsewhere(decoder: Decoder) -> None:
    image = np.random.default_rng(3).integers(0, 255, (70, 41, 3), np.uint8)
    with decoder.pictures() as decode_one:
        for extension in (".jpg", ".png", ".webp"):
            data = encode_picture(image, extension, 80)
            assert np.array_equal(decode_one(data, 10_000), decode_picture(data, 10_000))
        with pytest.raises(TooLarge):
            decode_one(data, 100)
        damaged = encode_picture(image, ".png", 80)[:80]
        for decode in (decode_one, decode_picture):
            with pytest.raises(KinemeshError) as caught:
                decode(damaged, 10_000)
            assert caught.value.reason == "CORRUPT_PICTURE"


def test_a_picture_that_takes_too_much_memory_ends_its_decoder_only() -> None:
    decoder = Decoder(DecodingSettings(memory_mb=64))
    try:
        with pytest.raises(TooLarge) as caught:
            decoder.decode_picture(_png(6000, 6000), 100_000_000)
        assert caught.value.reason == "DECODER_OUT_OF_MEMORY"
        assert decoder.decode_picture(_png(20, 10), 1000).shape == (10, 20, 3)
    finally:
        decoder.close()


def test_a_series_goes_on_after_a_picture_that_ends_its_decoder() -> None:
    decoder = Decoder(DecodingSettings(memory_mb=64))
    try:
        with decoder.pictures() as decode_one:
            for _ in range(2):
                with pytest.raises(TooLarge):
                    decode_one(_png(6000, 6000), 100_000_000)
                assert decode_one(_png(20, 10), 1000).shape == (10, 20, 3)
    finally:
        decoder.close()


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(bytes((1 + width * 3) * height), 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_decoder_that_crashes_takes_no_other_with_it(decoder: Decoder, clips: Path) -> None:
    path = clips / "constant.mp4"
    index = media.build_index(path)
    ending = confined_processes()
    with closing(decoder.decode(path, index)) as lost, closing(decoder.decode(path, index)) as kept:
        assert next(lost).index == 0
        (first,) = confined_processes() - ending
        assert next(kept).index == 0
        first.send_signal(signal.SIGSEGV)
        with pytest.raises(UnsupportedMedia) as caught:
            list(lost)
        assert caught.value.reason == "DECODER_CRASHED"
        assert [frame.index for frame in kept] == list(range(1, index.frame_count))
