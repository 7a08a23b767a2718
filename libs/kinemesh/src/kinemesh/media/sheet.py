"""Still pictures of videos."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from kinemesh.errors import InvalidArgument
from kinemesh.media.decode import decode
from kinemesh.media.index import build_index
from kinemesh.media.source import Source
from kinemesh.media.types import DEFAULT_LIMITS, Image, Limits

_GAP = 4


def contact_sheet(source: Source, count: int = 9, *, cell_width: int = 320, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A PNG of ``count`` frames, evenly spread over the video, in a near-square grid.

    :raises InvalidArgument: INVALID_COUNT
    """
    if not 1 <= count <= 100 or not 16 <= cell_width <= 2048:
        raise InvalidArgument("INVALID_COUNT", "Between 1 and 100 pictures of 16 to 2048 pixels' width can be shown.")
    index = build_index(source, limits)
    count = min(count, index.frame_count)
    cell_height = max(1, round(cell_width * index.height / index.width))
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (cell_height + _GAP) + _GAP, columns * (cell_width + _GAP) + _GAP, 3), 24, np.uint8)
    chosen = [(2 * cell + 1) * index.frame_count // (2 * count) for cell in range(count)]
    for cell, number in enumerate(chosen):
        frame = next(decode(source, index, number, number + 1, size=(cell_width, cell_height), limits=limits))
        top = _GAP + cell // columns * (cell_height + _GAP)
        left = _GAP + cell % columns * (cell_width + _GAP)
        sheet[top : top + cell_height, left : left + cell_width] = frame.image
    return encode_png(sheet)


def encode_png(image: Image) -> bytes:
    """PNG of a uint8 [height, width, 3] RGB image."""
    encoder = VideoCodecContext.create("png", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = image.shape[1], image.shape[0], "rgb24"
    encoder.time_base = Fraction(1)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
