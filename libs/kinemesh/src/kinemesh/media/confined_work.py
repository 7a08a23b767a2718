"""What confined children do with media; the parent's side is :mod:`kinemesh.media.confined`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from typing import Any

import av
import numpy as np

from kinemesh.confined.child import Call
from kinemesh.media.concat import concatenate
from kinemesh.media.decode import decode
from kinemesh.media.index import FrameIndex, build_index
from kinemesh.media.picture import decode_picture
from kinemesh.media.probe import probe
from kinemesh.media.remux import plays_in_browsers, remux
from kinemesh.media.source import BinaryFile
from kinemesh.media.types import Limits
from kinemesh.nv12 import Image

# PyAV loads some of its modules when a file needs them, which a confined process cannot.
for _module in pkgutil.walk_packages(av.__path__, "av."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

Answer = tuple[dict[str, Any], bytes]


def look(call: Call) -> Answer:
    """What a video is."""
    info = probe(call.source(), Limits(**call.arguments["limits"]))
    told = {field.name: getattr(info, field.name) for field in fields(info)}
    return {name: str(value) if isinstance(value, Fraction) else value for name, value in told.items()}, b""


def index(call: Call) -> Answer:
    """A video's frame index."""
    return {}, build_index(call.source(), Limits(**call.arguments["limits"])).to_bytes()


def picture(call: Call) -> Answer:
    """A picture's pixels, into the shared memory."""
    image = decode_picture(call.data, call.arguments["max_pixels"])
    _write(call, 0, image)
    return {"shape": image.shape}, b""


def frames(call: Call) -> Answer:
    """A range of frames, one after the other into the slots of the shared memory."""
    arguments = call.arguments
    whole = frozenset(arguments["whole"])
    given = decode(
        call.source(),
        FrameIndex.from_bytes(call.data),
        arguments["start"],
        arguments["stop"],
        size=tuple(arguments["size"]),
        whole=whole.__contains__ if whole else None,
        layout=arguments["layout"],
        threads=arguments["threads"],
        limits=Limits(**arguments["limits"]),
    )
    slots, slot_bytes = arguments["slots"], arguments["slot_bytes"]
    for position, frame in enumerate(given):
        if position >= slots:
            call.await_room()
        start = position % slots * slot_bytes
        _write(call, start, frame.image)
        if frame.whole is not None:
            _write(call, start + frame.image.nbytes, frame.whole)
        call.give(number=frame.index)
    return {}, b""


def join(call: Call) -> Answer:
    """Parts, and the original after them if its sound is wanted, into one MP4."""
    arguments = call.arguments
    count = arguments["parts"]
    frames = concatenate(
        _Parts(call, count),
        call.target(),
        time_base=Fraction(arguments["time_base"]),
        audio_source=call.source(count) if arguments["sound"] else None,
        end_pts=arguments["end_pts"],
        limits=Limits(**arguments["limits"]),
    )
    return {"frames": frames}, b""


def copied(call: Call) -> Answer:
    """A video that browsers play, into an MP4."""
    limits = Limits(**call.arguments["limits"])
    return {"frames": remux(call.source(), FrameIndex.from_bytes(call.data), call.target(), limits)}, b""


def playable(call: Call) -> Answer:
    """Whether browsers play a video."""
    limits = Limits(**call.arguments["limits"])
    return {"playable": plays_in_browsers(call.source(), FrameIndex.from_bytes(call.data), limits)}, b""


class _Parts(Sequence[BinaryFile]):
    """The first sources of a call, each opened when it is reached."""

    def __init__(self, call: Call, count: int) -> None:
        self._call = call
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> BinaryFile:  # type: ignore[override]
        if number >= self._count:
            raise IndexError
        return self._call.source(number)


def _write(call: Call, start: int, image: Image) -> None:
    assert call.shared is not None
    target: Image = np.ndarray(image.shape, np.uint8, buffer=call.shared, offset=start)
    target[...] = image
