"""A video that browsers play is copied: same packets, same times, same sound. Others are told apart."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from kinemesh import media
from kinemesh.media.synthetic import is_upright, read_number, write_clip

PTS = [3000 * number + (number % 3) * 400 for number in range(40)]
PLAYABLE: Mapping[str, Mapping[str, Any]] = {
    "plain.mp4": {},
    "b_frames.mp4": {"b_frames": 3, "open_gop": True, "audio": "aac"},
    "late_start.mp4": {"pts": [50_000 + stamp for stamp in PTS], "b_frames": 2, "audio": "aac"},
    "late_sound.mov": {"audio": "aac", "audio_start_s": 0.5},
    "mp3.mp4": {"audio": "mp3"},
    "pcm.mov": {"audio": "pcm_s16le"},
    "opus.mp4": {"audio": "libopus"},
    "rotated_90.mp4": {"rotation": 90, "audio": "aac"},
    "rotated_180.mov": {"rotation": 180},
    "rotated_270.mp4": {"rotation": 270, "b_frames": 2},
    "fragmented.mp4": {"b_frames": 2, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "baseline.mp4": {"codec_options": {"profile": "baseline"}},
}
UNPLAYABLE: Mapping[str, Mapping[str, Any]] = {
    "mpeg4.avi": {"pts": list(range(40)), "time_base": Fraction(1, 30), "codec": "mpeg4"},
    "mpeg4.mp4": {"time_base": Fraction(1, 30_000), "codec": "mpeg4"},
    "vp9.webm": {"codec": "libvpx-vp9", "codec_options": {"deadline": "realtime", "cpu-used": "8"}, "audio": "libopus"},
    "h264.mkv": {"audio": "libopus"},
    "hevc.mp4": {"codec": "libx265", "codec_options": {"x265-params": "log-level=none:pools=none:frame-threads=1"}},
    "ten_bits.mp4": {"pixel_format": "yuv420p10le"},
    "full_chroma.mp4": {"pixel_format": "yuv444p"},
}


def _made(path: Path, **options: Any) -> media.FrameIndex:
    write_clip(path, **{"pts": PTS, **options})
    return media.build_index(path)


def _packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    with av.open(os.fspath(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [(float((p.pts or 0) * p.time_base), bytes(p)) for p in container.demux(streams) if p.size]


@pytest.mark.parametrize("name", PLAYABLE)
def test_what_browsers_play_is_copied(tmp_path: Path, name: str) -> None:
    source, out = tmp_path / name, tmp_path / "out.mp4"
    index = _made(source, **PLAYABLE[name])
    assert media.plays_in_browsers(source, index)
    assert media.remux(source, index, out) == index.frame_count
    copied = media.build_index(out)
    np.testing.assert_allclose(copied.times, index.times, atol=1e-9)
    assert copied.duration_s == pytest.approx(index.duration_s, abs=1e-9)
    assert (copied.orientation, copied.width, copied.height) == (index.orientation, index.width, index.height)
    assert [data for _, data in _packets(out, "video")] == [data for _, data in _packets(source, "video")]
    frames = [frame.image for frame in media.decode(out, copied)]
    assert [read_number(image) for image in frames] == list(range(40))
    assert is_upright(frames[0])
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    before, after = media.probe(source).audio_codec, media.probe(out).audio_codec
    if before in ("", "aac", "mp3"):
        assert after == before
        heard, original = _packets(out, "audio"), _packets(source, "audio")
        assert [sound for _, sound in heard] == [sound for _, sound in original]
        np.testing.assert_allclose([at for at, _ in heard], [at for at, _ in original], atol=1e-3)
    else:
        assert after == "aac"


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_what_they_do_not_play_is_told_apart(tmp_path: Path, name: str) -> None:
    index = _made(tmp_path / name, **UNPLAYABLE[name])
    assert not media.plays_in_browsers(tmp_path / name, index)


def test_hidden_frames_are_not_copied(clips: Path) -> None:
    """Players differ in what they show of frames that an edit list hides."""
    assert not media.plays_in_browsers(clips / "trimmed.mp4", media.build_index(clips / "trimmed.mp4"))


def test_frames_at_one_time_are_told_apart_by_counting(tmp_path: Path) -> None:
    """Such files come from sloppy recorders. Every frame stays, all others at their times."""
    source = tmp_path / "doubled.mp4"
    index = _made(source, pts=[3000 * number + 400 * (number % 2) for number in range(40)])
    data = bytearray(source.read_bytes())
    entry = data.index(b"stts") + 12 + 8 * 5
    struct.pack_into(">II", data, entry, struct.unpack_from(">I", data, entry)[0], 0)
    source.write_bytes(data)
    doubled = media.build_index(source)
    step = int(index.pts[6] - index.pts[5])
    np.testing.assert_array_equal(doubled.pts[:6], index.pts[:6])
    assert doubled.pts[6] == doubled.pts[5] + 1
    np.testing.assert_array_equal(doubled.pts[7:], index.pts[7:] - step)
    for start in (0, 6, 20):
        shown = [read_number(frame.image) for frame in media.decode(source, doubled, start)]
        assert shown == list(range(start, 40))
    assert not media.plays_in_browsers(source, doubled)


def test_a_copy_is_deterministic_and_says_nothing_of_where_it_was_made(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    index = _made(source, audio="aac")
    with av.open(os.fspath(source)) as original, av.open(os.fspath(tmp_path / "tagged.mp4"), "w") as tagged:
        tagged.metadata["comment"] = "+47.3769+008.5417/"
        streams = {s.index: tagged.add_stream_from_template(s, opaque=True) for s in original.streams}
        for packet in original.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                tagged.mux_one(packet)
    index = media.build_index(tmp_path / "tagged.mp4")
    assert b"+47.3769" in (tmp_path / "tagged.mp4").read_bytes()
    for name in ("one.mp4", "two.mp4"):
        media.remux(tmp_path / "tagged.mp4", index, tmp_path / name)
    data = (tmp_path / "one.mp4").read_bytes()
    assert data == (tmp_path / "two.mp4").read_bytes()
    assert b"+47.3769" not in data


@pytest.mark.data
def test_real_clips_that_browsers_play_are_copied_exactly(real_clip: Path, tmp_path: Path) -> None:
    index = media.build_index(real_clip)
    playable = media.plays_in_browsers(real_clip, index)
    assert playable == (media.probe(real_clip).codec == "h264")
    if not playable:
        return
    assert media.remux(real_clip, index, tmp_path / "out.mp4") == index.frame_count
    copied = media.build_index(tmp_path / "out.mp4")
    np.testing.assert_allclose(copied.times, index.times, atol=1e-9)
    assert _packets(tmp_path / "out.mp4", "audio") == _packets(real_clip, "audio")
