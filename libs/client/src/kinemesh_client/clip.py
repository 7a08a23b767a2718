"""The clip that the demonstration runs on, made from one photo: the camera pans, zooms and tilts over it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

Image = NDArray[np.uint8]

SIZE: Final = (1280, 720)
RATE: Final = 30
SECONDS: Final = 6
_SAMPLE_RATE: Final = 48_000
_TONE_HZ: Final = 220.0


def write_clip(photo: Path, out: Path, *, seconds: float = SECONDS, size: tuple[int, int] = SIZE) -> None:
    """Write an MP4 (H.264 and AAC) of ``seconds`` at 30 frames/s. The same photo gives the same bytes.

    :raises ValueError: the photo cannot be read.
    """
    read = cv2.imread(str(photo))
    if read is None:
        raise ValueError(f"{photo} is not a picture")
    picture: Image = np.asarray(read, np.uint8)
    count = round(seconds * RATE)
    with av.open(str(out), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=RATE)
        assert isinstance(video, VideoStream)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.thread_count, context.gop_size = 1, 2 * RATE
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.options = {"preset": "veryfast", "crf": "20"}
        sound = container.add_stream("aac", rate=_SAMPLE_RATE, layout="mono")
        assert isinstance(sound, AudioStream)
        still = background(picture, size)
        for number in range(count):
            frame = VideoFrame.from_ndarray(view(picture, still, number / count), "bgr24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        _write_tone(container, sound, round(count * _SAMPLE_RATE / RATE))


def background(picture: Image, size: tuple[int, int]) -> Image:
    """The photo enlarged to cover the frame, blurred and darkened, for what lies outside of it."""
    height, width = picture.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    covering = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    top, left = (covering.shape[0] - size[1]) // 2, (covering.shape[1] - size[0]) // 2
    cut: Any = cv2.GaussianBlur(covering[top : top + size[1], left : left + size[0]], (0, 0), 40)
    return np.asarray(cut * 0.45, np.uint8)


def view(picture: Image, still: Image, moment: float) -> Image:
    """The photo as the moving camera sees it at ``moment`` (0 to 1), over the background ``still``."""
    height, width = picture.shape[:2]
    turn = 2 * np.pi * moment
    scale = still.shape[0] / height * (0.96 + 0.1 * np.sin(turn))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 7.0 * float(np.sin(2 * turn)), float(scale))
    matrix[0, 2] += still.shape[1] / 2 - width / 2 + 0.16 * still.shape[1] * np.sin(turn)
    matrix[1, 2] += still.shape[0] / 2 - height / 2 + 0.02 * still.shape[0] * np.cos(3 * turn)
    seen: Any = cv2.warpAffine(
        picture,
        matrix,
        (still.shape[1], still.shape[0]),
        dst=still.copy(),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return np.asarray(seen, np.uint8)


def _write_tone(container: OutputContainer, sound: AudioStream, samples: int) -> None:
    """A soft tone that swells with the movement, so that a player shows sound and picture to go together."""
    step = 1024
    for start in range(0, samples, step):
        at = np.arange(start, min(start + step, samples))
        loudness = 0.05 * (1 + np.sin(2 * np.pi * at / samples))
        wave = (loudness * np.sin(2 * np.pi * _TONE_HZ * at / _SAMPLE_RATE)).astype(np.float32)
        frame = AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _SAMPLE_RATE, start, Fraction(1, _SAMPLE_RATE)
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
