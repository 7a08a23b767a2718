"""What tracks tell of a pit stop: who was there, where, for how long, who stood still, and what happened when.

A frame lasts until the next one. An **object** is **present** in a frame if it has a box there, seen or filled in;
absences of up to 0.5 s are bridged. It is **in a zone** while the middle of its box's lower edge lies in the polygon,
bridged likewise. Spans of time begin with their first frame and end with their last frame's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from kinemesh.results.tracks import TrackRows
from kinemesh_detect_track.domain.boxes import Floats, Ints
from kinemesh_detect_track.domain.recording import Recording
from kinemesh_detect_track.domain.stops import stops
from kinemesh_detect_track.domain.zones import Visit, Zone, feet, most_at_once, spells, union, visits


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time of one object: its presence, or a stop.

    :ivar complete: whether the object was there both before and after; if not, a stop may have lasted longer.
    """

    track_id: int
    start_sec: float
    end_sec: float
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """One object.

    :ivar class_id: the class of most of its boxes, the lower of two.
    :ivar first_frame: in which it was present.
    :ivar last_frame: in which it was present.
    :ivar first_sec: when its first frame begins.
    :ivar last_sec: when its last frame ends.
    :ivar seen_sec: time of the frames in which it was seen, boxes that were filled in left out.
    :ivar stationary_sec: time in its stops.
    :ivar mean_score: of the boxes that were seen; 0 if none was.
    """

    track_id: int
    class_id: int
    first_frame: int
    last_frame: int
    first_sec: float
    last_sec: float
    seen_sec: float
    stationary_sec: float
    mean_score: float


@dataclass(frozen=True, slots=True)
class ClassReport:
    """All objects of one class.

    :ivar present_sec: time of the frames with at least one of them.
    :ivar most_at_once: of them in one frame.
    """

    class_id: int
    objects: int
    first_sec: float
    last_sec: float
    present_sec: float
    most_at_once: int


@dataclass(frozen=True, slots=True)
class Dwell:
    """Visits to one zone, of one class or (``class_id`` None) of all.

    :ivar total_sec: sum of the visits' lengths: two objects for a second are two seconds.
    :ivar occupied_sec: time with at least one object.
    :ivar most_at_once: of objects.
    """

    zone: str
    class_id: int | None
    visits: int
    total_sec: float
    mean_sec: float
    max_sec: float
    occupied_sec: float
    most_at_once: int


class EventType(Enum):
    """What happened. In this order where several happen at once: what ends comes first."""

    GO = "GO"
    LEAVE = "LEAVE"
    CLEAR = "CLEAR"
    DISAPPEAR = "DISAPPEAR"
    APPEAR = "APPEAR"
    OCCUPIED = "OCCUPIED"
    ENTER = "ENTER"
    STOP = "STOP"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline.

    :ivar frame: the first frame in which it is so.
    :ivar track_id: the object; 0 if it is about a zone alone.
    :ivar class_id: of the object; None if it is about a zone alone.
    :ivar zone: empty if it is about an object alone.
    :ivar duration_sec: of what begins or ends here: presence, visit, occupation or stop.
    """

    type: EventType
    time_sec: float
    frame: int
    track_id: int
    class_id: int | None
    zone: str
    duration_sec: float


@dataclass(frozen=True, slots=True)
class Report:
    """All of it; objects by id, classes by id, visits and stops by time, events by time and type.

    Whatever lasts until the recording's end has an event for its beginning only, and so has a stop that lasts for as
    long as the object is there: nobody saw it go.
    """

    objects: list[ObjectReport]
    classes: list[ClassReport]
    dwells: list[Dwell]
    visits: list[Visit]
    stops: list[Span]
    events: list[Event]


def report(rows: TrackRows, recording: Recording, zones: Sequence[Zone]) -> Report:
    """Measure all objects.

    :param rows: by frame; boxes without a track (id 0) are left out.
    :param zones: of unique names, see :mod:`~kinemesh_detect_track.domain.zones`.
    """
    rows = rows.where(rows.track_id > 0)
    track = rows.track_id.astype(np.int64)
    start, end = recording.times[rows.frame_index], recording.ends[rows.frame_index]
    ids, which = np.unique(track, return_inverse=True)
    classes = _classes(which, rows.class_id.astype(np.int64), len(ids))
    class_of = dict(zip(ids.tolist(), classes.tolist(), strict=True))

    order = np.argsort(track, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(track[order])) + 1) if len(order) else []
    stopped = [span for part in parts for span in _stops(rows.where(part), end[part], start[part])]
    stopped.sort(key=lambda span: (span.start_sec, span.track_id))
    presence = [Span(int(track[a]), float(start[a]), float(end[b])) for a, b in spells(track, start, end)]
    ground = feet(rows.box, recording.width, recording.height)
    visited = visits(track, classes[which], start, end, ground, zones)
    return Report(
        objects=[_object(rows.where(part), start[part], end[part], class_of, stopped) for part in parts],
        classes=_class_reports(rows, classes[which], track, recording),
        dwells=_dwells(visited, zones),
        visits=visited,
        stops=stopped,
        events=_events(presence, visited, stopped, class_of, recording),
    )


def _classes(which: Ints, class_id: Ints, objects: int) -> Ints:
    """The class of most of each object's boxes: int64 [objects]."""
    known, index = np.unique(class_id, return_inverse=True)
    votes = np.zeros((objects, len(known)), np.int64)
    np.add.at(votes, (which, index), 1)
    return known[votes.argmax(axis=1)] if objects else np.empty(0, np.int64)


