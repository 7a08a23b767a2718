"""What a tracker remembers between frames and between segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.snapshot import SnapshotFormat
from kinemesh_detect_track.domain.boxes import Floats, Ints

VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class CameraPath:
    """Where the camera looked in consecutive frames.

    :ivar offsets: float64 [F, 2], the tracker's ``camera`` after each.
    """

    offsets: Floats

    def to_bytes(self) -> bytes:
        """The same path gives the same bytes."""
        return _CAMERA.pack(self)

    @staticmethod
    def from_bytes(data: bytes) -> CameraPath:
        """Read what :meth:`to_bytes` wrote; raises as :meth:`TrackerState.from_bytes`."""
        return CameraPath(**_CAMERA.unpack(data))


@dataclass(frozen=True, slots=True, eq=False)
class TrackerState:
    """T tracks after some frames. Boxes are in a frame of reference that does not move with the camera.

    :ivar frames: number of frames taken.
    :ivar next_id: id of the next track.
    :ivar camera: float64 [2], by how many pixels the picture has moved since the first frame.
    :ivar ids: int64 [T]; 0 for a track that has been seen only once.
    :ivar hits: int64 [T], frames in which each was seen.
    :ivar unseen: float64 [T], time since each was seen, in frames of the nominal rate.
    :ivar classes: int64 [T].
    :ivar box: float64 [T, 4], see :class:`~kinemesh_detect_track.domain.motion.Motion`.
    :ivar velocity: float64 [T, 4].
    :ivar covariance: float64 [T, 4, 3].
    :ivar looks: float32 [T, E], running mean of each track's embeddings; zeros where none is known. E is 0 if no
        detection had one.
    """

    frames: int
    next_id: int
    camera: Floats
    ids: Ints
    hits: Ints
    unseen: Floats
    classes: Ints
    box: Floats
    velocity: Floats
    covariance: Floats
    looks: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """A snapshot. The same state gives the same bytes."""
        return _FORMAT.pack(self)

    @staticmethod
    def from_bytes(data: bytes) -> TrackerState:
        """Read what :meth:`to_bytes` wrote.

        :raises FailedPrecondition: SNAPSHOT_VERSION if another version wrote it.
        :raises InvalidArgument: SNAPSHOT_CORRUPT if it is no snapshot or is cut short.
        """
        return TrackerState(**_FORMAT.unpack(data))


_CAMERA: Final = SnapshotFormat(b"KMCP", VERSION, (), {"offsets": ("<f8", ("frames", 2))})
_FORMAT: Final = SnapshotFormat(
    b"KMTS",
    VERSION,
    ("frames", "next_id"),
    {
        "camera": ("<f8", (2,)),
        "ids": ("<i8", ("tracks",)),
        "hits": ("<i8", ("tracks",)),
        "unseen": ("<f8", ("tracks",)),
        "classes": ("<i8", ("tracks",)),
        "box": ("<f8", ("tracks", 4)),
        "velocity": ("<f8", ("tracks", 4)),
        "covariance": ("<f8", ("tracks", 4, 3)),
        "looks": ("<f4", ("tracks", "embedding")),
    },
)


def fresh_state() -> TrackerState:
    """The state before the first frame."""
    return TrackerState(
        frames=0,
        next_id=1,
        camera=np.zeros(2),
        ids=np.zeros(0, np.int64),
        hits=np.zeros(0, np.int64),
        unseen=np.zeros(0),
        classes=np.zeros(0, np.int64),
        box=np.zeros((0, 4)),
        velocity=np.zeros((0, 4)),
        covariance=np.zeros((0, 4, 3)),
        looks=np.zeros((0, 0), np.float32),
    )
