"""Copying a video into an MP4 that browsers play, without encoding its pictures anew."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from typing import cast

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from kinemesh.errors import UnsupportedMedia
from kinemesh.media.container import audio_stream, open_media, recognise, translated_errors
from kinemesh.media.index import FrameIndex
from kinemesh.media.mp4 import Output, open_mp4
from kinemesh.media.sound import add_sound
from kinemesh.media.source import Source, open_bytes
from kinemesh.media.types import DEFAULT_LIMITS, Limits

_PROFILES = {"Baseline", "Constrained Baseline", "Main", "High"}
_MOST_LEVEL = 52  # 5.2: 4K at 60 frames per second
_PIXELS = {"yuv420p", "yuvj420p"}


def plays_in_browsers(source: Source, index: FrameIndex, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Whether :func:`remux` gives a video that browsers play and that shows exactly the index's frames.

    That is H.264 of 8 bits and 4:2:0 with its parameters in the header, in an MP4 or MOV file, whose pixels are square
    and not mirrored, and whose edit list hides no frames. The sound does not matter.

    :param source: the file that ``index`` was built from.
    :raises UnsupportedMedia: as :func:`kinemesh.media.build_index`.
    """
    with open_bytes(source) as file:
        if index.sequential or index.orientation.mirrored or recognise(file) != "mp4":
            return False
        with open_media(file, limits, checked=True) as container:
            stream = _video_of(container, index)
            context = stream.codec_context
            stored = (index.width, index.height)
            entries = stream.index_entries
            return (
                context.codec.canonical_name == "h264"
                and context.codec_tag == "avc1"
                and context.profile in _PROFILES
                and context.level <= _MOST_LEVEL
                and context.pix_fmt in _PIXELS
                and (context.width, context.height) == (stored[::-1] if index.orientation.transpose else stored)
                and len(entries) == index.frame_count  # not so where fragments are found while reading
                and not any(entry.is_discard for entry in entries)
                and all(a.timestamp < b.timestamp for a, b in pairwise(entries))  # MP4 writers insist on it
            )


def remux(source: Source, index: FrameIndex, out: Output, limits: Limits = DEFAULT_LIMITS) -> int:
    """Copy a video for which :func:`plays_in_browsers` holds, and return the number of frames.

    Pictures keep their bytes, their times and the display matrix that turns them upright. Sound is treated as in
    :func:`kinemesh.media.concatenate`. All else, such as where a phone was, is left out. The MP4's index stands at the
    front (faststart). The same input gives the same bytes.

    :param source: the file that ``index`` was built from.
    :param out: where the MP4 goes.
    :raises UnsupportedMedia: CORRUPT_MEDIA
    """
    frames = 0
    with ExitStack() as stack:
        original = stack.enter_context(open_media(source, limits, checked=True))
        pictures, sound = _video_of(original, index), audio_stream(original)
        output = stack.enter_context(open_mp4(out, index.time_base))
        video = output.add_stream_from_template(pictures, opaque=True)
        taken = add_sound(sound, output) if sound is not None else None
        with translated_errors():
            for packet in original.demux([pictures] if sound is None else [pictures, sound]):
                if packet.stream_index == pictures.index:
                    if packet.size:
                        packet.stream = video
                        output.mux_one(packet)
                        frames += 1
                elif taken is not None:
                    for _, _, piece in taken(cast("Packet[AudioStream]", packet)):
                        output.mux_one(piece)
            if taken is not None:
                for _, _, piece in taken(None):
                    output.mux_one(piece)
    return frames


def _video_of(container: InputContainer, index: FrameIndex) -> VideoStream:
    stream = next((stream for stream in container.streams if stream.index == index.stream_index), None)
    if not isinstance(stream, VideoStream):
        raise UnsupportedMedia("CORRUPT_MEDIA", "The file is not the one that was indexed.")
    return stream