def _stops(own: TrackRows, end: Floats, start: Floats) -> list[Span]:
    """Stops of one object, by the corners of its box (so that coming nearer is movement) and its size, √(width ·
    height)."""
    box = own.box.astype(np.float64)
    size = np.sqrt(np.maximum((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]), 1e-9))
    spans = stops(start, box.reshape(-1, 2, 2), size)
    return [
        Span(int(own.track_id[0]), float(start[a]), float(end[b]), complete=a > 0 and b < len(own) - 1)
        for a, b in spans
    ]


def _object(
    own: TrackRows, start: Floats, end: Floats, class_of: dict[int, int], stopped: Sequence[Span]
) -> ObjectReport:
    seen = ~own.interpolated
    track_id = int(own.track_id[0])
    return ObjectReport(
        track_id=track_id,
        class_id=class_of[track_id],
        first_frame=int(own.frame_index[0]),
        last_frame=int(own.frame_index[-1]),
        first_sec=float(start[0]),
        last_sec=float(end[-1]),
        seen_sec=float((end - start)[seen].sum()),
        stationary_sec=sum((span.end_sec - span.start_sec for span in stopped if span.track_id == track_id), 0.0),
        mean_score=float(own.score[seen].astype(np.float64).mean()) if seen.any() else 0.0,
    )


def _class_reports(rows: TrackRows, class_id: Ints, track: Ints, recording: Recording) -> list[ClassReport]:
    found = []
    lasts = recording.ends - recording.times
    for number in np.unique(class_id).tolist():
        own = class_id == number
        frames, counts = np.unique(rows.frame_index[own], return_counts=True)
        found.append(
            ClassReport(
                class_id=number,
                objects=len(np.unique(track[own])),
                first_sec=float(recording.times[frames[0]]),
                last_sec=float(recording.ends[frames[-1]]),
                present_sec=float(lasts[frames].sum()),
                most_at_once=int(counts.max()),
            )
        )
    return found


def _dwells(visited: Sequence[Visit], zones: Sequence[Zone]) -> list[Dwell]:
    """For every zone in the order given: all classes together, then each class that was there."""
    found = []
    for zone in zones:
        own = [visit for visit in visited if visit.zone == zone.name]
        found.append(_dwell(zone.name, None, own))
        classes = sorted({visit.class_id for visit in own})
        found += [_dwell(zone.name, number, [v for v in own if v.class_id == number]) for number in classes]
    return found


def _dwell(zone: str, class_id: int | None, own: Sequence[Visit]) -> Dwell:
    spans = [(visit.start_sec, visit.end_sec) for visit in own]
    lengths = [end - start for start, end in spans]
    total = sum(lengths, 0.0)
    return Dwell(
        zone=zone,
        class_id=class_id,
        visits=len(own),
        total_sec=total,
        mean_sec=total / len(own) if own else 0.0,
        max_sec=max(lengths, default=0.0),
        occupied_sec=sum((end - start for start, end in union(spans)), 0.0),
        most_at_once=most_at_once(spans),
    )


def _events(
    presence: Sequence[Span],
    visited: Sequence[Visit],
    stopped: Sequence[Span],
    class_of: dict[int, int],
    recording: Recording,
) -> list[Event]:
    events: list[Event] = []

    def add(begins: EventType, ends: EventType | None, track_id: int, zone: str, start: float, end: float) -> None:
        for kind, time in ((begins, start), (ends, end)):
            if kind is None:
                continue
            frame = int(np.searchsorted(recording.times, time))
            if frame < len(recording.times):
                events.append(Event(kind, time, frame, track_id, class_of.get(track_id), zone, end - start))

    for span in presence:
        add(EventType.APPEAR, EventType.DISAPPEAR, span.track_id, "", span.start_sec, span.end_sec)
    for visit in visited:
        add(EventType.ENTER, EventType.LEAVE, visit.track_id, visit.zone, visit.start_sec, visit.end_sec)
    for zone in sorted({visit.zone for visit in visited}):
        for start, end in union([(visit.start_sec, visit.end_sec) for visit in visited if visit.zone == zone]):
            add(EventType.OCCUPIED, EventType.CLEAR, 0, zone, start, end)
    gone = {span.track_id: span.end_sec for span in presence}
    for span in stopped:
        goes = EventType.GO if span.end_sec < gone[span.track_id] else None
        add(EventType.STOP, goes, span.track_id, "", span.start_sec, span.end_sec)
    rank = {kind: place for place, kind in enumerate(EventType)}
    return sorted(events, key=lambda event: (event.time_sec, rank[event.type], event.zone, event.track_id))
