"""The frame index: which frames a video has, when each is shown, and where decoding may start.

It is made by demuxing, without decoding more than the first few frames, and holds what makes a segment virtual: any
worker can find frame *i* in the original file by itself and be sure that it is frame *i*.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, pairwise

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinemesh.errors import InvalidArgument, TooLarge, UnsupportedMedia
from kinemesh.media.colors import matrix_of
from kinemesh.media.container import open_media, translated_errors, video_stream
from kinemesh.media.probe import check_duration, orientation_of, upright_size
from kinemesh.media.source import BinaryFile, Source, open_bytes
from kinemesh.media.types import DEFAULT_LIMITS, Limits, Orientation
from kinemesh.nv12 import ColorMatrix

_MAGIC = b"KMFI\x01\n"
_TRIAL_PACKETS = 16

# In these, one packet is one frame. Elsewhere packets may hold hidden frames (VP8), several or none (MPEG-4 in AVI).
_ONE_FRAME_PER_PACKET = frozenset(["h264", "hevc", "vp9", "libvpx-vp9", "av1", "libdav1d", "mjpeg", "prores"])


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """Identity and time of every frame of a video.

    :param stream_index: the video stream in the container.
    :param time_base: seconds per tick.
    :param pts: int64 [frames], presentation time stamps in ticks, in presentation order.
    :param end_pts: when the last frame ends, in ticks.
    :param key_frames: int64 [keys], ascending: the first frame that is certain when decoding starts at that key.
    :param key_pts: int64 [keys], the keyframes' own time stamps; an edit list may hide the frames that have them.
    :param width: upright width in square pixels.
    :param height: upright height in square pixels.
    :param orientation: what makes stored pixels upright.
    :param color_matrix: in which NV12 pictures of the video are held; its own, wherever browsers play that.
    :param sequential: time stamps in the file cannot be trusted; frames are counted from the start of the file instead.
    """

    stream_index: int
    time_base: Fraction
    pts: npt.NDArray[np.int64]
    end_pts: int
    key_frames: npt.NDArray[np.int64]
    key_pts: npt.NDArray[np.int64]
    width: int
    height: int
    orientation: Orientation
    color_matrix: ColorMatrix
    sequential: bool = False

    @property
    def frame_count(self) -> int:
        return len(self.pts)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """float64 [frames], seconds on the file's own clock (the first frame need not be at 0)."""
        return np.asarray(self.pts * float(self.time_base), np.float64)

    @property
    def duration_s(self) -> float:
        return float((self.end_pts - int(self.pts[0])) * self.time_base)

    @property
    def frame_rate(self) -> Fraction:
        """Average frames per second."""
        ticks = self.end_pts - int(self.pts[0])
        return (self.frame_count / (ticks * self.time_base)).limit_denominator(1_000_000) if ticks > 0 else Fraction(30)

    def to_bytes(self) -> bytes:
        """A compact form; equal indexes give equal bytes."""
        header = json.dumps(
            {
                "stream_index": self.stream_index,
                "time_base": [self.time_base.numerator, self.time_base.denominator],
                "frames": len(self.pts),
                "keys": len(self.key_pts),
                "end_pts": self.end_pts,
                "width": self.width,
                "height": self.height,
                "orientation": [self.orientation.transpose, self.orientation.mirror_x, self.orientation.mirror_y],
                "color_matrix": self.color_matrix,
                "sequential": self.sequential,
            },
            sort_keys=True,
        ).encode()
        arrays = b"".join(array.astype("<i8").tobytes() for array in (self.pts, self.key_frames, self.key_pts))
        return _MAGIC + struct.pack("<I", len(header)) + header + arrays

    @classmethod
    def from_bytes(cls, data: bytes) -> FrameIndex:
        """The inverse of :meth:`to_bytes`.

        :raises InvalidArgument: INVALID_FRAME_INDEX
        """
        if not data.startswith(_MAGIC):
            raise InvalidArgument("INVALID_FRAME_INDEX", "The data are not a frame index.")
        try:
            (length,) = struct.unpack_from("<I", data, len(_MAGIC))
            start = len(_MAGIC) + 4
            header = json.loads(data[start : start + length])
            values = np.frombuffer(data, "<i8", offset=start + length).astype(np.int64)
            frames, keys = int(header["frames"]), int(header["keys"])
            pts, key_frames, key_pts = np.split(values[: frames + 2 * keys], [frames, frames + keys])
            if len(pts) != frames or len(key_pts) != keys or not frames or not keys:
                raise InvalidArgument("INVALID_FRAME_INDEX", "The frame index is cut short.")
            return cls(
                stream_index=int(header["stream_index"]),
                time_base=Fraction(*header["time_base"]),
                pts=pts,
                end_pts=int(header["end_pts"]),
                key_frames=key_frames,
                key_pts=key_pts,
                width=int(header["width"]),
                height=int(header["height"]),
                orientation=Orientation(*header["orientation"]),
                color_matrix=ColorMatrix(header["color_matrix"]),
                sequential=bool(header["sequential"]),
            )
        except (ValueError, KeyError, TypeError, ZeroDivisionError, struct.error) as error:
            raise InvalidArgument("INVALID_FRAME_INDEX", "The frame index cannot be read.") from error


