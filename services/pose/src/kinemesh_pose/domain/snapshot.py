"""What stitching remembers between segments."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.bodies.skeleton import COUNT, Floats, Ints
from kinemesh.snapshot import SnapshotFormat

VERSION = 2
HISTORY = 16
"""Frames of landmarks kept per person: what warm-up frames of the next segment are compared with."""
PROPORTIONS = 6
"""Numbers in a person's descriptor."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The persons that may still appear, after all frames up to ``last_frame``. P persons, by id.

    Lengths are in picture heights.
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
    """[P] body size (:func:`~kinemesh.bodies.skeleton.body_size`), averaged over time."""
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
        """Serialise. Same snapshot, same bytes."""
        return _FORMAT.pack(self)

    @staticmethod
    def from_bytes(data: bytes) -> Snapshot:
        """Read what :meth:`to_bytes` wrote.

        :raises FailedPrecondition: SNAPSHOT_VERSION if another version wrote it.
        :raises InvalidArgument: SNAPSHOT_CORRUPT if it is no snapshot or is cut short.
        """
        return Snapshot(**_FORMAT.unpack(data))


_ARRAYS: Final[dict[str, tuple[str, tuple[int, ...]]]] = {
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
_FORMAT: Final = SnapshotFormat(
    b"KMPS",
    VERSION,
    ("last_frame", "next_id"),
    {name: (dtype, ("persons", *shape)) for name, (dtype, shape) in _ARRAYS.items()},
)


def empty_snapshot() -> Snapshot:
    """The snapshot before the first segment."""
    arrays = {name: np.zeros((0, *shape), dtype=dtype) for name, (dtype, shape) in _ARRAYS.items()}
    return Snapshot(last_frame=-1, next_id=1, **arrays)


def same_snapshot(a: Snapshot, b: Snapshot) -> bool:
    """Whether two snapshots hold the same numbers."""
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Snapshot))
