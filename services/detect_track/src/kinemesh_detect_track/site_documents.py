"""What jobs of the pipeline multi_camera leave for their users. docs/results.md describes every file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson

from kinemesh.environment.v1 import environment_pb2
from kinemesh.results.sightings import PathRows
from kinemesh_detect_track.domain.association.clock import Clock
from kinemesh_detect_track.domain.association.decisions import Decision, Kind
from kinemesh_detect_track.domain.hindsight import Reunion
from kinemesh_detect_track.domain.presence import Stay, counts, occupied
from kinemesh_detect_track.values import rounded, six

VERSION: Final = "v1"
_GEOJSON_S: Final = 0.2
"""Between two positions of a line; the tables have them all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """When one camera showed a person: first step, step after the last, how many steps, and its tracks' ids."""

    camera: str
    start: int
    stop: int
    steps: int
    tracks: Sequence[int]


@dataclass(frozen=True, slots=True)
class Person:
    """One person of a job.

    :ivar known: whether the gallery knew the person before.
    :ivar distance: length of the way in the map's unit; None if the person has no place on the map.
    """

    number: int
    global_id: str
    known: bool
    shown: Sequence[Shown]
    distance: float | None

    @property
    def start(self) -> int:
        return min(one.start for one in self.shown)

    @property
    def stop(self) -> int:
        return max(one.stop for one in self.shown)


@dataclass(frozen=True, slots=True)
class Recording:
    """What readers of the tables must know of a recording; ``interval`` is the steps from frame to frame."""

    name: str
    camera: str
    start_sec: float
    frames: int
    interval: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Times:
    """The clock of a job's documents; ``began`` is the time of day at second 0, if it is known."""

    clock: Clock
    began: datetime | None

    def seconds(self, step: int) -> float:
        return six(self.clock.start_sec + step / self.clock.rate)

    def of_day(self, seconds: float) -> str | None:
        return None if self.began is None else iso(self.began + timedelta(seconds=seconds))

    def span(self, start: int, stop: int) -> dict[str, Any]:
        """Beginning and end, by time of day too if that is known."""
        first, last = self.seconds(start), self.seconds(stop)
        found: dict[str, Any] = {"start_sec": first, "end_sec": last}
        if self.began is not None:
            found |= {"start_time": self.of_day(first), "end_time": self.of_day(last)}
        return found


def times_of(clock: Clock, environment: environment_pb2.Environment) -> Times:
    """The clock of a job at a site."""
    known = environment.HasField("clock_start_time")
    return Times(clock, environment.clock_start_time.ToDatetime(UTC) if known else None)


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def identities_json(
    environment: environment_pb2.Environment,
    times: Times,
    recordings: Sequence[Recording],
    people: Sequence[Person],
    decisions: Sequence[tuple[int, Decision]],
    reunions: Sequence[tuple[int, Reunion]],
) -> bytes:
    """Everybody, and why they are taken for one person.

    :param decisions: each with the final number of its person.
    :param reunions: the same.
    """
    cameras = [camera.camera for camera in environment.cameras]
    history: dict[int, list[dict[str, Any]]] = {person.number: [] for person in people}
    for number, decision in decisions:
        if number in history:
            history[number].append(_decided(decision, cameras))
    for number, reunion in reunions:
        if number in history:
            history[number].append(_reunited(reunion))
    clock = times.clock
    return orjson.dumps(
        {
            "version": VERSION,
            "environment_id": environment.environment_id,
            "unit": environment.ground_plane.unit or "m",
            "clock": {
                "start_sec": clock.start_sec,
                "rate": clock.rate,
                "clock_start_time": None if times.began is None else iso(times.began),
                "recordings": [
                    {
                        "recording": one.name,
                        "camera": one.camera,
                        "start_sec": one.start_sec,
                        "frames": one.frames,
                        "steps_per_frame": one.interval,
                        "width": one.width,
                        "height": one.height,
                    }
                    for one in recordings
                ],
            },
            "identities": [_identity(person, times, history[person.number]) for person in people],
        }
    )


def _identity(person: Person, times: Times, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "global_id": person.global_id,
        "person": person.number,
        "known": person.known,
        **times.span(person.start, person.stop),
        "distance": None if person.distance is None else six(person.distance),
        "cameras": [
            {
                "camera": one.camera,
                **times.span(one.start, one.stop),
                "seen_sec": six(one.steps / times.clock.rate),
                "track_ids": list(one.tracks),
            }
            for one in person.shown
        ],
        "history": history,
    }


def _decided(decision: Decision, cameras: Sequence[str]) -> dict[str, Any]:
    camera = cameras[decision.camera] if 0 <= decision.camera < len(cameras) else None
    track = f"Track {decision.track} of {camera}"
    figures = f"the place speaks for it with {decision.by_place:.1f}, looks with {decision.by_looks:.1f}"
    sentence = {
        Kind.APPEARED: f"{track} is somebody new: nobody known was likely enough.",
        Kind.RECOGNISED: f"{track} is this person: {figures}.",
        Kind.SPLIT: f"{track} is not this person any more: another camera, that has shown the person for longer, "
        "showed them elsewhere for a while.",
        Kind.MERGED: f"Person {decision.other} is this person: both were at one place for a while, and no camera "
        f"showed both; looks speak for it with {decision.by_looks:.1f}.",
    }[decision.kind]
    return {
        "kind": decision.kind.value,
        "time_sec": six(decision.time_sec),
        "person": decision.person,
        "other": decision.other or None,
        "camera": camera,
        "track_id": decision.track if camera is not None else None,
        "by_place": six(decision.by_place),
        "by_looks": six(decision.by_looks),
        "sentence": sentence,
    }


