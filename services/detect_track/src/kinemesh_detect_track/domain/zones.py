"""Presence in zones: who was where from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.geometry.polygons import inside
from kinemesh_detect_track.domain.boxes import Floats, Ints

FLICKER_SEC: Final = 0.5
"""An absence that is not longer than this is none: boxes tremble at a zone's edge, and detectors blink."""


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A polygon; ``corners`` is float64 [P, 2], as fractions of the picture's width and height."""

    name: str
    corners: Floats


@dataclass(frozen=True, slots=True)
class Visit:
    """One object in one zone without a break; in seconds of presentation time."""

    track_id: int
    class_id: int
    zone: str
    start_sec: float
    end_sec: float


def feet(box: NDArray[np.floating], width: int, height: int) -> Floats:
    """Where boxes [R, 4] ``x1 y1 x2 y2`` in pixels touch the ground: the middle of their lower edges as fractions,
    float64 [R, 2]."""
    corners = box.astype(np.float64)
    return np.stack([(corners[:, 0] + corners[:, 2]) / 2 / width, corners[:, 3] / height], axis=1)


def spells(track_id: Ints, start_sec: Floats, end_sec: Floats) -> list[tuple[int, int]]:
    """Times of each object without a break of more than :data:`FLICKER_SEC`, as first and last row, by object and time.

    :param track_id: int64 [R], in order of time.
    :param start_sec: float64 [R], when the frame of each row is shown first.
    :param end_sec: float64 [R], when the next frame is.
    """
    if not len(track_id):
        return []
    order = np.argsort(track_id, kind="stable")
    same = np.diff(track_id[order]) == 0
    # The same frame rate gives 0.49999 or 0.50001 from place to place.
    together = same & (start_sec[order[1:]] - end_sec[order[:-1]] <= FLICKER_SEC + 1e-6)
    first = np.flatnonzero(np.append(True, ~together))
    last = np.append(first[1:], len(order)) - 1
    return list(zip(order[first].tolist(), order[last].tolist(), strict=True))


def visits(
    track_id: Ints, class_id: Ints, start_sec: Floats, end_sec: Floats, ground: Floats, zones: Sequence[Zone]
) -> list[Visit]:
    """All visits, by their beginnings. Parameters as in :func:`spells`.

    :param ground: float64 [R, 2], see :func:`feet`.
    """
    found = []
    for zone in zones:
        there = np.flatnonzero(inside(ground, zone.corners))
        own_id, own_start, own_end = track_id[there], start_sec[there], end_sec[there]
        found += [
            Visit(int(own_id[a]), int(class_id[there[a]]), zone.name, float(own_start[a]), float(own_end[b]))
            for a, b in spells(own_id, own_start, own_end)
        ]
    return sorted(found, key=lambda visit: (visit.start_sec, visit.zone, visit.track_id))


def union(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans of time that any of the given ones covers, in order; those that touch become one."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """How many spans overlap at most; one that ends when another starts does not."""
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(np.cumsum([change for _, change in changes]).tolist(), default=0)
