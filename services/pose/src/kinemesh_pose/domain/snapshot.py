"""What stitching remembers between segments: small, versioned, plain arrays, never a pickle."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kinemesh.errors import FailedPrecondition, InvalidArgument
from kinemesh_pose.domain.skeleton import COUNT, Floats, Ints

VERSION = 1
HISTORY = 16
"""Frames of landmarks kept per person: what warm-up frames of the next segment are compared with."""
PROPORTIONS = 6
"""Numbers in a person's descriptor."""

_MAGIC = b"KMPS"
_HEADER = struct.Struct("<4sHHIqq")  # magic, version, history, persons, last frame, next id


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The persons that may still appear, after all frames up to ``last_frame``. P persons, by id.

    Lengths are in picture heights. All arrays are little-endian in memory order when serialised.
    """

    last_frame: int
    """Last frame seen by the stitcher; -1 before the first."""
    next_id: int
    """Id of the next new person."""
    ids: Ints
    """[P] person ids, ascending."""
    time_s: Floats
    """[P] when each was last seen."""
    first_s: Floats
    """[P] when each was first seen."""
    seen: Ints
    """[P] number of frames in which each was seen."""
    velocity: Floats
    """[P, 2] of the body centre, picture heights per second."""
    size: Floats
    """[P] body size (:func:`~kinemesh_pose.domain.skeleton.body_size`), averaged over time."""
    proportions: Floats
    """[P, 6] logarithms of bone lengths relative to body size, averaged over time: the descriptor."""
    frames: Ints
    """[P, HISTORY] indices of the frames of ``landmarks``, latest last; -1 where there is none."""
    landmarks: NDArray[np.float32]
    """[P, HISTORY, 33, 3] x, y in picture heights and visibility."""

    def take(self, rows: NDArray[np.bool_] | Ints) -> Snapshot:
        """The same snapshot with only the persons at ``rows``."""
        arrays = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return Snapshot(last_frame=self.last_frame, next_id=self.next_id, **arrays)

    def to_bytes(self) -> bytes:
        """Serialise: a fixed header, then the arrays one after the other. Same snapshot, same bytes."""
        header = _HEADER.pack(_MAGIC, VERSION, HISTORY, len(self.ids), self.last_frame, self.next_id)
        arrays = (getattr(self, name).astype(dtype).tobytes() for name, (dtype, _) in _ARRAYS.items())
        return b"".join((header, *arrays))

    @staticmethod
    def from_bytes(data: bytes) -> Snapshot:
        """Read what :meth:`to_bytes` wrote.

        :raises FailedPrecondition: SNAPSHOT_VERSION if another version wrote it.
        :raises InvalidArgument: SNAPSHOT_CORRUPT if it is no snapshot or is cut short.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC:
            raise InvalidArgument("SNAPSHOT_CORRUPT", "These bytes are not a stitching snapshot.", size=len(data))
        _, version, history, persons, last_frame, next_id = _HEADER.unpack_from(data)
        if (version, history) != (VERSION, HISTORY):
            raise FailedPrecondition(
                "SNAPSHOT_VERSION", "The stitching snapshot was written by another version.", version=version
            )
        shapes = {name: (persons, *shape) for name, (_, shape) in _ARRAYS.items()}
        sizes = {name: int(np.prod(shapes[name])) * np.dtype(dtype).itemsize for name, (dtype, _) in _ARRAYS.items()}
        if len(data) != _HEADER.size + sum(sizes.values()):
            raise InvalidArgument("SNAPSHOT_CORRUPT", "The stitching snapshot has the wrong length.", size=len(data))
        arrays, offset = {}, _HEADER.size
        for name, (dtype, _) in _ARRAYS.items():
            flat = np.frombuffer(data, dtype=dtype, count=int(np.prod(shapes[name])), offset=offset)
            arrays[name] = flat.reshape(shapes[name]).astype(np.dtype(dtype).newbyteorder("="))
            offset += sizes[name]
        return Snapshot(last_frame=last_frame, next_id=next_id, **arrays)


_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "ids": ("<i8", ()),
    "time_s": ("<f8", ()),
    "first_s": ("<f8", ()),
    "seen": ("<i8", ()),
    "velocity": ("<f8", (2,)),
    "size": ("<f8", ()),
    "proportions": ("<f8", (PROPORTIONS,)),
    "frames": ("<i8", (HISTORY,)),
    "landmarks": ("<f4", (HISTORY, COUNT, 3)),
}


def empty_snapshot() -> Snapshot:
    """The snapshot before the first segment."""
    arrays = {name: np.zeros((0, *shape), dtype=dtype) for name, (dtype, shape) in _ARRAYS.items()}
    return Snapshot(last_frame=-1, next_id=1, **arrays)


def same_snapshot(a: Snapshot, b: Snapshot) -> bool:
    """Whether two snapshots hold the same numbers."""
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Snapshot))
