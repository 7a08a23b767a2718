"""Writing H.264 that browsers play."""

from __future__ import annotations

import os
from fractions import Fraction
from types import TracebackType
from typing import BinaryIO, Self

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from kinemesh.errors import InvalidArgument
from kinemesh.media.colors import COLORSPACE
from kinemesh.media.types import Layout
from kinemesh.nv12 import ColorMatrix, Image, chroma, even_size, luma

_TAG = {ColorMatrix.BT601: 6, ColorMatrix.BT709: 1}  # AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT709


class H264Writer:
    """Encode frames to a part: one H.264 stream in a NUT file, whose time stamps are exactly those given.

    yuv420p, limited range, tagged with its colour space, no B-frames (decoding order is presentation order, which lets
    parts be joined by stream copy), an IDR frame first. The same frames give the same bytes.

    Parts of one video must be written with equal parameters; :func:`kinemesh.media.concatenate` joins them.

    :param out: path, or a binary file object that stays open.
    :param width: of the frames. Odd sizes are padded by repeating the last column or row; see :attr:`size`.
    :param height: of the frames.
    :param time_base: seconds per tick; the source's.
    :param frame_rate: nominal, for rate control only.
    :param layout: of the images given to :meth:`write`: ``rgb``, which is converted, or ``nv12``, which is not.
    :param color_matrix: of what is written, and of the images given as ``nv12``.
    :param preset: of x264.
    :param crf: of x264, 0 (lossless) to 51.
    :param gop: most frames between keyframes; what a player may have to decode to jump.
    :raises InvalidArgument: INVALID_SIZE, INVALID_ENCODER_SETTING
    """

    def __init__(
        self,
        out: str | os.PathLike[str] | BinaryIO,
        *,
        width: int,
        height: int,
        time_base: Fraction,
        frame_rate: Fraction = Fraction(30),
        layout: Layout = "rgb",
        color_matrix: ColorMatrix = ColorMatrix.BT709,
        preset: str = "superfast",
        crf: int = 23,
        gop: int = 60,
        threads: int = 1,
    ) -> None:
        if not (1 <= width <= 16384 and 1 <= height <= 16384):
            raise InvalidArgument(
                "INVALID_SIZE", "Width and height must lie between 1 and 16384.", width=width, height=height
            )
        self._layout = layout
        if layout == "nv12" and (width % 2 or height % 2):
            raise InvalidArgument(
                "INVALID_SIZE", "NV12 images have an even width and height.", width=width, height=height
            )
        if not 0 <= crf <= 51 or gop < 1 or time_base <= 0:
            raise InvalidArgument(
                "INVALID_ENCODER_SETTING", "crf must lie between 0 and 51; gop and time base above 0."
            )
        self._shape = (height * 3 // 2, width) if layout == "nv12" else (height, width, 3)
        self._pad = (height % 2, width % 2)
        self._color_matrix = color_matrix
        self.size = even_size(width, height)
        """(width, height) of the encoded video."""
        self._converter = VideoReformatter()
        self._last_pts: int | None = None
        target = os.fspath(out) if isinstance(out, str | os.PathLike) else out
        self._container = av.open(target, "w", format="nut", options={"fflags": "+bitexact"})
        stream: VideoStream = self._container.add_stream("libx264", rate=frame_rate.limit_denominator(60_000))
        stream.width, stream.height = self.size
        stream.pix_fmt = "nv12" if layout == "nv12" else "yuv420p"  # one and the same to x264
        stream.time_base = time_base
        context = stream.codec_context
        context.time_base = time_base
        context.gop_size = gop
        context.max_b_frames = 0
        context.thread_count = threads
        context.color_range = ColorRange.MPEG
        context.colorspace = _TAG[color_matrix]
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.options = {"preset": preset, "crf": str(crf), "x264-params": "bframes=0"}
        self._stream = stream

    def write(self, image: Image, pts: int) -> None:
        """Append a frame.

        :param image: uint8 [height, width, 3] RGB, or [height · 3/2, width] for ``nv12``.
        :param pts: in ticks; larger than the one before.
        :raises InvalidArgument: INVALID_SIZE, PTS_NOT_INCREASING
        """
        if image.shape != self._shape or image.dtype != np.uint8:
            raise InvalidArgument("INVALID_SIZE", f"A frame of shape {self._shape} is expected, not {image.shape}.")
        if self._last_pts is not None and pts <= self._last_pts:
            raise InvalidArgument("PTS_NOT_INCREASING", f"Time stamp {pts} does not come after {self._last_pts}.")
        self._last_pts = pts
        if self._layout == "nv12":
            # Without a copy. PyAV's from_numpy_buffer mistakes the height of every second NV12 picture.
            frame = VideoFrame.from_dlpack((luma(image), chroma(image)), "nv12")
        else:
            frame = self._converted(image)
        frame.pts = pts
        frame.time_base = self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(frame))

    def _converted(self, image: Image) -> VideoFrame:
        if any(self._pad):
            image = np.pad(image, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        return self._converter.reformat(
            VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), "rgb24"),
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=COLORSPACE[self._color_matrix],
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        if self._last_pts is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._container.close()
