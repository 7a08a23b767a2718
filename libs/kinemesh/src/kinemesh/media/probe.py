"""Looking at a video without decoding more than its first frame."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import cast

import av
import av.error
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinemesh.errors import TooLarge, UnsupportedMedia
from kinemesh.media.container import (
    audio_stream,
    check_pixels,
    open_media,
    recognise,
    translated_errors,
    video_stream,
)
from kinemesh.media.source import Source, open_bytes
from kinemesh.media.types import DEFAULT_LIMITS, Limits, Orientation, VideoInfo

_FIRST_FRAME_PACKETS = 300  # a decoder that is silent for so long will stay silent
_MAX_ASPECT = 4  # a pixel stretched further is an error of the file, not an intent


def probe(source: Source, limits: Limits = DEFAULT_LIMITS) -> VideoInfo:
    """What a video is; refuses what cannot or must not be processed.

    :raises UnsupportedMedia: EMPTY_FILE, NOT_A_VIDEO, UNSUPPORTED_CONTAINER, UNSUPPORTED_CODEC, NO_VIDEO_STREAM,
        NO_FRAMES, TRUNCATED, CORRUPT_MEDIA, EXTERNAL_REFERENCE.
    :raises TooLarge: TOO_MANY_PIXELS, TOO_LONG, TOO_MANY_STREAMS, TOO_MANY_FRAMES, TOO_LARGE_INDEX.
    """
    with open_bytes(source) as file:
        kind = recognise(file)
        size_bytes = file.seek(0, io.SEEK_END)
        with open_media(file, limits) as container:
            stream = video_stream(container, limits)
            audio = audio_stream(container)
            duration_s = _duration_s(container, stream)
            check_duration(duration_s, limits)
            frame = first_frame(container, stream)
            orientation = orientation_of(frame)
            width, height = upright_size(frame, stream, orientation, limits)
            return VideoInfo(
                width=width,
                height=height,
                rotation=orientation.rotation,
                codec=stream.codec_context.codec.canonical_name,
                container=kind,
                time_base=Fraction(stream.time_base or 0),
                frame_rate=Fraction(stream.average_rate or 0),
                duration_s=duration_s,
                audio_codec=audio.codec_context.codec.canonical_name if audio is not None else "",
                size_bytes=size_bytes,
            )


def first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """Decode from the start until a frame comes out.

    :raises UnsupportedMedia: NO_FRAMES if there are none, CORRUPT_MEDIA if there are but none can be decoded.
    """
    fed = 0
    with translated_errors():
        for packet in container.demux(stream):
            try:
                frames = stream.decode(packet if packet.size else None) if fed or packet.size else []
            except av.error.InvalidDataError:
                frames = []
            if frames:
                return frames[0]
            fed += 1 if packet.size else 0
            if fed >= _FIRST_FRAME_PACKETS:
                break
    if fed:
        raise UnsupportedMedia("CORRUPT_MEDIA", "The video's first frames cannot be decoded.")
    raise UnsupportedMedia("NO_FRAMES", "The video stream holds no frames.")


def orientation_of(frame: VideoFrame) -> Orientation:
    """The frame's display matrix, rounded to right angles.

    The matrix maps (x, y) to (a·x + c·y, b·x + d·y); its nine numbers are (a, b, u, c, d, v, x, y, w).
    """
    side_data = cast("Mapping[str, Buffer]", frame.side_data)  # PyAV's stub knows motion vectors only
    if "DISPLAYMATRIX" not in side_data:
        return Orientation()
    data = bytes(side_data["DISPLAYMATRIX"])
    a, b, _, c, d = (int(value) for value in np.frombuffer(data, "=i4", 5))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transpose=True, mirror_x=c < 0, mirror_y=b < 0)
    return Orientation(mirror_x=a < 0, mirror_y=d < 0)


def upright_size(frame: VideoFrame, stream: VideoStream, orientation: Orientation, limits: Limits) -> tuple[int, int]:
    """(width, height) as shown: square pixels, upright."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        aspect = Fraction(1)
    width, height = max(1, round(frame.width * aspect)), frame.height
    check_pixels(width, height, limits)
    return (height, width) if orientation.transpose else (width, height)


def check_duration(duration_s: float, limits: Limits) -> None:
    """:raises TooLarge: TOO_LONG"""
    if duration_s > limits.max_duration_s:
        raise TooLarge(
            "TOO_LONG",
            f"The video lasts {duration_s:.0f} s; at most {limits.max_duration_s:.0f} s are accepted.",
            duration_s=round(duration_s, 3),
            max_duration_s=limits.max_duration_s,
        )


def _duration_s(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0.0, (container.duration or 0) / 1e6)
