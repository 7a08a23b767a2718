"""What media looks like to the rest of the system."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import cv2

from kinemesh.nv12 import Image

Layout = Literal["rgb", "nv12"]
"""How the pixels of a picture are laid out; of NV12 see :mod:`kinemesh.nv12`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a medium may ask of a worker. Checked before and while it is read.

    :param max_pixels: width times height of one frame.
    :param max_frames: frames of the video stream.
    :param max_duration_s: seconds of the video stream.
    :param max_streams: streams of any kind in the container.
    """

    max_pixels: int = 7680 * 4320
    max_frames: int = 2_000_000
    max_duration_s: float = 12 * 3600.0
    max_streams: int = 32


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pixels become an upright picture: transpose first, then mirror.

    All eight orientations that a display matrix (ISO/IEC 14496-12, 8.3.2) can ask for in right angles.

    :param transpose: exchange rows and columns.
    :param mirror_x: then exchange left and right.
    :param mirror_y: then exchange top and bottom.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether the picture is mirrored besides being rotated."""
        return self.transpose ^ self.mirror_x ^ self.mirror_y

    @property
    def rotation(self) -> int:
        """Degrees clockwise (0, 90, 180, 270) that make stored pixels upright, after any left-right mirroring."""
        if self.transpose:
            return 270 if self.mirror_y else 90
        return 180 if self.mirror_y else 0

    def apply(self, image: Image) -> Image:
        """The upright picture, or the given one if it is upright.

        :param image: uint8 [height, width] or [height, width, channels] as stored.
        """
        if self.transpose:
            image = cast(Image, cv2.transpose(image))  # OpenCV's is several times as fast as numpy's
        if self.mirror_x or self.mirror_y:
            image = cast(Image, cv2.flip(image, -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)))
        return image


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What :func:`kinemesh.media.probe` learns without decoding more than one frame.

    :param width: upright width in square pixels.
    :param height: upright height in square pixels.
    :param rotation: degrees clockwise (0, 90, 180, 270) that were applied to make it upright.
    :param codec: name of the video codec, e.g. ``h264``.
    :param container: ``mp4`` (also MOV and 3GP), ``matroska`` (also WebM) or ``avi``.
    :param time_base: seconds per tick of the stream's time stamps.
    :param frame_rate: average frames per second; 0 if the container does not say.
    :param duration_s: seconds; 0.0 if the container does not say.
    :param audio_codec: name of the first usable audio stream's codec, or an empty string.
    :param size_bytes: length of the file.
    """

    width: int
    height: int
    rotation: int
    codec: str
    container: str
    time_base: Fraction
    frame_rate: Fraction
    duration_s: float
    audio_codec: str
    size_bytes: int

    @property
    def has_audio(self) -> bool:
        return bool(self.audio_codec)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame.

    :param index: position in presentation order, from 0.
    :param pts: presentation time stamp in ticks of the index's time base.
    :param image: upright; uint8 [height, width, 3], RGB, or NV12 where that was asked for.
    :param whole: upright, RGB, in the video's own size, where that was asked for beside a scaled ``image``.
    """

    index: int
    pts: int
    image: Image
    whole: Image | None = None
