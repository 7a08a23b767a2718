"""What is not a sound video ends in a reason, and nothing but the file itself is ever read."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from kinemesh import media
from kinemesh.errors import KinemeshError, TooLarge
from kinemesh.media.synthetic import write_clip

from .conftest import CONSTANT, TICKS


def _refused(source: media.Source, limits: media.Limits = media.DEFAULT_LIMITS) -> KinemeshError:
    """The error that probing and indexing agree on."""
    errors = []
    for look in (media.probe, media.build_index):
        with pytest.raises(KinemeshError) as caught:
            look(source, limits)
        errors.append(caught.value)
    assert errors[0].reason == errors[1].reason
    assert errors[0].message.endswith(".")
    return errors[0]


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(bytes((1 + (width + 7) // 8) * height), 1)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4s", 8 + len(body), kind) + body


FTYP = _box(b"ftyp", b"isom\0\0\2\0isommp41")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "EMPTY_FILE"),
        (b"once upon a time there was no video\n" * 50, "NOT_A_VIDEO"),
        (b"\0" * 5000, "NOT_A_VIDEO"),
        (_png(30_000, 30_000), "NOT_A_VIDEO"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 500, "NOT_A_VIDEO"),
        (b"PK\3\4" + b"\0" * 500, "NOT_A_VIDEO"),
        (_box(b"ftyp", b"heic\0\0\0\0") + _box(b"moov"), "NOT_A_VIDEO"),
        (b"OggS" + b"\0" * 500, "UNSUPPORTED_CONTAINER"),
        (b"FLV\1" + b"\0" * 500, "UNSUPPORTED_CONTAINER"),
        ((b"G" + b"\0" * 187) * 10, "UNSUPPORTED_CONTAINER"),
        (FTYP, "TRUNCATED"),
        (FTYP + _box(b"mdat", b"\0" * 1000), "TRUNCATED"),
        (FTYP + _box(b"moov", _box(b"cmov")), "UNSUPPORTED_CONTAINER"),
        (FTYP + _box(b"moov"), "NO_VIDEO_STREAM"),
        (b"\x1a\x45\xdf\xa3" + b"\x80" * 300, "NO_FRAMES"),
        (b"RIFF\x10\0\0\0AVI \0\0\0\0\0\0\0\0\0\0\0\0", "CORRUPT_MEDIA"),
    ],
)
def test_what_is_no_video_has_a_reason(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "renamed.mp4"
    path.write_bytes(data)
    assert _refused(path).reason == reason
    assert _refused(io.BytesIO(data)).reason == reason


def test_playlists_are_never_followed(clips: Path, tmp_path: Path) -> None:
    target = clips / "constant.mp4"
    playlists = {
        "hls": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "dash": f"<?xml version='1.0'?><MPD><Period><BaseURL>file://{target}</BaseURL></Period></MPD>",
    }
    for text in playlists.values():
        path = tmp_path / "renamed.mp4"
        path.write_text(text)
        assert _refused(path).reason == "NOT_A_VIDEO"


def test_media_in_other_files_is_refused() -> None:
    def movie(reference: bytes) -> bytes:
        tables = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), reference))
        return FTYP + _box(b"moov", _box(b"trak", _box(b"mdia", _box(b"minf", tables))))

    outside = _box(b"url ", struct.pack(">I", 0), b"file:///etc/passwd\0")
    inside = _box(b"url ", struct.pack(">I", 1))
    assert _refused(io.BytesIO(movie(outside))).reason == "EXTERNAL_REFERENCE"
    assert _refused(io.BytesIO(movie(inside))).reason == "NO_VIDEO_STREAM"


def test_tables_that_claim_more_than_the_file_holds_are_refused_before_memory_is_taken() -> None:
    sizes = _box(b"stsz", struct.pack(">III", 0, 4096, 2**31))
    movie = FTYP + _box(b"moov", _box(b"trak", _box(b"mdia", _box(b"minf", _box(b"stbl", sizes)))))
    assert _refused(io.BytesIO(movie)).reason == "CORRUPT_MEDIA"
    runs = _box(b"moof", _box(b"traf", _box(b"trun", struct.pack(">II", 0, 2**31))))
    assert _refused(io.BytesIO(FTYP + _box(b"moov") + runs)).reason == "TOO_MANY_FRAMES"


@pytest.mark.parametrize(
    "name", ["constant.mp4", "audio.mp4", "open_gop.mkv", "b_frames.avi", "vp9.webm", "fragmented.mp4"]
)
@pytest.mark.parametrize("part", [0.4, 0.9, 0.999])
def test_files_cut_short_are_noticed_without_decoding(clips: Path, name: str, part: float) -> None:
    data = (clips / name).read_bytes()
    assert _refused(io.BytesIO(data[: int(len(data) * part)])).reason == "TRUNCATED"


def test_cut_faststart_file_is_noticed(clips: Path, tmp_path: Path) -> None:
    """Its index is whole; only the pictures are missing."""
    write_clip(tmp_path / "front.mp4", pts=CONSTANT, container_options={"movflags": "+faststart"})
    data = (tmp_path / "front.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert _refused(io.BytesIO(data[: len(data) * 2 // 3])).reason == "TRUNCATED"


def test_sound_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame("fltp", "stereo", 1024)
        frame.sample_rate = 48_000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert _refused(path).reason == "NO_VIDEO_STREAM"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("empty.mp4", "libx264", {"movflags": "empty_moov+frag_keyframe"}),
        ("empty.mkv", "libx264", {}),
        ("empty.avi", "mpeg4", {}),
    ],
)
def test_video_without_frames(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    write_clip(tmp_path / name, pts=[], time_base=TICKS, codec=codec, container_options=options)
    assert _refused(tmp_path / name).reason == "NO_FRAMES"


def test_codecs_that_are_not_on_the_list(tmp_path: Path) -> None:
    path = tmp_path / "huffyuv.avi"
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("ffvhuff", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    error = _refused(path)
    assert (error.reason, error.metadata) == ("UNSUPPORTED_CODEC", {"codec": "ffvhuff"})


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (media.Limits(max_pixels=192 * 107), "TOO_MANY_PIXELS"),
        (media.Limits(max_duration_s=2.5), "TOO_LONG"),
        (media.Limits(max_streams=1), "TOO_MANY_STREAMS"),
    ],
)
def test_limits(clips: Path, limits: media.Limits, reason: str) -> None:
    error = _refused(clips / "audio.mp4", limits)
    assert isinstance(error, TooLarge)
    assert error.reason == reason


def test_frames_larger_than_their_header_says_are_never_decoded(clips: Path) -> None:
    data = bytearray((clips / "mjpeg.avi").read_bytes())
    start_of_frame = b"\xff\xc0\x00\x11\x08"
    at = data.find(start_of_frame)
    while at >= 0:
        struct.pack_into(">HH", data, at + 5, 30_000, 30_000)
        at = data.find(start_of_frame, at + 1)
    assert _refused(io.BytesIO(data)).reason == "CORRUPT_MEDIA"


def test_limit_of_frames(clips: Path) -> None:
    for name in ("constant.mp4", "vp8.webm", "mjpeg.avi"):
        with pytest.raises(TooLarge) as caught:
            media.build_index(clips / name, media.Limits(max_frames=79))
        assert caught.value.reason == "TOO_MANY_FRAMES"
        assert media.build_index(clips / name, media.Limits(max_frames=80)).frame_count == 80


def test_errors_of_the_source_itself_pass_unchanged(clips: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 5000:
                raise ConnectionResetError("storage went away")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        media.build_index(Broken((clips / "audio.mp4").read_bytes()))


def _flip(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice([1, 4, 40])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _flip_headers(data: bytearray, rng: random.Random) -> bytes:
    at = max(0, data.find(b"moov"))
    for _ in range(rng.choice([1, 3, 10])):
        data[min(len(data) - 1, at + rng.randrange(1500))] = rng.randrange(256)
    return bytes(data)


def _cut(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _drop(data: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return bytes(data[:at] + data[at + rng.randrange(1, 2000) :])


@pytest.mark.parametrize("damage", [_flip, _flip_headers, _cut, _drop])
@pytest.mark.parametrize(
    "name", ["audio.mp4", "fragmented.mp4", "open_gop.mkv", "b_frames.avi", "hevc.mp4", "vp8.webm"]
)
def test_damage_ends_in_a_reason_or_in_frames(
    clips: Path, name: str, damage: Callable[[bytearray, random.Random], bytes]
) -> None:
    original = (clips / name).read_bytes()
    limits = media.Limits(max_pixels=1920 * 1080, max_frames=10_000)
    for seed in range(12):
        source = io.BytesIO(damage(bytearray(original), random.Random(f"{name}{damage.__name__}{seed}")))
        for step in (media.probe, _read_all):
            try:
                step(source, limits)
            except MemoryError:
                pass  # a header that asks for terabytes; media.confined refuses the file
            except KinemeshError as error:
                assert error.reason.isupper()  # noqa: PT017 - all outcomes are right


def _read_all(source: io.BytesIO, limits: media.Limits) -> None:
    index = media.build_index(source, limits)
    count = sum(1 for _ in media.decode(source, index, size=(32, 18), limits=limits))
    assert count == index.frame_count
