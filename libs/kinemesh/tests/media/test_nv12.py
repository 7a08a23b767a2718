"""NV12 pictures are the decoder's own values, upright and of even size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from kinemesh import media
from kinemesh.media.synthetic import write_clip
from kinemesh.nv12 import ColorMatrix, chroma, even_size, luma, yuv_of_rgb

GREEN = (10, 180, 60)


def _rgb(picture: media.Image, matrix: ColorMatrix) -> np.ndarray:
    size = luma(picture).shape[::-1]
    yuv = np.dstack([luma(picture), cv2.resize(chroma(picture), size, interpolation=cv2.INTER_LINEAR)])
    forth = yuv_of_rgb(matrix)
    return np.clip((yuv - forth[:, 3]) @ np.linalg.inv(forth[:, :3]).T, 0, 255)


def test_frames_are_those_of_the_rgb_decode(clip: Path) -> None:
    index = media.build_index(clip)
    frames = list(media.decode(clip, index, 3, 9, layout="nv12"))
    expected = list(media.decode(clip, index, 3, 9))
    assert [(frame.index, frame.pts) for frame in frames] == [(frame.index, frame.pts) for frame in expected]
    for frame, rgb in zip(frames, expected, strict=True):
        assert frame.image.flags.c_contiguous
        height, width = rgb.image.shape[:2]
        assert frame.image.shape == (even_size(width, height)[1] * 3 // 2, even_size(width, height)[0])
        assert np.abs(_rgb(frame.image, index.color_matrix)[:height, :width] - rgb.image).mean() < 3


def test_ordinary_video_is_copied(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", pts=range(0, 30_000, 3000))
    index = media.build_index(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stored = [frame.to_ndarray(format="nv12") for frame in container.decode(video=0)]
    for frame, planes in zip(media.decode(tmp_path / "a.mp4", index, layout="nv12"), stored, strict=True):
        assert np.array_equal(frame.image, planes)


@pytest.mark.parametrize("tag", [1, 5, 6, 2, 9])
@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("lines", [64, 720])
def test_colours_survive_however_they_are_tagged(tmp_path: Path, tag: int, color_range: ColorRange, lines: int) -> None:
    """1: BT.709, 5 and 6: BT.601, 2: untagged, 9: BT.2020."""
    meant = {1: Colorspace.ITU709, 2: Colorspace.ITU709 if lines >= 720 else Colorspace.ITU601, 9: 9}
    frame = av.VideoFrame.from_ndarray(np.full((lines, 96, 3), GREEN, np.uint8), "rgb24").reformat(
        format="yuv420p", dst_colorspace=meant.get(tag, Colorspace.ITU601), dst_color_range=color_range
    )
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 96, lines, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = tag, color_range
        for number in range(3):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    index = media.build_index(path)
    picture = next(media.decode(path, index, 1, 2, layout="nv12")).image
    assert np.abs(_rgb(picture, index.color_matrix)[20:40, 20:40] - GREEN).max() <= 6  # rounded twice
    rgb = next(media.decode(path, index, 1, 2)).image
    assert np.abs(rgb[20:40, 20:40].astype(int) - GREEN).max() <= 4


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_odd_sizes_repeat_the_last_row_and_column(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "odd.mp4"
    image = np.zeros((33, 47, 3), np.uint8)
    image[-1], image[:, -1] = 255, 255
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options={"lossless": "1"})
        stream.width, stream.height, stream.pix_fmt = 47, 33, "yuv420p"
        if rotation:
            stream.set_display_rotation(-rotation)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    index = media.build_index(path)
    picture = next(media.decode(path, index, layout="nv12")).image
    width, height = index.width, index.height
    assert picture.shape == (even_size(width, height)[1] * 3 // 2, even_size(width, height)[0])
    y = luma(picture)
    plane = frame.planes[0]
    stored = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[:33, :47]
    assert np.array_equal(y[:height, :width], np.rot90(stored, -rotation // 90))
    assert np.array_equal(y[height:], y[height - 1 : height, :][: y.shape[0] - height])
    assert np.array_equal(y[:, width:], y[:, width - 1 : width][:, : y.shape[1] - width])
