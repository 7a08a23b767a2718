"""A segment is exactly its frames, whatever the file and wherever it is cut."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from kinemesh import media
from kinemesh.errors import InvalidArgument, OutOfRange, UnsupportedMedia
from kinemesh.media.synthetic import is_upright, read_number, write_clip

from .conftest import CONSTANT, FRAMES, HIDDEN, KINDS


def _whole_decode(path: Path) -> list[tuple[int | None, np.ndarray]]:
    """What a plain loop over the file gives: time stamps, and pixels as stored."""
    with av.open(os.fspath(path)) as container:
        return [(frame.pts, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def _assert_same(one: media.Frame, other: media.Frame) -> None:
    assert (one.index, one.pts) == (other.index, other.pts)
    assert np.array_equal(one.image, other.image)


def test_index_holds_exactly_the_frames_of_a_whole_decode(clip: Path) -> None:
    index = media.build_index(clip)
    whole = _whole_decode(clip)
    assert index.frame_count == len(whole)
    if not index.sequential:
        assert index.pts.tolist() == [pts for pts, _ in whole]
    assert np.all(np.diff(index.pts) > 0)
    assert index.key_frames[0] == 0
    assert index.end_pts > index.pts[-1]


def test_pixels_are_those_of_a_whole_decode(clip: Path) -> None:
    index = media.build_index(clip)
    turns = index.orientation.rotation // 90
    for frame, (_, stored) in zip(media.decode(clip, index), _whole_decode(clip), strict=True):
        assert np.array_equal(frame.image, np.rot90(stored, -turns))


def test_frames_show_their_own_number_upright(clip: Path) -> None:
    index = media.build_index(clip)
    hidden = HIDDEN if clip.name == "trimmed.mp4" else 0
    frames = list(media.decode(clip, index))
    assert [read_number(frame.image) - hidden for frame in frames] == list(range(index.frame_count))
    assert [frame.index for frame in frames] == list(range(index.frame_count))
    assert all(is_upright(frame.image) for frame in frames)
    assert {frame.image.shape for frame in frames} == {(108, 192, 3)}


@pytest.mark.parametrize("length", [1, 7, 50])
def test_union_of_segments_is_the_whole(clip: Path, length: int) -> None:
    index = media.build_index(clip)
    whole = list(media.decode(clip, index))
    starts = range(0, index.frame_count, length)
    split = [frame for at in starts for frame in media.decode(clip, index, at, min(at + length, index.frame_count))]
    assert len(split) == len(whole)
    for one, other in zip(whole, split, strict=True):
        _assert_same(one, other)


@pytest.mark.data
def test_real_clips_decode_by_segments_as_a_whole(real_clip: Path) -> None:
    index = media.build_index(real_clip)
    size = (160, 90)  # keeps the whole clip in memory
    whole = list(media.decode(real_clip, index, size=size))
    with av.open(os.fspath(real_clip)) as container:
        assert index.pts.tolist() == [frame.pts for frame in container.decode(video=0)]
    middle = index.frame_count // 2
    for length, begin, end in ((1, middle, middle + 4), (7, middle, middle + 28), (50, 0, index.frame_count)):
        for start in range(begin, end, length):
            for frame in media.decode(real_clip, index, start, min(start + length, end), size=size):
                _assert_same(whole[frame.index], frame)


def test_open_gop_clip_has_pictures_shown_before_their_keyframe(clips: Path) -> None:
    """Else the tests above would not test open groups of pictures."""
    for name in ("open_gop.mp4", "open_gop.mkv", "hevc.mp4"):
        with av.open(os.fspath(clips / name)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        keys = [at for at, packet in enumerate(packets) if packet.is_keyframe]
        assert any((packets[at + 1].pts or 0) < (packets[at].pts or 0) for at in keys[1:]), name


def test_edit_list_hides_frames_and_their_keyframes(clips: Path) -> None:
    index = media.build_index(clips / "trimmed.mp4")
    assert index.frame_count == FRAMES - HIDDEN
    assert index.key_pts[0] < index.pts[0], "decoding starts at a keyframe that is not shown"


def test_start_time_and_uneven_times_are_kept(clips: Path) -> None:
    late = media.build_index(clips / "late_start.mp4")
    assert late.times[0] == pytest.approx(50_000 / 90_000, abs=0.001)
    uneven = media.build_index(clips / "variable.mp4")
    assert (uneven.time_base, uneven.pts.tolist()) == (Fraction(1, 90_000), KINDS["variable.mp4"]["pts"])


@pytest.mark.parametrize(
    ("name", "rotation"),
    [("constant.mp4", 0), ("rotated_90.mp4", 90), ("rotated_180.mp4", 180), ("rotated_270.mov", 270)],
)
def test_rotation_as_phones_write_it(clips: Path, name: str, rotation: int) -> None:
    info = media.probe(clips / name)
    assert (info.rotation, info.width, info.height) == (rotation, 192, 108)
    with av.open(os.fspath(clips / name)) as container:
        stored = next(container.decode(video=0))
    assert (stored.width, stored.height) == ((108, 192) if rotation % 180 else (192, 108))


def test_scaled_frames_are_upright_and_of_the_size_asked_for(clips: Path) -> None:
    for name in ("rotated_90.mp4", "constant.mp4"):
        index = media.build_index(clips / name)
        frame = next(media.decode(clips / name, index, 5, 6, size=(96, 64)))
        assert frame.image.shape == (64, 96, 3)
        assert is_upright(frame.image)
        assert read_number(frame.image) == 5


@pytest.mark.parametrize("layout", ["rgb", "nv12"])
def test_chosen_frames_come_whole_beside_the_scaled_ones(clips: Path, layout: Literal["rgb", "nv12"]) -> None:
    for name in ("rotated_90.mp4", "open_gop.mp4", "late_start.mp4"):
        index = media.build_index(clips / name)
        plain = list(media.decode(clips / name, index, 3, 18))
        scaled = list(media.decode(clips / name, index, 3, 18, size=(96, 64), layout=layout))
        both = media.decode(clips / name, index, 3, 18, size=(96, 64), layout=layout, whole=lambda n: n % 7 == 0)
        for one, small, frame in zip(plain, scaled, both, strict=True):
            _assert_same(small, frame)
            assert (frame.whole is not None) == (frame.index % 7 == 0)
            if frame.whole is not None:
                assert np.array_equal(frame.whole, one.image)


@pytest.mark.data
def test_real_clips_give_whole_frames_as_they_are(real_clip: Path) -> None:
    index = media.build_index(real_clip)
    start = index.frame_count // 2
    plain = list(media.decode(real_clip, index, start, start + 4))
    both = media.decode(real_clip, index, start, start + 4, size=(160, 90), whole=lambda number: number > start)
    for one, frame in zip(plain, both, strict=True):
        assert frame.image.shape == (90, 160, 3)
        assert (frame.whole is None) == (frame.index == start)
        assert frame.whole is None or np.array_equal(frame.whole, one.image)


def test_more_threads_give_the_same_pixels(clips: Path) -> None:
    path = clips / "open_gop.mp4"
    index = media.build_index(path)
    for one, two in zip(media.decode(path, index, 20, 50), media.decode(path, index, 20, 50, threads=2), strict=True):
        _assert_same(one, two)


def test_colours_follow_the_matrix_that_the_file_names(tmp_path: Path) -> None:
    path = tmp_path / "red.nut"
    red = np.full((64, 64, 3), (200, 30, 40), np.uint8)
    with media.H264Writer(path, width=64, height=64, time_base=Fraction(1, 30), crf=4) as writer:
        writer.write(red, 0)
    media.concatenate([path], tmp_path / "red.mp4", time_base=Fraction(1, 30))
    index = media.build_index(tmp_path / "red.mp4")
    image = next(media.decode(tmp_path / "red.mp4", index)).image
    assert np.abs(image.astype(int) - red).max() <= 4


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    path = tmp_path / "anamorphic.mp4"
    write_clip(path, pts=CONSTANT[:5], rotation=90, codec_options={"x264-params": "sar=4/3"})
    info, index = media.probe(path), media.build_index(path)
    assert (info.width, info.height) == (index.width, index.height) == (192, 144)
    assert next(media.decode(path, index)).image.shape == (144, 192, 3)


def test_index_survives_storage(clip: Path) -> None:
    index = media.build_index(clip)
    data = index.to_bytes()
    again = media.FrameIndex.from_bytes(data)
    assert again.to_bytes() == data == media.build_index(clip).to_bytes()
    assert again.pts.tolist() == index.pts.tolist()
    assert again.orientation == index.orientation
    for one, two in zip(media.decode(clip, index, 9, 12), media.decode(clip, again, 9, 12), strict=True):
        _assert_same(one, two)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_index_is_refused(clips: Path, damage: bytes | None) -> None:
    data = media.build_index(clips / "constant.mp4").to_bytes()
    with pytest.raises(InvalidArgument) as caught:
        media.FrameIndex.from_bytes(data[:-9] if damage is None else damage)
    assert caught.value.reason == "INVALID_FRAME_INDEX"


def test_file_objects_are_read_from_anywhere_and_left_open(clips: Path) -> None:
    file = io.BytesIO((clips / "constant.mp4").read_bytes())
    file.seek(1000)
    index = media.build_index(file)
    assert [read_number(frame.image) for frame in media.decode(file, index, 30, 33)] == [30, 31, 32]
    assert media.probe(file).size_bytes == len(file.getvalue())
    assert not file.closed


def test_files_that_return_less_than_asked_for(clips: Path) -> None:
    """As raw files may: a range reader ends each read at the end of its block."""

    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, 1009) if size and size > 0 else size)

    for name in ("audio.mp4", "open_gop.mkv", "mjpeg.avi"):
        file = Dribble((clips / name).read_bytes())
        index = media.build_index(file)
        assert index.to_bytes() == media.build_index(clips / name).to_bytes()
        assert [read_number(frame.image) for frame in media.decode(file, index, 30, 32)] == [30, 31]


def test_ranges_outside_the_video_are_refused(clips: Path) -> None:
    path = clips / "constant.mp4"
    index = media.build_index(path)
    for start, stop in ((-1, 3), (5, 4), (0, FRAMES + 1)):
        with pytest.raises(OutOfRange) as caught:
            media.decode(path, index, start, stop)
        assert caught.value.reason == "FRAME_OUT_OF_RANGE"
    assert list(media.decode(path, index, 10, 10)) == []


def test_index_of_another_file_is_noticed(clips: Path) -> None:
    index = media.build_index(clips / "constant.mp4")
    with pytest.raises(UnsupportedMedia) as caught:
        list(media.decode(clips / "variable.mp4", index, 40, 50))
    assert caught.value.reason == "CORRUPT_FRAMES"
