"""The original's sound beside the pictures of an MP4: copied where browsers play it, else encoded as AAC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, TypeAlias

import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

_PLAYABLE = {"aac", "mp3", "mp3float"}  # what every browser plays in MP4
_AAC_RATES = (44100, 48000)
_AAC_FRAME = 1024
_ORDER = 1  # where both are due at once, pictures come first

Stamped: TypeAlias = "tuple[Fraction, int, Packet[Any]]"
"""(decoding time in seconds, order of the stream, packet): what interleaving sorts by."""

Taken: TypeAlias = "Callable[[Packet[AudioStream] | None], Iterator[Stamped]]"
"""Takes a demuxed packet, or None at the end, and yields what is to be written for it."""


def add_sound(source: AudioStream, output: OutputContainer) -> Taken:
    """Add a stream for the sound of ``source`` to an MP4. Packets keep their times."""
    if source.codec_context.codec.name in _PLAYABLE:
        return _stamped(_copied, output.add_stream_from_template(source, opaque=True))
    rate = source.codec_context.sample_rate
    rate = rate if rate in _AAC_RATES else 48000
    layout = "mono" if source.codec_context.channels == 1 else "stereo"
    encoder: AudioStream = output.add_stream("aac", rate=rate, layout=layout)
    encoder.bit_rate = 96_000 if layout == "mono" else 160_000
    return _stamped(_encoded(source, encoder), encoder)


def _stamped(made: Callable[[Packet[AudioStream] | None], Iterator[Packet[Any]]], target: Any) -> Taken:
    """Stamp packets for interleaving; sloppy files repeat time stamps, which MP4 cannot express."""
    last: int | None = None

    def take(given: Packet[AudioStream] | None) -> Iterator[Stamped]:
        nonlocal last
        for packet in made(given):
            if packet.dts is None:
                packet.dts = packet.pts
            if packet.dts is None:
                continue
            if last is not None and packet.dts <= last:
                packet.pts = packet.dts = last + 1
            last = packet.dts
            seconds = packet.dts * Fraction(packet.time_base)
            packet.stream = target
            yield seconds, _ORDER, packet

    return take


def _copied(packet: Packet[AudioStream] | None) -> Iterator[Packet[AudioStream]]:
    if packet is not None and packet.size:
        yield packet


def _encoded(
    source: AudioStream, encoder: AudioStream
) -> Callable[[Packet[AudioStream] | None], Iterator[Packet[AudioStream]]]:
    context = encoder.codec_context
    resampler = AudioResampler("fltp", context.layout, context.sample_rate, frame_size=_AAC_FRAME)

    def encode(packet: Packet[AudioStream] | None) -> Iterator[Packet[AudioStream]]:
        if packet is not None and not packet.size:
            return
        for frame in _decoded(source, packet):
            for resampled in resampler.resample(frame):
                yield from encoder.encode(resampled)
        if packet is None:
            for resampled in resampler.resample(None):
                yield from encoder.encode(resampled)
            yield from encoder.encode(None)

    return encode


def _decoded(source: AudioStream, packet: Packet[AudioStream] | None) -> list[AudioFrame]:
    try:
        return source.decode(packet)
    except (av.error.InvalidDataError, av.error.EOFError):
        return []  # a damaged packet is a short silence, as in any player
