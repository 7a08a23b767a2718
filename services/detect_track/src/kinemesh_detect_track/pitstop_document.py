"""The report of a pit stop as JSON, and its timeline as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, Final

from kinemesh_detect_track.domain.report import Dwell, Event, Report
from kinemesh_detect_track.domain.zones import Visit, Zone
from kinemesh_detect_track.values import label_of, rounded, six

_COLUMNS: Final = ("type", "time_sec", "frame_index", "track_id", "label", "zone", "duration_sec")


def report_sections(found: Report, zones: Sequence[Zone], labels: Sequence[str]) -> dict[str, Any]:
    """Objects, classes, zones, stops and events."""
    objects = [
        {
            "track_id": one.track_id,
            "label": label_of(one.class_id, labels),
            "first_frame": one.first_frame,
            "last_frame": one.last_frame,
            "first_sec": six(one.first_sec),
            "last_sec": six(one.last_sec),
            "seen_sec": six(one.seen_sec),
            "stationary_sec": six(one.stationary_sec),
            "mean_score": six(one.mean_score),
        }
        for one in found.objects
    ]
    classes = [
        {
            "label": label_of(one.class_id, labels),
            "objects": one.objects,
            "first_sec": six(one.first_sec),
            "last_sec": six(one.last_sec),
            "present_sec": six(one.present_sec),
            "most_at_once": one.most_at_once,
        }
        for one in found.classes
    ]
    label_by_id = {one["track_id"]: one["label"] for one in objects}
    stops = [
        {
            "track_id": one.track_id,
            "label": label_by_id[one.track_id],
            "start_sec": six(one.start_sec),
            "end_sec": six(one.end_sec),
            "duration_sec": six(one.end_sec - one.start_sec),
            "complete": one.complete,
        }
        for one in found.stops
    ]
    return {
        "objects": objects,
        "classes": classes,
        "zones": [_zone(zone, found, labels) for zone in zones],
        "stops": stops,
        "events": [_event(event, labels) for event in found.events],
    }


def events_csv(events: Sequence[dict[str, Any]]) -> bytes:
    """Events as :func:`report_sections` gives them, with a line of column names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(events)
    return text.getvalue().encode()


def _zone(zone: Zone, found: Report, labels: Sequence[str]) -> dict[str, Any]:
    dwells = [dwell for dwell in found.dwells if dwell.zone == zone.name]
    return {
        "name": zone.name,
        "polygon": [dict(zip("xy", rounded(corner), strict=True)) for corner in zone.corners],
        "dwell": next(_dwell(dwell) for dwell in dwells if dwell.class_id is None),
        "classes": [
            {"label": label_of(dwell.class_id, labels), **_dwell(dwell)}
            for dwell in dwells
            if dwell.class_id is not None
        ],
        "visits": [_visit(visit, labels) for visit in found.visits if visit.zone == zone.name],
    }


def _dwell(one: Dwell) -> dict[str, Any]:
    return {
        "visits": one.visits,
        "total_sec": six(one.total_sec),
        "mean_sec": six(one.mean_sec),
        "max_sec": six(one.max_sec),
        "occupied_sec": six(one.occupied_sec),
        "most_at_once": one.most_at_once,
    }


def _visit(one: Visit, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "track_id": one.track_id,
        "label": label_of(one.class_id, labels),
        "start_sec": six(one.start_sec),
        "end_sec": six(one.end_sec),
        "duration_sec": six(one.end_sec - one.start_sec),
    }


def _event(event: Event, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "type": event.type.value,
        "time_sec": six(event.time_sec),
        "frame_index": event.frame,
        "track_id": event.track_id or None,
        "label": None if event.class_id is None else label_of(event.class_id, labels),
        "zone": event.zone or None,
        "duration_sec": six(event.duration_sec),
    }
