"""Probing, indexing, decoding and copying what nobody has proven yet, each in a confined process of its own.

The functions are those of :mod:`kinemesh.media`, with the same results, and three more ways to refuse a file:
``DECODER_CRASHED`` (UnsupportedMedia), ``DECODER_OUT_OF_MEMORY`` and ``DECODER_TIMEOUT`` (TooLarge). They block.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from kinemesh.confined.files import Target
from kinemesh.confined.messages import Message
from kinemesh.confined.parent import Budget, Child, Confinement
from kinemesh.confined.settings import DecodingSettings
from kinemesh.errors import UnsupportedMedia
from kinemesh.media import picture as pictures
from kinemesh.media.concat import concatenate
from kinemesh.media.decode import check_range, decode
from kinemesh.media.index import FrameIndex, build_index
from kinemesh.media.probe import probe
from kinemesh.media.remux import plays_in_browsers, remux
from kinemesh.media.source import BinaryFile, Source, open_bytes
from kinemesh.media.types import DEFAULT_LIMITS, Frame, Layout, Limits, VideoInfo
from kinemesh.nv12 import Image, even_size

_WORK: Final = "kinemesh.media.confined_work"
_RING_BYTES: Final = 24 << 20
_MOST_SLOTS: Final = 8
_SOUND_BYTES_PER_S: Final = 24_000  # of sound that is encoded anew, with its share of the index


class Decoder:
    """Decodes hostile media. One for a process; give it back with :meth:`close`."""

    def __init__(self, settings: DecodingSettings) -> None:
        self._settings = settings
        self._confinement = Confinement([_WORK]) if settings.confined else None

    def close(self) -> None:
        """End all processes."""
        if self._confinement is not None:
            self._confinement.close()

    def probe(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> VideoInfo:
        """As :func:`kinemesh.media.probe`."""
        if self._confinement is None:
            return probe(source, limits)
        with open_bytes(source) as file, self._confinement.child(self._budget(self._settings.look_s)) as child:
            answer = child.call(f"{_WORK}:look", {"limits": asdict(limits)}, sources=[file])
        with _plausible():
            told = answer.facts
            kinds = {"str": str, "int": int, "float": float, "Fraction": Fraction}
            return VideoInfo(**{field.name: kinds[str(field.type)](told[field.name]) for field in fields(VideoInfo)})

    def build_index(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> FrameIndex:
        """As :func:`kinemesh.media.build_index`."""
        if self._confinement is None:
            return build_index(source, limits)
        with open_bytes(source) as file, self._confinement.child(self._budget(self._settings.index_s)) as child:
            answer = child.call(f"{_WORK}:index", {"limits": asdict(limits)}, sources=[file])
        with _plausible():
            return FrameIndex.from_bytes(answer.data)

    def decode_picture(self, data: bytes, max_pixels: int) -> Image:
        """As :func:`kinemesh.media.picture.decode_picture`."""
        with self.pictures() as decode_one:
            return decode_one(data, max_pixels)

    @contextlib.contextmanager
    def pictures(self) -> Iterator[Callable[[bytes, int], Image]]:
        """The same for a series of pictures: in one process, unless one of them ends it."""
        if self._confinement is None:
            yield pictures.decode_picture
            return
        confinement = self._confinement
        with contextlib.ExitStack() as stack:
            child: Child | None = None
            one_at_a_time = threading.Lock()

            def decode_one(data: bytes, max_pixels: int) -> Image:
                nonlocal child
                width, height = pictures.check_picture(data, max_pixels)
                with one_at_a_time:
                    if child is None or child.has_ended:
                        stack.close()
                        child = stack.enter_context(confinement.child(self._budget(self._settings.look_s)))
                    return _picture(child, data, width * height * 3, max_pixels)

            yield decode_one

    def decode(
        self,
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
    ) -> Generator[Frame, None, None]:
        """As :func:`kinemesh.media.decode`: frames come through shared memory, a few of them ahead."""
        if self._confinement is None:
            given = decode(
                source, index, start, stop, size=size, whole=whole, layout=layout, threads=threads, limits=limits
            )
            return (frame for frame in given)
        stop, size = check_range(index, start, stop, size, limits)
        seen = [number for number in range(start, stop) if whole is not None and whole(number)]
        arguments = {"start": start, "stop": stop, "size": size, "whole": seen, "layout": layout, "threads": threads}
        return self._frames(source, index, {**arguments, "limits": asdict(limits)})

    def concatenate(
        self,
        parts: Sequence[Source],
        out: str | os.PathLike[str],
        *,
        time_base: Fraction,
        audio_source: Source | None = None,
        end_pts: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> int:
        """As :func:`kinemesh.media.concatenate`, but if it raises there is no file."""
        if self._confinement is None:
            with _none_if_failed(out):
                return concatenate(
                    parts, out, time_base=time_base, audio_source=audio_source, end_pts=end_pts, limits=limits
                )
        arguments = {"parts": len(parts), "sound": audio_source is not None, "time_base": str(time_base)}
        with contextlib.ExitStack() as stack:
            after = [] if audio_source is None else [stack.enter_context(open_bytes(audio_source))]
            files = stack.enter_context(_Opened(parts, after))
            return self._written("join", {**arguments, "end_pts": end_pts}, b"", files, out, limits)

    def remux(
        self, source: Source, index: FrameIndex, out: str | os.PathLike[str], limits: Limits = DEFAULT_LIMITS
    ) -> int:
        """As :func:`kinemesh.media.remux`, but if it raises there is no file."""
        if self._confinement is None:
            with _none_if_failed(out):
                return remux(source, index, out, limits)
        with open_bytes(source) as file:
            return self._written("copied", {}, index.to_bytes(), [file], out, limits)

    def plays_in_browsers(self, source: Source, index: FrameIndex, limits: Limits = DEFAULT_LIMITS) -> bool:
        """As :func:`kinemesh.media.plays_in_browsers`."""
        if self._confinement is None:
            return plays_in_browsers(source, index, limits)
        arguments = {"limits": asdict(limits)}
        with open_bytes(source) as file, self._confinement.child(self._budget(self._settings.look_s)) as child:
            answer = child.call(f"{_WORK}:playable", arguments, index.to_bytes(), sources=[file])
        with _plausible():
            return bool(answer.facts["playable"])

    def _written(
        self,
        work: str,
        arguments: dict[str, Any],
        data: bytes,
        sources: Sequence[BinaryFile],
        out: str | os.PathLike[str],
        limits: Limits,
    ) -> int:
        """How many frames the child has put into the MP4 ``out``."""
        assert self._confinement is not None
        beside = math.ceil(limits.max_duration_s * _SOUND_BYTES_PER_S)
        budget = self._budget(None)
        with _none_if_failed(out), Path(out).open("w+b") as file, self._confinement.child(budget) as child:
            arguments = {**arguments, "limits": asdict(limits)}
            answer = child.call(f"{_WORK}:{work}", arguments, data, sources=sources, target=Target(file, beside))
            with _plausible():
                return int(answer.facts["frames"])

    def _frames(self, source: Source, index: FrameIndex, arguments: dict[str, Any]) -> Generator[Frame, None, None]:
        assert self._confinement is not None
        width, height = arguments["size"]
        if arguments["layout"] == "nv12":
            even_width, even_height = even_size(width, height)
            shape: tuple[int, ...] = (even_height * 3 // 2, even_width)
        else:
            shape = (height, width, 3)
        whole_shape = (index.height, index.width, 3)
        seen = frozenset(arguments["whole"])
        image_bytes = math.prod(shape)
        slot_bytes = image_bytes + (math.prod(whole_shape) if seen else 0)
        slots = max(2, min(_MOST_SLOTS, _RING_BYTES // slot_bytes))
        wanted = iter(range(arguments["start"], arguments["stop"]))
        budget = self._budget(None)
        with (
            _shared(slots * slot_bytes) as (descriptor, ring),
            open_bytes(source) as file,
            self._confinement.child(budget) as child,
        ):
            given = child.stream(
                f"{_WORK}:frames",
                {**arguments, "slots": slots, "slot_bytes": slot_bytes},
                index.to_bytes(),
                sources=[file],
                shared=descriptor,
            )
            for position, message in enumerate(given):
                number = next(wanted, None)
                if number is None:
                    return
                if message.facts.get("number") != number:
                    raise _implausible()
                offset = position % slots * slot_bytes
                image = _copy(ring, offset, shape)
                full = _copy(ring, offset + image_bytes, whole_shape) if number in seen else None
                yield Frame(number, int(index.pts[number]), image, full)

    def _budget(self, total_s: float | None) -> Budget:
        settings = self._settings
        cpu_s = math.ceil(settings.index_s if total_s is None else total_s)
        return Budget(settings.memory_mb, total_s, settings.silent_s, cpu_s)


class _Opened(Sequence[BinaryFile]):
    """Parts, one of which is open at a time, and other files after them."""

    def __init__(self, parts: Sequence[Source], after: Sequence[BinaryFile]) -> None:
        self._parts = parts
        self._after = after
        self._open: tuple[int, BinaryFile] | None = None
        self._stack = contextlib.ExitStack()

    def __len__(self) -> int:
        return len(self._parts) + len(self._after)

    def __getitem__(self, number: int) -> BinaryFile:  # type: ignore[override]
        if number >= len(self._parts):
            return self._after[number - len(self._parts)]
        if self._open is None or self._open[0] != number:
            self._open = None
            self._stack.close()
            self._open = number, self._stack.enter_context(open_bytes(self._parts[number]))
        return self._open[1]

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _picture(child: Child, data: bytes, size: int, max_pixels: int) -> Image:
    with _shared(size) as (descriptor, memory):
        answer: Message = child.call(f"{_WORK}:picture", {"max_pixels": max_pixels}, data, shared=descriptor)
        with _plausible():
            height, width, channels = (int(value) for value in answer.facts["shape"])
            if channels != 3 or height < 1 or width < 1 or height * width * channels > size:
                raise _implausible()
        return _copy(memory, 0, (height, width, channels))


@contextlib.contextmanager
def _shared(size: int) -> Iterator[tuple[int, mmap.mmap]]:
    """Memory without a name, whose size nobody can change: whoever shrank it would end those that read it."""
    descriptor = os.memfd_create("kinemesh", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        with contextlib.closing(mmap.mmap(descriptor, size)) as memory:
            yield descriptor, memory
    finally:
        os.close(descriptor)


def _copy(memory: mmap.mmap, offset: int, shape: tuple[int, ...]) -> Image:
    seen: Image = np.ndarray(shape, np.uint8, buffer=memory, offset=offset)
    return seen.copy()


@contextlib.contextmanager
def _none_if_failed(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _plausible() -> Iterator[None]:
    """What a decoder says that was taken over is no more than a reason to refuse its file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise _implausible() from error


def _implausible() -> UnsupportedMedia:
    return UnsupportedMedia("DECODER_CRASHED", "The file makes its decoder fail; it is damaged, or made to.")