def _reunited(reunion: Reunion) -> dict[str, Any]:
    return {
        "kind": "joined",
        "time_sec": None,
        "person": reunion.stays,
        "other": reunion.goes,
        "camera": None,
        "track_id": None,
        "by_place": six(reunion.by_place),
        "by_looks": six(reunion.by_looks),
        "sentence": f"Person {reunion.goes} is person {reunion.stays}, as the whole recording shows: they were never "
        f"seen at once, the way between them speaks for it with {reunion.by_place:.1f}, looks with "
        f"{reunion.by_looks:.1f}.",
    }


def zones_json(
    environment: environment_pb2.Environment, times: Times, stays: Mapping[str, Sequence[Stay]], ids: Mapping[int, str]
) -> bytes:
    """Presence in every zone of the site.

    :param stays: by zone.
    :param ids: global ids by number.
    """
    zones = [_zone(zone, times, stays[zone.zone], ids) for zone in environment.zones]
    return orjson.dumps({"version": VERSION, "environment_id": environment.environment_id, "zones": zones})


def _zone(zone: environment_pb2.Zone, times: Times, stays: Sequence[Stay], ids: Mapping[int, str]) -> dict[str, Any]:
    rate = times.clock.rate
    lengths = [(stay.stop - stay.start) / rate for stay in stays]
    changes = counts(stays)
    most = max(changes, key=lambda change: change.people, default=None)
    on_map = zone.WhichOneof("area") == "map"
    corners = zone.map.corners if on_map else zone.image.corners
    people = sorted({stay.person for stay in stays})
    own = {number: [stay for stay in stays if stay.person == number] for number in people}
    return {
        "zone": zone.zone,
        "area": "map" if on_map else "image",
        "camera": None if on_map else zone.image.camera,
        "color": zone.color,
        "corners": [[six(corner.x), six(corner.y)] for corner in corners],
        "entries": len(stays),
        "persons": len(people),
        "total_sec": six(sum(lengths)),
        "mean_sec": six(sum(lengths) / len(lengths)) if lengths else 0.0,
        "max_sec": six(max(lengths, default=0.0)),
        "occupied_sec": six(occupied(stays) / rate),
        "most_at_once": 0 if most is None else most.people,
        "most_at_once_sec": None if most is None else times.seconds(most.step),
        "dwell": [
            {
                "global_id": ids[number],
                "person": number,
                "entries": len(own[number]),
                "total_sec": six(sum(stay.stop - stay.start for stay in own[number]) / rate),
                **times.span(own[number][0].start, max(stay.stop for stay in own[number])),
            }
            for number in people
        ],
        "counts": [{"time_sec": times.seconds(change.step), "people": change.people} for change in changes],
    }


def zones_csv(times: Times, stays: Mapping[str, Sequence[Stay]], ids: Mapping[int, str]) -> bytes:
    """All visits of all zones, by their beginnings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["zone", "person", "global_id", "start_sec", "end_sec", "duration_sec"]
    writer.writerow(header + ["start_time", "end_time"] * (times.began is not None))
    every = [stay for of_zone in stays.values() for stay in of_zone]
    for stay in sorted(every, key=lambda stay: (stay.start, stay.zone, stay.person)):
        span = times.span(stay.start, stay.stop)
        start, end, *of_day = span.values()
        length = six((stay.stop - stay.start) / times.clock.rate)
        writer.writerow([stay.zone, stay.person, ids[stay.person], start, end, length, *of_day])
    return text.getvalue().encode()


def paths_csv(rows: PathRows, times: Times, *, header: bool) -> bytes:
    """Places of people as text: six decimals."""
    names = ["step", "time_sec", "person", "global_id", "x", "y", "vx", "vy", "cameras"]
    columns = [
        rows.step.tolist(),
        rounded(rows.time_sec),
        rows.person.tolist(),
        rows.global_id.tolist(),
        *(rounded(column) for column in (rows.x, rows.y, rows.vx, rows.vy)),
        rows.cameras.tolist(),
    ]
    if times.began is not None:
        names.append("time")
        columns.append([times.of_day(seconds) for seconds in columns[1]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def geojson(parts: Iterator[PathRows], unit: str, rate: float) -> Iterator[bytes]:
    """Ways as a collection of features as in RFC 7946, save that coordinates are the map's and not the globe's.

    :param parts: one person's way each, by step.
    """
    yield b'{"type":"FeatureCollection","unit":' + orjson.dumps(unit) + b',"features":['
    comma = b""
    for rows in parts:
        for spell in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows.step) > 1) + 1):
            yield comma + orjson.dumps(_feature(rows, spell, rate))
            comma = b","
    yield b"]}"


def _feature(rows: PathRows, spell: np.ndarray[Any, np.dtype[np.intp]], rate: float) -> dict[str, Any]:
    every = max(1, round(_GEOJSON_S * rate))
    at = np.unique(np.append(spell[::every], spell[-1]))
    line = np.round(np.stack([rows.x[at], rows.y[at]], axis=1), 4).tolist()
    return {
        "type": "Feature",
        "geometry": {"type": "LineString", "coordinates": line}
        if len(line) > 1
        else {"type": "Point", "coordinates": line[0]},
        "properties": {
            "global_id": str(rows.global_id[at[0]]),
            "person": int(rows.person[at[0]]),
            "time_sec": rounded(rows.time_sec[at]),
        },
    }
