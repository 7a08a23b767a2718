"""The frame index: which frames a video has, when each is shown, and where decoding may start.

It is made by demuxing, without decoding more than the first few frames, and holds what makes a segment virtual: any
worker can find frame *i* in the original file by itself and be sure that it is frame *i*.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinemesh.errors import InvalidArgument, TooLarge, UnsupportedMedia
from kinemesh.media.container import open_bytes, open_media, translated_errors, video_stream
from kinemesh.media.probe import check_duration, check_pixels, orientation_of, upright_size
from kinemesh.media.types import DEFAULT_LIMITS, Limits, Orientation, Source

_MAGIC = b"KMFI\x01\n"
_TRIAL_PACKETS = 32

# In these, one packet is one frame. Elsewhere packets may hold hidden frames (VP8), several or none (MPEG-4 in AVI).
_ONE_FRAME_PER_PACKET = frozenset("h264 hevc vp9 libvpx-vp9 av1 libdav1d mjpeg prores".split())


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """Identity and time of every frame of a video.

    :param stream_index: the video stream in the container.
    :param time_base: seconds per tick.
    :param pts: int64 [frames], presentation time stamps in ticks, in presentation order.
    :param end_pts: when the last frame ends, in ticks.
    :param key_frames: int64 [keys], ascending: the first frame that is certain when decoding starts at that key.
    :param key_pts: int64 [keys], the keyframes' own time stamps. An edit list may hide a keyframe, so that no frame has it.
    :param width: upright width in square pixels.
    :param height: upright height in square pixels.
    :param orientation: what makes stored pixels upright.
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
    sequential: bool = False

    @property
    def frame_count(self) -> int:
        return len(self.pts)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """float64 [frames], seconds on the file's own clock (the first frame need not be at 0)."""
        return self.pts * float(self.time_base)

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
        try:
            if not data.startswith(_MAGIC):
                raise ValueError("magic")
            (length,) = struct.unpack_from("<I", data, len(_MAGIC))
            start = len(_MAGIC) + 4
            header = json.loads(data[start : start + length])
            values = np.frombuffer(data, "<i8", offset=start + length).astype(np.int64)
            frames, keys = int(header["frames"]), int(header["keys"])
            if min(frames, keys) < 1 or len(values) != frames + 2 * keys:
                raise ValueError("length")
            return cls(
                stream_index=int(header["stream_index"]),
                time_base=Fraction(*header["time_base"]),
                pts=values[:frames],
                end_pts=int(header["end_pts"]),
                key_frames=values[frames : frames + keys],
                key_pts=values[frames + keys :],
                width=int(header["width"]),
                height=int(header["height"]),
                orientation=Orientation(*header["orientation"]),
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
        with open_media(file, limits) as container:
            stream = video_stream(container, limits)
            stream_index, time_base = stream.index, Fraction(stream.time_base or 0)
            packets = _Packets()
            with translated_errors():
                packets.read(container, stream, limits, time_base)
            plausible = stream.codec_context.codec.name in _ONE_FRAME_PER_PACKET and not packets.lacks_pts
        with open_media(file, limits, checked=True) as container:
            stream = video_stream(container, limits)
            trial, first = _decoded_pts(container, stream, limits, _TRIAL_PACKETS)
            rate = Fraction(stream.average_rate or stream.guessed_rate or 30)
            orientation = orientation_of(first) if first is not None else Orientation()
            size = upright_size(first, stream, orientation, limits) if first is not None else (0, 0)
        pts = np.sort(np.array(packets.pts, np.int64), kind="stable") if not packets.lacks_pts else np.empty(0, np.int64)
        sequential = False
        if not (plausible and trial and trial == pts[: len(trial)].tolist()):
            with open_media(file, limits, checked=True) as container:
                stream = video_stream(container, limits)
                decoded, first = _decoded_pts(container, stream, limits, limits.max_frames)
                if first is None:
                    raise UnsupportedMedia("CORRUPT_MEDIA", "None of the video's frames can be decoded.")
                orientation = orientation_of(first)
                size = upright_size(first, stream, orientation, limits)
            stamped = [value for value in decoded if value is not None]
            if len(stamped) == len(decoded) and all(a < b for a, b in zip(stamped, stamped[1:], strict=False)):
                sequential = not set(stamped) <= set(packets.pts)
                pts = np.array(stamped, np.int64)
            else:  # no usable times in the file: the frame rate is all there is
                sequential = True
                time_base = 1 / rate
                pts = np.arange(len(decoded), dtype=np.int64)
                packets.last_duration = 1
        end_pts = int(pts[-1]) + max(1, packets.last_duration or _usual_step(pts))
        key_frames, key_pts = _keys(packets, pts)
        if sequential or not len(key_pts):
            key_frames, key_pts = np.zeros(1, np.int64), pts[:1].copy()
        index = FrameIndex(
            stream_index=stream_index,
            time_base=time_base,
            pts=pts,
            end_pts=end_pts,
            key_frames=key_frames,
            key_pts=key_pts,
            width=size[0],
            height=size[1],
            orientation=orientation,
            sequential=sequential,
        )
        check_duration(index.duration_s, limits)
        return index


class _Packets:
    """What demuxing tells: time stamps of all shown packets in decoding order, and the keyframes that may be seek points."""

    def __init__(self) -> None:
        self.pts: list[int] = []
        self.key_pts: list[int] = []
        self.lacks_pts = False
        self.last_duration = 0

    def read(self, container: InputContainer, stream: VideoStream, limits: Limits, time_base: Fraction) -> None:
        latest: int | None = None
        count = 0
        expected = len(stream.index_entries) if container.format.name.startswith("mov") else 0
        for packet in container.demux(stream):
            if not packet.size:
                continue  # nothing to decode: the flush at the end, or an empty sample
            if packet.is_corrupt:
                raise UnsupportedMedia("TRUNCATED", "The file ends within a frame; it was cut short.")
            count += 1
            if count > limits.max_frames:
                raise TooLarge("TOO_MANY_FRAMES", f"The video has more than {limits.max_frames} frames.")
            if packet.pts is None:
                self.lacks_pts = True
                continue
            # Frames shown before a keyframe but stored after it (open GOP) belong to the keyframe before; a keyframe
            # that something stored earlier is shown after is no border at all.
            if packet.is_keyframe and (latest is None or packet.pts > latest):
                self.key_pts.append(packet.pts)
            if not packet.is_discard:
                self.pts.append(packet.pts)
                if latest is None or packet.pts > latest:
                    latest, self.last_duration = packet.pts, packet.duration or 0
        if not count:
            raise UnsupportedMedia("NO_FRAMES", "The video stream holds no frames.")
        if not self.pts and not self.lacks_pts:
            raise UnsupportedMedia("NO_FRAMES", "The file's edit list hides all frames.")
        if count < expected - _empty_entries(stream):
            raise UnsupportedMedia("TRUNCATED", "The file holds fewer frames than its index says; it was cut short.")
        self.key_pts = sorted(set(self.key_pts))


def _empty_entries(stream: VideoStream) -> int:
    return sum(1 for entry in stream.index_entries if entry.size == 0)


def _keys(packets: _Packets, pts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(first certain frame, time stamp) of every keyframe that decoding may start at."""
    key_pts = np.array(packets.key_pts, np.int64)
    key_frames = np.searchsorted(pts, key_pts, "left").astype(np.int64)
    inside = key_frames < len(pts)
    return key_frames[inside], key_pts[inside]


def _usual_step(pts: npt.NDArray[np.int64]) -> int:
    return int(np.median(np.diff(pts))) if len(pts) > 1 else 1


def _decoded_pts(
    container: InputContainer, stream: VideoStream, limits: Limits, most_packets: int
) -> tuple[list[int | None], VideoFrame | None]:
    """Time stamps of what the first packets decode to, and the first frame. Drained only if the packets end before."""
    stamps: list[int | None] = []
    first: VideoFrame | None = None

    def take(frames: Iterable[VideoFrame]) -> None:
        nonlocal first
        for frame in frames:
            check_pixels(frame.width, frame.height, limits)
            first = first or frame
            stamps.append(frame.pts)
            if len(stamps) > limits.max_frames:
                raise TooLarge("TOO_MANY_FRAMES", f"The video has more than {limits.max_frames} frames.")

    with translated_errors():
        fed = 0
        for packet in container.demux(stream):
            if not packet.size:
                continue
            take(decode_packet(stream, packet))
            fed += 1
            if fed >= most_packets:
                return stamps, first
        take(decode_packet(stream, None))
    return stamps, first


def decode_packet(stream: VideoStream, packet: av.Packet[VideoStream] | None) -> list[VideoFrame]:
    """The frames that a packet (None: the end) releases. A damaged packet releases none, as in any player."""
    try:
        return stream.decode(packet)
    except (av.error.InvalidDataError, av.error.EOFError):
        return []
