"""Folders laid out like ``synth2cam``: several cameras over one floor, what was detected, and where people truly were.

``config.json`` has the cameras with points in the picture and on the map; ``<camera>*.json`` a line for each picture
with what was detected; ``<camera>*.mp4``, if there, the recording; ``gtLoc.json``, if there, a line for each moment
with the places of everything. Ids in these files are the truth, and are read for scores alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kinemesh.results.tracks import TrackRows

Floats = NDArray[np.float64]

_PERSON: Final = "person"


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A camera and its recording.

    :ivar image_points: float64 [N, 2], in pixels.
    :ivar map_points: float64 [N, 2], the same on the map.
    :ivar moments: float64 [F], time of each frame on the folder's clock, in seconds.
    :ivar found: what was detected, in no track yet.
    :ivar video: None if there is none.
    """

    name: str
    width: int
    height: int
    image_points: Floats
    map_points: Floats
    moments: Floats
    found: TrackRows
    video: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Where people were: at each of the times [T], their places by id."""

    times: Floats
    places: Sequence[dict[Any, Floats]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is, and which cameras say so."""

    global_id: str
    x: float
    y: float
    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A folder. ``origin`` is second 0 of its clock, since the epoch."""

    origin: float
    cameras: Sequence[Camera]
    truth: Truth | None


def read_scene(folder: Path) -> Scene:
    """Read a folder."""
    config = json.loads((folder / "config.json").read_text())
    lines = {name: _lines(next(folder.glob(f"{name}*.json"))) for name in config["sensors"]}
    origin = min(_seconds(of_camera[0]) for of_camera in lines.values())
    cameras = [_camera(folder, name, config["sensors"][name], lines[name], origin) for name in lines]
    truth = folder / "gtLoc.json"
    return Scene(origin, cameras, _truth(_lines(truth), origin) if truth.is_file() else None)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def _seconds(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _people(line: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for category, objects in line["objects"].items():
        if category.lower() == _PERSON:
            yield from objects


def _camera(folder: Path, name: str, sensor: dict[str, Any], lines: list[dict[str, Any]], origin: float) -> Camera:
    moments = np.array([_seconds(line) - origin for line in lines])
    sides = ("x", "y", "width", "height")
    found = [(frame, one) for frame, line in enumerate(lines) for one in _people(line)]
    box = np.array([[one["bounding_box_px"][side] for side in sides] for _, one in found], np.float32).reshape(-1, 4)
    box[:, 2:] += box[:, :2]
    frame = np.array([frame for frame, _ in found], np.int64)
    return Camera(
        name,
        int(sensor["width"]),
        int(sensor["height"]),
        np.array(sensor["camera points"], np.float64)[:, :2],
        np.array(sensor["map points"], np.float64)[:, :2],
        moments,
        TrackRows(
            frame,
            moments[frame],
            np.zeros(len(frame), np.int32),
            box,
            np.array([one.get("confidence", 1.0) for _, one in found], np.float32),
            np.zeros(len(frame), np.int16),
            np.zeros(len(frame), np.bool_),
        ),
        next(folder.glob(f"{name}*.mp4"), None),
    )


def _truth(lines: list[dict[str, Any]], origin: float) -> Truth:
    lines.sort(key=_seconds)
    places = [{one["id"]: np.array(one["translation"][:2], np.float64) for one in _people(line)} for line in lines]
    return Truth(np.array([_seconds(line) - origin for line in lines]), places)


def scores(times: Floats, steps: Sequence[Sequence[Place]], truth: Truth) -> dict[str, float]:
    """How well places agree with the truth of the nearest moment.

    ``count_error`` is the mean squared difference of the numbers of people; ``identity_changes`` is how often a person
    is another one than before, by step; errors are distances, after those who are nearest one another were matched.
    """
    counts, errors, changes = [], [], 0
    known: dict[Any, str] = {}
    for time_sec, found in zip(times.tolist(), steps, strict=True):
        people = truth.places[int(np.abs(truth.times - time_sec).argmin())]
        counts.append(len(found) - len(people))
        if not (found and people):
            continue
        there, here = np.array(list(people.values())), np.array([(one.x, one.y) for one in found])
        distance = np.linalg.norm(there[:, None] - here[None], axis=2)
        for row, column in zip(*linear_sum_assignment(distance), strict=True):
            who, name = list(people)[row], found[column].global_id
            errors.append(distance[row, column])
            changes += known.get(who, name) != name
            known[who] = name
    return {
        "count_error": round(float(np.mean(np.square(counts))), 4),
        "identity_changes": round(changes / len(times), 5),
        "mean_error": round(float(np.mean(errors)), 4),
        "p95_error": round(float(np.percentile(errors, 95)), 4),
        "people": len({one.global_id for found in steps for one in found}),
    }