def build_index(source: Source, limits: Limits = DEFAULT_LIMITS) -> FrameIndex:
    """Index a video's frames: exactly those that decoding the whole file yields.

    Edit lists are honoured: frames that they hide have no index. Files are demuxed only, except that the first frames
    are decoded to see that packets and frames correspond. Where they do not, or cannot be known to (AVI and other files
    without time stamps, VP8 and MPEG-4 with packets that show nothing), the whole file is decoded once.

    :raises UnsupportedMedia: as :func:`kinemesh.media.probe`; TRUNCATED also when packets end early.
    :raises TooLarge: as :func:`kinemesh.media.probe`.
    """
    with open_bytes(source) as file:
        packets, decoded = _demux(file, limits)
        pts = np.sort(np.array(packets.pts, np.int64), kind="stable")
        time_base, sequential = packets.time_base, False
        last_duration = packets.last_duration
        if not (packets.trustworthy and decoded.pts and decoded.pts == pts[: len(decoded.pts)].tolist()):
            decoded = _decode(file, limits)
            if not decoded.pts:
                raise UnsupportedMedia("CORRUPT_MEDIA", "None of the video's frames can be decoded.")
            stamps = [stamp for stamp in decoded.pts if stamp is not None]
            if len(stamps) == len(decoded.pts) and all(a <= b for a, b in pairwise(stamps)):
                sequential = not set(stamps) <= set(packets.pts)
                pts = np.array(stamps, np.int64)
            else:  # no usable times in the file: the frame rate is all there is
                sequential, time_base, last_duration = True, 1 / packets.frame_rate, 1
                pts = np.arange(len(decoded.pts), dtype=np.int64)
    if (np.diff(pts) == 0).any():
        sequential, pts = True, _apart(pts)  # which of the frames at one time is meant only counting tells
    keys = np.array(packets.key_pts, np.int64)
    firsts = np.searchsorted(pts, keys, "left").astype(np.int64)
    keys, firsts = keys[firsts < len(pts)], firsts[firsts < len(pts)]
    if sequential or not len(keys):
        keys, firsts = pts[:1].copy(), np.zeros(1, np.int64)
    index = FrameIndex(
        stream_index=packets.stream_index,
        time_base=time_base,
        pts=pts,
        end_pts=int(pts[-1]) + max(1, last_duration or _usual_step(pts)),
        key_frames=firsts,
        key_pts=keys,
        width=decoded.size[0],
        height=decoded.size[1],
        orientation=decoded.orientation,
        color_matrix=decoded.color_matrix,
        sequential=sequential,
    )
    check_duration(index.duration_s, limits)
    return index


