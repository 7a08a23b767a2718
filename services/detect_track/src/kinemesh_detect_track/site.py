"""Environments as the association's values, and its decisions as lines of JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final
from uuid import UUID, uuid5

import numpy as np
import orjson

from kinemesh.environment.v1 import environment_pb2
from kinemesh.geometry.messages import lens_of
from kinemesh_detect_track.domain.association.decisions import Decision, Kind
from kinemesh_detect_track.domain.association.places import Site, shortest
from kinemesh_detect_track.domain.association.views import View
from kinemesh_detect_track.domain.boxes import Floats

NAMESPACE: Final = UUID("9f5f38f5-9d09-53c5-8548-2a756660787a")
"""Of the global ids of people whom no gallery knows."""

_METRES: Final = {
    "m": 1.0,
    "metre": 1.0,
    "metres": 1.0,
    "meter": 1.0,
    "meters": 1.0,
    "dm": 10.0,
    "cm": 100.0,
    "mm": 1000.0,
    "km": 0.001,
    "ft": 1 / 0.3048,
    "foot": 1 / 0.3048,
    "feet": 1 / 0.3048,
    "in": 1 / 0.0254,
    "inch": 1 / 0.0254,
    "inches": 1 / 0.0254,
    "yd": 1 / 0.9144,
}
_UNKNOWN_SIDE_M: Final = 10.0
"""Side of a map about which nothing is known."""
_LEAST_SIDE_M: Final = 3.0


def global_id(job_id: str, number: int) -> str:
    """The UUID of a person whom no gallery knows."""
    return str(uuid5(NAMESPACE, f"{job_id}/{number}"))


def metre_of(environment: environment_pb2.Environment) -> float | None:
    """Length of a metre in the map's unit; None if the unit's name does not tell."""
    return _METRES.get((environment.ground_plane.unit or "m").strip().lower())


def site_of(environment: environment_pb2.Environment, learned: float = 1.0) -> Site:
    """What is known of where the cameras are.

    :param learned: length of a metre on a map whose unit does not tell, see
        :attr:`~kinemesh_detect_track.domain.association.people.People.metre`; NaN stands for 1.
    """
    metre = metre_of(environment) or (learned if np.isfinite(learned) else 1.0)
    least, longest = _travel(environment)
    return Site(metre, _area(environment, metre), least, longest)


def view_of(camera: environment_pb2.Camera, size: tuple[int, int], own: tuple[int, int]) -> View:
    """How pictures of a camera lie on the map.

    :param size: width and height of the recording's pictures.
    :param own: those of the camera's first recording, for which its calibration holds.
    """
    ground = camera.homography.image_to_map.values
    scale = own[0] / size[0], own[1] / size[1]
    lens = lens_of(camera.distortion, own) if camera.HasField("distortion") else None
    return View(size[1], np.array(ground).reshape(3, 3) if len(ground) else None, lens, scale)


def _area(environment: environment_pb2.Environment, metre: float) -> float:
    """Area of the map: its extent, or else that of what its calibration shows."""
    plane = environment.ground_plane
    if plane.width > 0 and plane.height > 0:
        return plane.width * plane.height
    points = [_calibrated(camera) for camera in environment.cameras if camera.homography.image_to_map.values]
    known = np.concatenate([np.zeros((0, 2)), *points])
    if not len(known):
        return (_UNKNOWN_SIDE_M * metre) ** 2
    sides = np.maximum(np.ptp(known, axis=0), _LEAST_SIDE_M * metre)
    return float(sides.prod())


def _calibrated(camera: environment_pb2.Camera) -> Floats:
    """Places that a camera's calibration names; with a bare matrix none are known."""
    pairs = camera.homography.source.points.pairs
    return np.array([(pair.map.x, pair.map.y) for pair in pairs], np.float64).reshape(-1, 2)


def _travel(environment: environment_pb2.Environment) -> tuple[Floats, Floats]:
    """Least and longest seconds from each camera to each other."""
    names = {camera.camera: position for position, camera in enumerate(environment.cameras)}
    count = len(names)
    if not environment.passages:
        return np.zeros((count, count)), np.full((count, count), np.inf)
    least = np.full((count, count), np.inf)
    longest = np.full((count, count), np.inf)
    for passage in environment.passages:
        a, b = names[passage.from_camera], names[passage.to_camera]
        for start, end in ((a, b), (b, a)) if passage.both_ways else ((a, b),):
            least[start, end] = passage.min_travel_sec
            longest[start, end] = passage.max_travel_sec or np.inf
    return shortest(least, longest)


def decisions_to_lines(decisions: Iterable[Decision], environment: environment_pb2.Environment) -> bytes:
    """A line of JSON for each decision; cameras by their ids."""
    names = [camera.camera for camera in environment.cameras]
    lines = []
    for decision in decisions:
        line = asdict(decision)
        line["kind"] = decision.kind.value
        line["camera"] = names[decision.camera] if decision.camera >= 0 else ""
        lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(lines)


def decisions_of(data: bytes, environment: environment_pb2.Environment) -> Sequence[Decision]:
    """Read what :func:`decisions_to_lines` wrote."""
    places = {camera.camera: position for position, camera in enumerate(environment.cameras)}
    decisions = []
    for text in data.splitlines():
        line = orjson.loads(text)
        line["kind"] = Kind(line["kind"])
        line["camera"] = places.get(line["camera"], -1)
        decisions.append(Decision(**line))
    return decisions
