"""What there is to draw of tracked objects and the zones they stand in: one frame cut out of tables of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.results.tracks import TrackRows
from kinemesh_render.domain.scene import LONGEST_GAP_SEC, Area, Scene, Thing, Trail

MOST_LABEL: Final = 40
"""Longer names are cut, so that captions fit beside what they name."""

_ROUNDED: Final = 1e-6  # as times are in documents


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A polygon and who was in it when.

    :ivar corners: float32 [P, 2], fractions of width and height.
    :ivar start: float64 [V], when each visit began, in seconds.
    :ivar end: float64 [V], when its last frame ended.
    """

    name: str
    corners: NDArray[np.float32]
    start: NDArray[np.float64]
    end: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TrackTable:
    """Boxes of many frames, ordered by frame, and the paths of their tracks, one after the other.

    :ivar place: int64 [R], where in the paths a row stands.
    :ivar first: int64 [R], where in the paths what leads to it without a gap begins, by place.
    :ivar times: float64 [R], by place.
    :ivar ground: float32 [R, 2], the middles of the boxes' lower edges, by place.
    """

    rows: TrackRows
    place: NDArray[np.int64]
    first: NDArray[np.int64]
    times: NDArray[np.float64]
    ground: NDArray[np.float32]

    def of_frame(self, frame: int) -> slice:
        """The rows of one frame."""
        start, stop = np.searchsorted(self.rows.frame_index, (frame, frame + 1))
        return slice(int(start), int(stop))

    def trail(self, row: int, seconds: float) -> Trail:
        """The path that led to a row in the seconds before it."""
        here = int(self.place[row])
        times = self.times[self.first[here] : here + 1]
        times = times[np.searchsorted(times, times[-1] - seconds) :]
        age = ((times[-1] - times) / seconds).astype(np.float32)
        return Trail(int(self.rows.track_id[row]), self.ground[here + 1 - len(times) : here + 1], age)


def table_of(rows: TrackRows) -> TrackTable:
    """Prepare rows, which are ordered by frame. Those of no track are left out."""
    rows = rows.where(rows.track_id > 0)
    order = np.argsort(rows.track_id, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    times, box, tracks = rows.time_sec[order], rows.box[order], rows.track_id[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(tracks) != 0) | (np.diff(times) > LONGEST_GAP_SEC)
    first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    ground = np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]], axis=1)
    return TrackTable(rows, place, first, times, ground)


def scene_of_tracks(
    table: TrackTable,
    labels: Mapping[int, str],
    zones: Sequence[Zone],
    frame: int,
    time_sec: float,
    size: tuple[int, int],
    trail_sec: float,
) -> Scene:
    """The objects of a frame, the trails of the middles of their lower edges, and the zones.

    :param labels: names of the tracks' classes.
    :param time_sec: when the frame is shown.
    :param size: width and height in pixels.
    :param trail_sec: how far trails reach back; 0 gives none.
    """
    rows = table.rows
    here = table.of_frame(frame)
    things = [
        thing_of(track, box, labels.get(track, ""), score, guessed=guessed)
        for track, box, score, guessed in zip(
            rows.track_id[here].tolist(),
            rows.box[here],
            rows.score[here].tolist(),
            rows.interpolated[here].tolist(),
            strict=True,
        )
    ]
    trails = [table.trail(row, trail_sec) for row in range(here.start, here.stop)] if trail_sec else []
    return Scene(trails=trails, things=things, areas=[_area(zone, time_sec, size) for zone in zones])


def thing_of(track: int, box: NDArray[np.float32], label: str, score: float, *, guessed: bool) -> Thing:
    """A tracked object's box, with a confidence only where it was seen."""
    name = label if len(label) <= MOST_LABEL else label[: MOST_LABEL - 1] + "…"
    return Thing(track, box, f"{name} #{track}".strip(), f"{score:.2f}" if score and not guessed else "", guessed)


def _area(zone: Zone, time_sec: float, size: tuple[int, int]) -> Area:
    corners = zone.corners * np.array(size, np.float32)
    inside = (zone.start <= time_sec + _ROUNDED) & (time_sec + _ROUNDED < zone.end)
    if not inside.any():
        return Area(zone.name, corners)
    longest = max(0.0, time_sec - float(zone.start[inside].min()))
    return Area(zone.name, corners, f"{int(inside.sum())} in · {duration(longest)}", occupied=True)


def duration(seconds: float) -> str:
    """``4.2 s``, or ``1:04.2`` from a minute on."""
    tenths = int(seconds * 10 + 0.5)
    return f"{tenths / 10:.1f} s" if tenths < 600 else f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
