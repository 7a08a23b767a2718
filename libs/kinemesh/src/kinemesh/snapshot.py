"""What a stage remembers between segments, as bytes: a header and plain arrays, never a pickle."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np

from kinemesh.errors import FailedPrecondition, InvalidArgument

_START: Final = struct.Struct("<4sI")  # magic, version
_LONGEST: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class SnapshotFormat:
    """How one kind of object is written. The same object gives the same bytes.

    :ivar magic: four bytes that no other kind has.
    :ivar version: of the meaning of what follows.
    :ivar numbers: names of the attributes that are integers of 64 bits.
    :ivar arrays: by attribute, the little-endian type, such as ``<f8``, and the shape. A length that differs from
        object to object has a name, which stands for the same length in all arrays.
    """

    magic: bytes
    version: int
    numbers: tuple[str, ...]
    arrays: Mapping[str, tuple[str, tuple[int | str, ...]]]

    def pack(self, value: object) -> bytes:
        """Write an object.

        :raises ValueError: if its arrays have other shapes than they should.
        """
        lengths: dict[str, int] = {}
        parts = []
        for name, (dtype, shape) in self.arrays.items():
            array = np.asarray(getattr(value, name))
            if len(shape) == array.ndim:
                for side, length in zip(shape, array.shape, strict=True):
                    if isinstance(side, str):
                        lengths.setdefault(side, length)
            if array.shape != _sized(shape, lengths):
                raise ValueError(f"{name} has the shape {array.shape}, which is not {shape}")
            parts.append(array.astype(dtype).tobytes())
        numbers = [int(getattr(value, name)) for name in self.numbers]
        header = struct.pack(f"<{self._header_count()}q", *numbers, *lengths.values())
        return b"".join((_START.pack(self.magic, self.version), header, *parts))

    def unpack(self, data: bytes) -> dict[str, Any]:
        """The attributes of the object that was written; arrays are copies, in the machine's byte order.

        :raises FailedPrecondition: SNAPSHOT_VERSION if another version wrote it.
        :raises InvalidArgument: SNAPSHOT_CORRUPT if it is of another kind, or damaged.
        """
        if len(data) < _START.size or not data.startswith(self.magic):
            raise _corrupt(data)
        _, version = _START.unpack_from(data)
        if version != self.version:
            raise FailedPrecondition(
                "SNAPSHOT_VERSION", "The snapshot was written by another version.", version=version
            )
        offset = _START.size + 8 * self._header_count()
        if len(data) < offset:
            raise _corrupt(data)
        header = struct.unpack_from(f"<{self._header_count()}q", data, _START.size)
        values: dict[str, Any] = dict(zip(self.numbers, header, strict=False))
        lengths = dict(zip(self._sides(), header[len(self.numbers) :], strict=True))
        if any(not 0 <= length <= _LONGEST for length in lengths.values()):
            raise _corrupt(data)
        shapes = {name: _sized(shape, lengths) for name, (_, shape) in self.arrays.items()}
        sizes = {name: math.prod(shapes[name]) * np.dtype(dtype).itemsize for name, (dtype, _) in self.arrays.items()}
        if len(data) != offset + sum(sizes.values()):
            raise _corrupt(data)
        for name, (dtype, _) in self.arrays.items():
            flat = np.frombuffer(data, dtype, count=math.prod(shapes[name]), offset=offset)
            values[name] = flat.reshape(shapes[name]).astype(np.dtype(dtype).newbyteorder("="))
            offset += sizes[name]
        return values

    def _sides(self) -> dict[str, None]:
        """The named lengths, in the order in which they first occur."""
        return dict.fromkeys(
            side for side in chain.from_iterable(shape for _, shape in self.arrays.values()) if isinstance(side, str)
        )

    def _header_count(self) -> int:
        return len(self.numbers) + len(self._sides())


def _sized(shape: tuple[int | str, ...], lengths: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(lengths.get(side, -1) if isinstance(side, str) else side for side in shape)


def _corrupt(data: bytes) -> InvalidArgument:
    return InvalidArgument("SNAPSHOT_CORRUPT", "These bytes are no snapshot of this kind, or damaged.", size=len(data))
