"""Joining parts into the finished video by stream copy, with the original's sound."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from kinemesh.errors import InvalidArgument
from kinemesh.media.container import audio_stream, keep_only, open_media, translated_errors
from kinemesh.media.index import build_index
from kinemesh.media.mp4 import Output, open_mp4
from kinemesh.media.sound import Stamped, add_sound
from kinemesh.media.source import Source, open_bytes
from kinemesh.media.types import DEFAULT_LIMITS, Limits


def concatenate(
    parts: Sequence[Source],
    out: Output,
    *,
    time_base: Fraction,
    audio_source: Source | None = None,
    end_pts: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> int:
    """Join parts written by :class:`kinemesh.media.H264Writer` into one MP4 and return the number of frames.

    Pictures keep their time stamps, sound keeps its own: both are on the clock of the original, so they stay in sync
    also where either starts late. AAC and MP3 are copied; other sound is encoded as AAC. The index stands at the front
    (faststart). The same input gives the same bytes.

    :param parts: in order, of equal encoder settings.
    :param out: where the MP4 goes.
    :param time_base: seconds per tick, as given to the parts' writers; the MP4 counts in the same ticks.
    :param audio_source: the original video. Without a usable audio stream in it the result is silent.
    :param end_pts: when the last frame ends, in ticks; by default it lasts as long as the one before.
    :raises InvalidArgument: NO_PARTS, PARTS_DIFFER, PARTS_OUT_OF_ORDER, CORRUPT_PART
    """
    if not parts:
        raise InvalidArgument("NO_PARTS", "There are no parts to join.")
    with ExitStack() as stack:
        first = stack.enter_context(_Part(parts[0], 0))
        output = stack.enter_context(open_mp4(out, time_base))
        video = output.add_stream_from_template(first.stream, opaque=True)
        counter = _Counter()
        streams = [_video_packets(parts, first, video, time_base, end_pts, counter)]
        if audio_source is not None:
            original = stack.enter_context(open_media(audio_source, limits, checked=True))
            audio = audio_stream(original)
            if audio is not None:
                keep_only(original, audio.index)
                streams.append(
                    chain.from_iterable(map(add_sound(audio, output), chain(original.demux(audio), (None,))))
                )
        with translated_errors():
            for _, _, packet in heapq.merge(*streams, key=lambda item: item[:2]):
                output.mux_one(packet)
        return counter.frames


class _Counter:
    frames = 0


class _Part:
    """One part, opened."""

    def __init__(self, source: Source, number: int) -> None:
        with ExitStack() as stack:
            file = stack.enter_context(open_bytes(source))
            try:
                # Its header says all there is to know: no frames need be decoded to find out.
                opened = av.open(file, "r", format="nut", options={"probesize": "32"}, buffer_size=256 << 10)
                self.container = stack.enter_context(opened)
                self.stream: VideoStream = self.container.streams.video[0]
            except (av.error.FFmpegError, IndexError) as error:
                raise InvalidArgument("CORRUPT_PART", f"Part {number} cannot be read.", part=number) from error
            self._stack = stack.pop_all()

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def signature(self) -> tuple[object, ...]:
        context = self.stream.codec_context
        return context.codec.name, context.extradata, context.width, context.height, self.stream.time_base


def _video_packets(
    parts: Sequence[Source], first: _Part, target: Any, time_base: Fraction, end_pts: int | None, counter: _Counter
) -> Iterator[Stamped]:
    signature = first.signature
    waiting: Packet[Any] | None = None
    last_pts, step = 0, 1

    def ready(packet: Packet[Any], duration: int) -> Stamped:
        packet.duration = duration
        packet.stream = target
        counter.frames += 1
        return (packet.dts or 0) * time_base, 0, packet

    for number, source in enumerate(parts):
        with _Part(source, number) if number else first as part:
            if part.signature != signature:
                raise InvalidArgument(
                    "PARTS_DIFFER", f"Part {number} was encoded with other settings than part 0.", part=number
                )
            ticks = Fraction(part.stream.time_base or 0) / time_base  # NUT counts in ticks of its own choice
            for packet in part.container.demux(part.stream):
                if not packet.size or packet.pts is None:
                    continue
                pts = round(packet.pts * ticks)
                packet.pts = packet.dts = pts
                packet.time_base = time_base
                if waiting is not None:
                    step = pts - last_pts
                    if step <= 0:
                        raise InvalidArgument(
                            "PARTS_OUT_OF_ORDER", f"Part {number} does not start after the one before.", part=number
                        )
                    yield ready(waiting, step)
                waiting, last_pts = packet, pts
    if waiting is not None:
        yield ready(waiting, max(1, end_pts - last_pts) if end_pts is not None else step)


def read_times(source: Source, limits: Limits = DEFAULT_LIMITS) -> npt.NDArray[np.float64]:
    """float64 [frames]: when each frame of a video is shown, in seconds."""
    return build_index(source, limits).times
