"""The colours of decoded frames: what they mean, and how frames become pictures."""

from __future__ import annotations

from typing import Final, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from kinemesh.media.types import Orientation
from kinemesh.nv12 import ColorMatrix, Image, chroma, even_size, luma

COLORSPACE: Final = {ColorMatrix.BT601: Colorspace.ITU601, ColorMatrix.BT709: Colorspace.ITU709}
"""What swscale calls them."""

_MATRIX_OF_TAG: Final = {1: ColorMatrix.BT709, 5: ColorMatrix.BT601, 6: ColorMatrix.BT601}  # AVCOL_SPC_*
_UNSPECIFIED: Final = 2  # AVCOL_SPC_UNSPECIFIED
_HD_HEIGHT: Final = 720


def matrix_of(frame: VideoFrame) -> ColorMatrix:
    """The matrix in which a frame is best held: its own, or BT.709 for those that browsers do not play.

    Untagged video is taken as BT.709 from 720 lines up and BT.601 below, as players do.
    """
    if frame.colorspace == _UNSPECIFIED:
        return ColorMatrix.BT709 if frame.height >= _HD_HEIGHT else ColorMatrix.BT601
    return _MATRIX_OF_TAG.get(int(frame.colorspace), ColorMatrix.BT709)


def to_rgb(converter: VideoReformatter, frame: VideoFrame, size: tuple[int, int], orientation: Orientation) -> Image:
    """A decoded frame as an upright picture: uint8 [height, width, 3], RGB, whose rows may lie apart in memory.

    :param size: (width, height) before it is turned upright.
    """
    converted = _converted(converter, frame, size, "rgb24", ColorRange.JPEG)
    image: Image = converted.to_ndarray().astype(np.uint8, copy=False)
    return orientation.apply(image)


def to_nv12(
    converter: VideoReformatter,
    frame: VideoFrame,
    size: tuple[int, int],
    matrix: ColorMatrix,
    orientation: Orientation,
) -> Image:
    """A decoded frame as an upright NV12 picture. Ordinary video (8 bits, 4:2:0, limited range) is only copied.

    :param size: (width, height) before it is turned upright.
    """
    if not (
        frame.format.name == "yuv420p"
        and (frame.width, frame.height) == size
        and frame.color_range != ColorRange.JPEG
        and matrix_of(frame) == matrix
        and frame.colorspace in (_UNSPECIFIED, *_MATRIX_OF_TAG)
    ):
        frame = _converted(converter, frame, size, "yuv420p", ColorRange.MPEG, COLORSPACE[matrix])
    y, u, v = (orientation.apply(_pixels(plane)) for plane in frame.planes)
    height, width = y.shape
    even_width, even_height = even_size(width, height)
    image = np.empty((even_height * 3 // 2, even_width), np.uint8)
    held = luma(image)
    held[:height, :width] = y
    held[height:] = held[height - 1 : height]
    held[:, width:] = held[:, width - 1 : width]
    cv2.merge([u, v], chroma(image))
    return image


def _converted(
    converter: VideoReformatter,
    frame: VideoFrame,
    size: tuple[int, int],
    pixel_format: str,
    color_range: ColorRange,
    colorspace: Colorspace | None = None,
) -> VideoFrame:
    return converter.reformat(
        frame,
        width=size[0],
        height=size[1],
        format=pixel_format,
        # What an untagged frame means must be said; a tagged one says it itself.
        src_colorspace=COLORSPACE[matrix_of(frame)] if frame.colorspace == _UNSPECIFIED else None,
        dst_colorspace=colorspace,
        dst_color_range=color_range,
        interpolation=Interpolation.BILINEAR,
        threads=1,
    )


def _pixels(plane: VideoPlane) -> Image:
    """A plane's values, a view: uint8 [height, width]."""
    buffer = cast(memoryview, plane)  # which its stub does not say
    rows = np.frombuffer(buffer, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]
