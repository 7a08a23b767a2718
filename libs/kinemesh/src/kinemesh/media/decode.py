"""Decoding a range of frames, exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from kinemesh.errors import InvalidArgument, OutOfRange, UnsupportedMedia
from kinemesh.media.colors import to_nv12, to_rgb
from kinemesh.media.container import check_pixels, keep_only, open_media, translated_errors
from kinemesh.media.index import FrameIndex, decode_packet
from kinemesh.media.source import Source, open_bytes
from kinemesh.media.types import DEFAULT_LIMITS, Frame, Layout, Limits


class _MismatchError(Exception):
    """Decoding from this keyframe does not give the frames that the index promises."""


def decode(
    source: Source,
    index: FrameIndex,
    start: int = 0,
    stop: int | None = None,
    *,
    size: tuple[int, int] | None = None,
    whole: Callable[[int], bool] | None = None,
    layout: Layout = "rgb",
    threads: int = 1,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Frame]:
    """Yield exactly the frames ``[start, stop)``, upright.

    Decoding starts at the keyframe before ``start``. Every frame's time stamp is compared with the index; where they
    differ (a keyframe that does not restore the decoder's whole state), decoding starts again one keyframe earlier, and
    at last at the start of the file. The same range gives the same pixels whatever was decoded before.

    :param source: the file that ``index`` was built from.
    :param start: first frame.
    :param stop: frame after the last; the end of the video if None.
    :param size: (width, height) of the upright image; scaled inside swscale. The video's own size if None.
    :param whole: which frames, by number, are given in the video's own size as well.
    :param layout: of the images: ``rgb``, or ``nv12`` (see :mod:`kinemesh.nv12`) in the index's colour matrix.
    :param threads: of the decoder.
    :raises OutOfRange: FRAME_OUT_OF_RANGE
    :raises InvalidArgument: INVALID_SIZE
    :raises UnsupportedMedia: CORRUPT_FRAMES if the file does not give these frames, however it is decoded.
    """
    stop, (width, height) = check_range(index, start, stop, size, limits)
    return _decode(source, index, start, stop, _stored((width, height), index), whole, layout, threads, limits)


def check_range(
    index: FrameIndex, start: int, stop: int | None, size: tuple[int, int] | None, limits: Limits
) -> tuple[int, tuple[int, int]]:
    """The frame after the last, and the (width, height) that frames will have.

    :raises OutOfRange: FRAME_OUT_OF_RANGE
    :raises InvalidArgument: INVALID_SIZE
    :raises TooLarge: TOO_MANY_PIXELS
    """
    stop = index.frame_count if stop is None else stop
    if not 0 <= start <= stop <= index.frame_count:
        raise OutOfRange(
            "FRAME_OUT_OF_RANGE",
            f"Frames {start} to {stop} are outside a video of {index.frame_count} frames.",
            start=start,
            stop=stop,
            frame_count=index.frame_count,
        )
    width, height = size or (index.width, index.height)
    if width < 1 or height < 1:
        raise InvalidArgument(
            "INVALID_SIZE", "Width and height must be at least one pixel.", width=width, height=height
        )
    check_pixels(width, height, limits)
    return stop, (width, height)


def _decode(
    source: Source,
    index: FrameIndex,
    start: int,
    stop: int,
    stored_size: tuple[int, int],
    whole: Callable[[int], bool] | None,
    layout: Layout,
    threads: int,
    limits: Limits,
) -> Iterator[Frame]:
    if start == stop:
        return
    converter, whole_converter = VideoReformatter(), VideoReformatter()  # each prepares for one size
    whole_size = _stored((index.width, index.height), index)
    position = start
    key = int(np.searchsorted(index.key_frames, start, "right")) - 1
    with open_bytes(source) as file:
        for attempt in dict.fromkeys((key, key - 1, -1)):  # -1: from the first byte, without seeking
            if attempt < -1:
                continue
            try:
                for number, frame in _frames_from(file, index, attempt, threads, limits):
                    if number < position:
                        continue
                    if layout == "nv12":
                        image = to_nv12(converter, frame, stored_size, index.color_matrix, index.orientation)
                    else:
                        image = to_rgb(converter, frame, stored_size, index.orientation)
                    full = None
                    if whole is not None and whole(number):
                        same = layout == "rgb" and stored_size == whole_size
                        full = image if same else to_rgb(whole_converter, frame, whole_size, index.orientation)
                    yield Frame(number, int(index.pts[number]), image, full)
                    position += 1
                    if position == stop:
                        return
            except _MismatchError:
                continue
    raise UnsupportedMedia(
        "CORRUPT_FRAMES",
        f"Frame {position} cannot be decoded; the file is damaged there.",
        frame=position,
        frame_count=index.frame_count,
    )


def _stored(size: tuple[int, int], index: FrameIndex) -> tuple[int, int]:
    """The (width, height) that an upright size has before frames are turned upright."""
    return size[::-1] if index.orientation.transpose else size


def _frames_from(
    source: Source, index: FrameIndex, key: int, threads: int, limits: Limits
) -> Iterator[tuple[int, VideoFrame]]:
    """(frame number, decoded frame) from a keyframe on, or from the first byte if ``key`` is -1.

    :raises _MismatchError: where a frame is not the one that the index has at its place.
    """
    with open_media(source, limits, checked=True) as container, translated_errors():
        stream = container.streams[index.stream_index]
        if not isinstance(stream, VideoStream):
            raise _MismatchError
        keep_only(container, stream.index)
        stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        seek = key >= 0 and not index.sequential
        key_pts = int(index.key_pts[key]) if seek else None
        number = int(index.key_frames[key]) if seek else 0
        if key_pts is not None and key > 0:
            container.seek(key_pts, stream=stream, backward=True)
        started = key_pts is None
        for packet in chain(container.demux(stream), (None,)):
            if packet is not None:
                if not packet.size:
                    continue
                if not started:
                    if packet.pts is not None and packet.is_keyframe and key_pts is not None:
                        if packet.pts > key_pts:
                            raise _MismatchError  # the demuxer's own index landed too late
                        started = packet.pts == key_pts
                    if not started:
                        continue
            for frame in decode_packet(stream, packet):
                check_pixels(frame.width, frame.height, limits)
                if not index.sequential:
                    if frame.pts is None:
                        raise _MismatchError
                    if key_pts is not None and frame.pts < key_pts:
                        continue  # shown before the keyframe: its references lie before it, so it is not exact
                    if number >= index.frame_count or frame.pts != index.pts[number]:
                        raise _MismatchError
                elif number >= index.frame_count:
                    raise _MismatchError
                yield number, frame
                number += 1
