"""Parts that are encoded apart and joined are the video: same frames, same times, same sound."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinemesh import media
from kinemesh.errors import InvalidArgument
from kinemesh.media.synthetic import numbered_image, read_number, write_clip
from kinemesh.nv12 import ColorMatrix

MILLISECOND = 0.001


def _encode(source: Path, index: media.FrameIndex, start: int, stop: int, *, scale: int = 1) -> io.BytesIO:
    width, height = index.width // scale, index.height // scale
    part = io.BytesIO()
    with media.H264Writer(part, width=width, height=height, time_base=index.time_base, preset="ultrafast") as writer:
        for frame in media.decode(source, index, start, stop, size=(width, height)):
            writer.write(frame.image, frame.pts)
    return part


def _join(source: Path, index: media.FrameIndex, out: Path, length: int, *, scale: int = 1) -> int:
    parts = [
        _encode(source, index, start, min(start + length, index.frame_count), scale=scale)
        for start in range(0, index.frame_count, length)
    ]
    return media.concatenate(parts, out, time_base=index.time_base, audio_source=source, end_pts=index.end_pts)


def _packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(os.fspath(path)) as container:
        if not container.streams.audio:
            return []
        stream = container.streams.audio[0]
        return [
            (float((packet.pts or 0) * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]


def _sound(path: Path) -> tuple[float, np.ndarray]:
    """(start in seconds, float samples of the first channel)."""
    with av.open(os.fspath(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 48_000)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        return float(frames[0].time or 0), np.concatenate([frame.to_ndarray()[0] for frame in frames])


def _assert_same_video_and_sound(source: Path, index: media.FrameIndex, out: Path, count: int) -> None:
    joined = media.build_index(out)
    assert count == joined.frame_count == index.frame_count
    assert np.abs(joined.times - index.times).max() <= MILLISECOND
    assert joined.duration_s == pytest.approx(index.duration_s, abs=MILLISECOND)
    info, original = media.probe(out), media.probe(source)
    assert (info.codec, info.rotation, info.has_audio) == ("h264", 0, original.has_audio)
    if original.audio_codec in ("aac", "mp3"):
        before, after = _packets(source), _packets(out)
        assert [data for _, data in after] == [data for _, data in before]
        assert np.abs(np.subtract([at for at, _ in after], [at for at, _ in before])).max() <= MILLISECOND
        assert np.array_equal(_sound(out)[1], _sound(source)[1])
    elif original.audio_codec:
        (start, wave), (start_before, wave_before) = _sound(out), _sound(source)
        assert info.audio_codec == "aac"
        assert start == pytest.approx(start_before, abs=MILLISECOND)
        shared = min(len(wave), len(wave_before))
        assert abs(len(wave) - len(wave_before)) <= 2048
        assert np.corrcoef(wave[:shared], wave_before[:shared])[0, 1] > 0.99


@pytest.mark.parametrize("length", [7, 50])
def test_joined_parts_are_the_video(clip: Path, tmp_path: Path, length: int) -> None:
    index = media.build_index(clip)
    out = tmp_path / "joined.mp4"
    count = _join(clip, index, out, length)
    _assert_same_video_and_sound(clip, index, out, count)
    shown = [read_number(frame.image) for frame in media.decode(out, media.build_index(out))]
    assert shown == [read_number(frame.image) for frame in media.decode(clip, index)]


@pytest.mark.parametrize(
    "name", ["mp2.avi", "adpcm_ms.avi", "adpcm_ima_wav.avi", "libmp3lame.avi", "ac3.mkv", "flac.mkv", "pcm_alaw.mov"]
)
def test_sound_that_browsers_do_not_play_is_kept_as_aac(tmp_path: Path, name: str) -> None:
    source, out = tmp_path / name, tmp_path / "out.mp4"
    write_clip(source, pts=range(40), time_base=Fraction(1, 30), codec="mpeg4", audio=source.stem)
    index = media.build_index(source)
    _join(source, index, out, 40)
    with av.open(os.fspath(out)) as container:
        assert container.streams.audio[0].codec_context.name in ("aac", "mp3float")
    (start, wave), (start_before, wave_before) = _sound(out), _sound(source)
    assert start == pytest.approx(start_before, abs=0.03)
    assert abs(len(wave) - len(wave_before)) <= 4096
    loud, before = (float(np.sqrt(np.square(w, dtype=float).mean())) for w in (wave, wave_before))
    assert loud == pytest.approx(before, rel=0.1)


@pytest.mark.data
def test_real_clips_survive_parts(real_clip: Path, tmp_path: Path) -> None:
    index = media.build_index(real_clip)
    out = tmp_path / "joined.mp4"
    count = _join(real_clip, index, out, 100, scale=4)
    _assert_same_video_and_sound(real_clip, index, out, count)


def test_single_frame_parts(clips: Path, tmp_path: Path) -> None:
    source = clips / "variable.mp4"
    index = media.build_index(source)
    count = _join(source, index, tmp_path / "joined.mp4", 1)
    _assert_same_video_and_sound(source, index, tmp_path / "joined.mp4", count)


def test_output_is_deterministic_and_starts_with_its_index(clips: Path, tmp_path: Path) -> None:
    source = clips / "audio.mp4"
    index = media.build_index(source)
    _join(source, index, tmp_path / "one.mp4", 30)
    _join(source, index, tmp_path / "two.mp4", 30)
    data = (tmp_path / "one.mp4").read_bytes()
    assert data == (tmp_path / "two.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_output_is_tagged_for_browsers(clips: Path, tmp_path: Path) -> None:
    source = clips / "constant.mp4"
    index = media.build_index(source)
    _join(source, index, tmp_path / "out.mp4", 40)
    with av.open(os.fspath(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.codec.name, context.pix_fmt, context.has_b_frames) == ("h264", "yuv420p", False)
        tags = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
        assert tags == (1, 1, 1, 1)


@pytest.mark.parametrize(("size", "padded"), [((101, 67), (102, 68)), ((1, 1), (2, 2)), ((64, 35), (64, 36))])
def test_odd_sizes_are_padded(tmp_path: Path, size: tuple[int, int], padded: tuple[int, int]) -> None:
    with media.H264Writer(tmp_path / "odd.nut", width=size[0], height=size[1], time_base=Fraction(1, 25)) as writer:
        assert writer.size == padded
        for number in range(3):
            writer.write(np.full((size[1], size[0], 3), 60 * number, np.uint8), number)
    assert media.concatenate([tmp_path / "odd.nut"], tmp_path / "odd.mp4", time_base=Fraction(1, 25)) == 3
    info = media.probe(tmp_path / "odd.mp4")
    assert (info.width, info.height) == padded


@pytest.mark.parametrize(
    "time_base", [Fraction(1, 1000), Fraction(1001, 30_000), Fraction(1, 1_000_000_000), Fraction(1, 7)]
)
def test_any_time_base_is_kept(tmp_path: Path, time_base: Fraction) -> None:
    step = max(1, round(Fraction(1, 30) / time_base))
    stamps = [step * (5 + number + number // 7) for number in range(20)]
    parts = []
    for chosen in (stamps[:9], stamps[9:]):
        parts.append(io.BytesIO())
        with media.H264Writer(parts[-1], width=64, height=48, time_base=time_base) as writer:
            for stamp in chosen:
                writer.write(numbered_image(stamp % 64, 64, 48), stamp)
    media.concatenate(parts, tmp_path / "out.mp4", time_base=time_base)
    expected = np.array(stamps) * float(time_base)
    assert np.abs(media.read_times(tmp_path / "out.mp4") - expected).max() <= MILLISECOND


@pytest.mark.parametrize(("matrix", "tag"), [(ColorMatrix.BT601, 6), (ColorMatrix.BT709, 1)])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (64, 50), (66, 98), (2, 2)])
def test_nv12_images_are_taken_as_they_are(
    tmp_path: Path, matrix: ColorMatrix, tag: int, width: int, height: int
) -> None:
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = 81
    planes[height:, ::2] = 90
    with media.H264Writer(
        tmp_path / "a.nut",
        width=width,
        height=height,
        time_base=Fraction(1, 25),
        layout="nv12",
        color_matrix=matrix,
        crf=1,
    ) as writer:
        writer.write(planes, 0)
    media.concatenate([tmp_path / "a.nut"], tmp_path / "a.mp4", time_base=Fraction(1, 25))
    with av.open(os.fspath(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    assert np.abs(frame.to_ndarray(format="nv12").astype(int) - planes).max() <= 2
    assert frame.colorspace == tag


def test_parts_that_do_not_fit_are_refused(clips: Path, tmp_path: Path) -> None:
    index = media.build_index(clips / "constant.mp4")
    first, second = (_encode(clips / "constant.mp4", index, start, start + 5) for start in (0, 5))
    other = _encode(clips / "constant.mp4", index, 5, 10, scale=2)
    cases: list[tuple[list[media.Source], str]] = [
        ([], "NO_PARTS"),
        ([first, other], "PARTS_DIFFER"),
        ([second, first], "PARTS_OUT_OF_ORDER"),
        ([first, first], "PARTS_OUT_OF_ORDER"),
        ([io.BytesIO(b"no part")], "CORRUPT_PART"),
    ]
    for parts, reason in cases:
        with pytest.raises(InvalidArgument) as caught:
            media.concatenate(parts, tmp_path / "out.mp4", time_base=index.time_base)
        assert caught.value.reason == reason


def test_writer_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    with media.H264Writer(tmp_path / "a.nut", width=32, height=32, time_base=Fraction(1, 25)) as writer:
        writer.write(image, 3)
        for wrong, pts, reason in ((image, 3, "PTS_NOT_INCREASING"), (image[1:], 4, "INVALID_SIZE")):
            with pytest.raises(InvalidArgument) as caught:
                writer.write(wrong, pts)
            assert caught.value.reason == reason
    with pytest.raises(InvalidArgument) as caught:
        media.H264Writer(tmp_path / "b.nut", width=0, height=32, time_base=Fraction(1, 25))
    assert caught.value.reason == "INVALID_SIZE"