def _apart(pts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Times at which sloppy files show several frames, a tick apart, so that every frame has a time of its own."""
    counted = np.arange(len(pts), dtype=np.int64)
    return np.asarray(np.maximum.accumulate(pts - counted) + counted, np.int64)


def _usual_step(pts: npt.NDArray[np.int64]) -> int:
    return int(np.median(np.diff(pts))) if len(pts) > 1 else 1


@dataclass(slots=True)
class _Packets:
    """What demuxing tells.

    :param trustworthy: every packet has a time stamp and is, in this codec, one frame.
    :param pts: of all shown packets, in decoding order.
    :param key_pts: of the keyframes at which decoding may start, ascending.
    """

    stream_index: int
    time_base: Fraction
    frame_rate: Fraction
    trustworthy: bool
    pts: list[int] = field(default_factory=list)
    key_pts: list[int] = field(default_factory=list)
    last_duration: int = 0


@dataclass(slots=True)
class _Decoded:
    """What decoding tells: time stamps of the frames, and the shape of the first."""

    pts: list[int | None] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    orientation: Orientation = field(default_factory=Orientation)
    color_matrix: ColorMatrix = ColorMatrix.BT709


def _demux(file: BinaryFile, limits: Limits) -> tuple[_Packets, _Decoded]:
    """All packets, and what decoding the first of them gives."""
    decoded = _Decoded()
    with open_media(file, limits) as container, translated_errors():
        stream = video_stream(container, limits)
        found = _Packets(
            stream_index=stream.index,
            time_base=Fraction(stream.time_base or 0),
            frame_rate=Fraction(stream.average_rate or stream.guessed_rate or 30),
            trustworthy=stream.codec_context.codec.name in _ONE_FRAME_PER_PACKET,
        )
        latest: int | None = None
        count = 0
        for packet in container.demux(stream):
            if not packet.size:
                continue  # nothing to decode: the flush at the end, or an empty sample
            if packet.is_corrupt:
                raise UnsupportedMedia("TRUNCATED", "The file ends within a frame; it was cut short.")
            count += 1
            if count <= _TRIAL_PACKETS:
                _note(decoded, decode_packet(stream, packet), stream, limits)
            if count > limits.max_frames:
                raise TooLarge("TOO_MANY_FRAMES", f"The video has more than {limits.max_frames} frames.")
            if packet.pts is None:
                found.trustworthy = False
                continue
            # Frames shown before a keyframe but stored after it (open GOP) belong to the keyframe before; a keyframe
            # that something stored earlier is shown after is no border at all.
            if packet.is_keyframe and (latest is None or packet.pts > latest):
                found.key_pts.append(packet.pts)
            if not packet.is_discard:
                found.pts.append(packet.pts)
                if latest is None or packet.pts > latest:
                    latest, found.last_duration = packet.pts, packet.duration or 0
        if not count:
            raise UnsupportedMedia("NO_FRAMES", "The video stream holds no frames.")
        if count <= _TRIAL_PACKETS:
            _note(decoded, decode_packet(stream, None), stream, limits)
        if not found.pts and found.trustworthy:
            raise UnsupportedMedia("NO_FRAMES", "The file's edit list hides all frames.")
        if "mov" in container.format.name and count < sum(1 for entry in stream.index_entries if entry.size):
            raise UnsupportedMedia("TRUNCATED", "The file holds fewer frames than its index says; it was cut short.")
        found.key_pts = sorted(set(found.key_pts))
        return found, decoded


def _decode(file: BinaryFile, limits: Limits) -> _Decoded:
    """Decode the whole file."""
    found = _Decoded()
    with open_media(file, limits, checked=True) as container, translated_errors():
        stream = video_stream(container, limits)
        for packet in chain(container.demux(stream), (None,)):
            if packet is None or packet.size:
                _note(found, decode_packet(stream, packet), stream, limits)
    return found


def _note(found: _Decoded, frames: Iterable[VideoFrame], stream: VideoStream, limits: Limits) -> None:
    for frame in frames:
        if not found.pts:
            found.orientation = orientation_of(frame)
            found.color_matrix = matrix_of(frame)
            found.size = upright_size(frame, stream, found.orientation, limits)
        found.pts.append(frame.pts)
        if len(found.pts) > limits.max_frames:
            raise TooLarge("TOO_MANY_FRAMES", f"The video has more than {limits.max_frames} frames.")


def decode_packet(stream: VideoStream, packet: av.Packet[VideoStream] | None) -> list[VideoFrame]:
    """The frames that a packet (None: the end) releases. A damaged packet releases none, as in any player."""
    try:
        return stream.decode(packet)
    except (av.error.InvalidDataError, av.error.EOFError):
        return []
