"""What the association of several cameras remembers between steps, and between windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.snapshot import SnapshotFormat
from kinemesh_detect_track.domain.association import appearance
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.looks import Looks, alike, of_size

VERSION: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """P people, T tracks of cameras that belong to them or to nobody yet, and M pairs of people who are at one place.

    :ivar time: float64 [1], seconds of the latest step on the environment's clock; NaN before the first.
    :ivar metre: float64 [1], length of a metre in a map's unit that does not tell; NaN as long as it is not known.
    :ivar next_number: of the next person.
    :ivar numbers: int64 [P], ascending.
    :ivar placed: bool [P], whether a person has a place on the map.
    :ivar mean: float64 [P, 4], ``x y vx vy`` on the map at ``time``.
    :ivar covariance: float64 [P, 4, 4].
    :ivar last: float64 [P, C], when each camera last showed each person; -inf if never.
    :ivar looks: float32 [P, E], sum of embeddings times their worth.
    :ivar track_camera: int64 [T], position of the camera among the site's.
    :ivar track_id: int64 [T], ascending within each camera.
    :ivar track_person: int64 [T], number of the person; 0 as long as it is undecided.
    :ivar track_since: float64 [T], when the track began, or was taken from the person it was thought to be.
    :ivar track_born: float64 [T], when the track was first seen.
    :ivar track_seen: float64 [T].
    :ivar track_stray: float64 [T], since when the track has been away from where its person is; NaN if it is not.
    :ivar track_place: float64 [T, 2], where the track was last seen on the map; NaN if that is not known.
    :ivar track_spread: float64 [T, 2, 2], covariance of that, calibration included.
    :ivar track_ratio: float64 [T], height by width when the whole person was seen; NaN before.
    :ivar track_looks: float32 [T, E], sum of embeddings times their worth.
    :ivar pair: int64 [M, 2], numbers of people, the lower first.
    :ivar pair_since: float64 [M], since when they have been at one place, seen by different cameras.
    :ivar cosines: float64 [2, 3], see :func:`~kinemesh_detect_track.domain.association.appearance.unknown`.
    """

    time: Floats
    metre: Floats
    next_number: int
    numbers: Ints
    placed: NDArray[np.bool_]
    mean: Floats
    covariance: Floats
    last: Floats
    looks: Looks
    track_camera: Ints
    track_id: Ints
    track_person: Ints
    track_since: Floats
    track_born: Floats
    track_seen: Floats
    track_stray: Floats
    track_place: Floats
    track_spread: Floats
    track_ratio: Floats
    track_looks: Looks
    pair: Ints
    pair_since: Floats
    cosines: Floats

    def to_bytes(self) -> bytes:
        """A snapshot. The same state gives the same bytes."""
        return _FORMAT.pack(self)

    @staticmethod
    def from_bytes(data: bytes) -> People:
        """Read what :meth:`to_bytes` wrote.

        :raises FailedPrecondition: SNAPSHOT_VERSION if another version wrote it.
        :raises InvalidArgument: SNAPSHOT_CORRUPT if it is no snapshot or is cut short.
        """
        return People(**_FORMAT.unpack(data))


_FORMAT: Final = SnapshotFormat(
    b"KMPP",
    VERSION,
    ("next_number",),
    {
        "time": ("<f8", (1,)),
        "metre": ("<f8", (1,)),
        "numbers": ("<i8", ("people",)),
        "placed": ("|b1", ("people",)),
        "mean": ("<f8", ("people", 4)),
        "covariance": ("<f8", ("people", 4, 4)),
        "last": ("<f8", ("people", "cameras")),
        "looks": ("<f4", ("people", "embedding")),
        "track_camera": ("<i8", ("tracks",)),
        "track_id": ("<i8", ("tracks",)),
        "track_person": ("<i8", ("tracks",)),
        "track_since": ("<f8", ("tracks",)),
        "track_born": ("<f8", ("tracks",)),
        "track_seen": ("<f8", ("tracks",)),
        "track_stray": ("<f8", ("tracks",)),
        "track_place": ("<f8", ("tracks", 2)),
        "track_spread": ("<f8", ("tracks", 2, 2)),
        "track_ratio": ("<f8", ("tracks",)),
        "track_looks": ("<f4", ("tracks", "embedding")),
        "pair": ("<i8", ("pairs", 2)),
        "pair_since": ("<f8", ("pairs",)),
        "cosines": ("<f8", (2, 3)),
    },
)


def nobody(cameras: int, known: Looks) -> People:
    """The state before the first step.

    :param known: float32 [G, E], looks of the people whom the gallery knows; they get the numbers from 1.
    """
    count, size = known.shape
    mean = appearance.mean_looks(known)
    others = alike(mean, mean)[np.triu_indices(count, 1)]
    return People(
        time=np.array([np.nan]),
        metre=np.array([np.nan]),
        next_number=count + 1,
        numbers=np.arange(1, count + 1),
        placed=np.zeros(count, np.bool_),
        mean=np.zeros((count, 4)),
        covariance=np.zeros((count, 4, 4)),
        last=np.full((count, cameras), -np.inf),
        looks=known.astype(np.float32),
        track_camera=np.zeros(0, np.int64),
        track_id=np.zeros(0, np.int64),
        track_person=np.zeros(0, np.int64),
        track_since=np.zeros(0),
        track_born=np.zeros(0),
        track_seen=np.zeros(0),
        track_stray=np.zeros(0),
        track_place=np.zeros((0, 2)),
        track_spread=np.zeros((0, 2, 2)),
        track_ratio=np.zeros(0),
        track_looks=np.zeros((0, size), np.float32),
        pair=np.zeros((0, 2), np.int64),
        pair_since=np.zeros(0),
        cosines=appearance.noted(appearance.unknown(), appearance.DIFFERENT, others),
    )


def looking(people: People, size: int) -> People:
    """The same people when embeddings turn out to have a length; before the first one, nothing tells which.

    :raises InvalidArgument: EMBEDDING_SIZE_CHANGED if they had another one.
    """
    before = people.looks.shape[1]
    return replace(
        people,
        looks=of_size(people.looks if before else None, len(people.looks), size),
        track_looks=of_size(people.track_looks if before else None, len(people.track_looks), size),
    )
