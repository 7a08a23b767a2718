"""Clips made at run time, for tests and demonstrations: every frame shows its own number."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from kinemesh.nv12 import Image

_BITS = 12
_CORNERS = {
    "top_left": (230, 30, 30),
    "top_right": (30, 200, 30),
    "bottom_left": (40, 40, 230),
    "bottom_right": (230, 220, 40),
}


def numbered_image(number: int, width: int, height: int) -> Image:
    """A picture of a frame number: twelve black or white bars (lowest bit left), coloured corners, a moving texture."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    texture = 110 + 50 * np.sin((x + 3 * number) / 7.0) * np.cos((y - 2 * number) / 9.0)
    image = np.repeat(texture[..., None], 3, axis=2).astype(np.uint8)
    corner_h, corner_w = height // 4, width // 6
    image[:corner_h, :corner_w] = _CORNERS["top_left"]
    image[:corner_h, -corner_w:] = _CORNERS["top_right"]
    image[-corner_h:, :corner_w] = _CORNERS["bottom_left"]
    image[-corner_h:, -corner_w:] = _CORNERS["bottom_right"]
    for bit, (left, right) in enumerate(_bars(width)):
        image[height * 3 // 8 : height * 5 // 8, left:right] = 235 if number >> bit & 1 else 20
    return image


def read_number(image: Image) -> int:
    """The number that :func:`numbered_image` drew, also after lossy coding and scaling."""
    height, width = image.shape[:2]
    middle = image[height * 7 // 16 : height * 9 // 16].mean(axis=(0, 2))
    return sum(1 << bit for bit, (left, right) in enumerate(_bars(width)) if middle[left + 1 : right - 1].mean() > 128)


def is_upright(image: Image) -> bool:
    """Whether the coloured corners are where :func:`numbered_image` drew them."""
    h, w = image.shape[0] // 16, image.shape[1] // 16
    found = (image[h, w], image[h, -w - 1], image[-h - 1, w], image[-h - 1, -w - 1])
    return all(
        np.abs(color.astype(int) - expected).max() < 60
        for color, expected in zip(found, _CORNERS.values(), strict=True)
    )


def _bars(width: int) -> Iterator[tuple[int, int]]:
    edges = np.linspace(width * 0.05, width * 0.95, _BITS + 1).astype(int)
    return ((int(left), int(right)) for left, right in pairwise(edges))


def write_clip(
    path: str | os.PathLike[str],
    *,
    pts: Sequence[int],
    time_base: Fraction = Fraction(1, 90_000),
    size: tuple[int, int] = (192, 108),
    codec: str = "libx264",
    codec_options: Mapping[str, str] | None = None,
    gop: int = 12,
    b_frames: int = 0,
    open_gop: bool = False,
    rotation: int = 0,
    pixel_format: str = "",
    audio: str | None = None,
    audio_start_s: float = 0.0,
    container_options: Mapping[str, str] | None = None,
) -> None:
    """Write a clip of numbered frames. The suffix of ``path`` chooses the container.

    :param pts: time stamp of every frame, in ticks.
    :param size: (width, height), upright.
    :param b_frames: number of B-frames between reference frames (x264 only).
    :param open_gop: let B-frames before a keyframe refer to pictures before it (x264 only).
    :param rotation: 0, 90, 180 or 270: pixels are stored turned, and a display matrix says to turn them clockwise.
    :param pixel_format: what the codec is given; 8 bits, 4:2:0 if empty.
    :param audio: codec of a tone beside the pictures (``aac``, ``libopus``, ``pcm_s16le`` …), none if None.
    :param audio_start_s: when the sound starts.
    """
    width, height = size if rotation % 180 == 0 else size[::-1]
    with av.open(os.fspath(path), "w", options={"fflags": "+bitexact", **(container_options or {})}) as container:
        stream = container.add_stream(codec, rate=30)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width, height
        stream.pix_fmt = pixel_format or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        stream.time_base = time_base
        context = stream.codec_context
        context.time_base = time_base
        context.gop_size, context.max_b_frames, context.thread_count = gop, b_frames, 1
        context.color_range = ColorRange.JPEG if codec == "mjpeg" else ColorRange.MPEG
        context.colorspace, context.color_primaries, context.color_trc = (
            Colorspace.ITU709,
            ColorPrimaries.BT709,
            ColorTrc.BT709,
        )
        context.options = dict(codec_options or {})
        if codec == "libx264":
            x264 = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:b-adapt=0:open-gop={int(open_gop)}"
            given = (codec_options or {}).get("x264-params", "")
            context.options |= {"preset": "veryfast", "crf": "16", "x264-params": f"{x264}:{given}".rstrip(":")}
        if rotation:
            stream.set_display_rotation(-rotation)
        sound = _add_sound(container, audio) if audio else None
        container.start_encoding()
        for number, stamp in enumerate(pts):
            upright = numbered_image(number, *size)
            stored = np.ascontiguousarray(np.rot90(upright, rotation // 90))
            frame = VideoFrame.from_ndarray(stored, "rgb24").reformat(
                format=stream.pix_fmt, dst_colorspace=Colorspace.ITU709, dst_color_range=context.color_range
            )
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        if pts:
            container.mux(stream.encode(None))
        if sound is not None:
            seconds = float((pts[-1] - pts[0]) * time_base) if pts else 1.0
            _write_sound(container, sound, seconds, audio_start_s)


def _add_sound(container: OutputContainer, codec: str) -> AudioStream:
    stream = container.add_stream(codec, rate=48_000, layout="mono")
    assert isinstance(stream, AudioStream)
    return stream


def _write_sound(container: OutputContainer, stream: AudioStream, seconds: float, start_s: float) -> None:
    rate = 48_000
    samples = np.arange(int(seconds * rate))
    wave = (0.3 * np.sin(2 * np.pi * (300 + 100 * samples / rate) * samples / rate) * 32767).astype(np.int16)
    chunk = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.codec_context.format, "mono", rate)
    for start in range(0, len(wave), chunk):
        frame = AudioFrame.from_ndarray(wave[None, start : start + chunk], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start + round(start_s * rate), Fraction(1, rate)
        for converted in resampler.resample(frame):
            container.mux(stream.encode(converted))
    container.mux(stream.encode(None))
