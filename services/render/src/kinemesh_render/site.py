"""An environment's message as a site to draw."""

from __future__ import annotations

import re

import numpy as np

from kinemesh.environment.v1 import environment_pb2
from kinemesh.geometry.messages import lens_of
from kinemesh_render.domain.site import Floor, Site, View, Zone
from kinemesh_render.domain.style import Color

_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")


def site_of(environment: environment_pb2.Environment) -> Site:
    """What is drawn of an environment besides people."""
    plane = environment.ground_plane
    start = environment.clock_start_time if environment.HasField("clock_start_time") else None
    return Site(
        name=environment.display_name or environment.environment_id,
        cameras={camera.camera: camera.display_name or camera.camera for camera in environment.cameras},
        views={camera.camera: _view(camera) for camera in environment.cameras},
        zones=[_zone(zone) for zone in environment.zones],
        floor=Floor(
            plane.unit or "m", plane.width, plane.height, plane.pixels_per_unit, plane.image_asset_id, plane.y_up
        ),
        clock_start=None if start is None else start.seconds + start.nanos / 1e9,
    )


def _view(camera: environment_pb2.Camera) -> View:
    values = camera.homography.image_to_map.values
    matrix = np.array(values, np.float64).reshape(3, 3) if len(values) == 9 else None
    given = camera.distortion
    if matrix is None or not camera.HasField("distortion"):
        return View(matrix)
    size = (given.image_width, given.image_height) if given.image_width and given.image_height else None
    return View(matrix, lens_of(given), size)


def _zone(zone: environment_pb2.Zone) -> Zone:
    area = zone.image if zone.WhichOneof("area") == "image" else zone.map
    camera = zone.image.camera if zone.WhichOneof("area") == "image" else ""
    corners = np.array([(corner.x, corner.y) for corner in area.corners], np.float64).reshape(-1, 2)
    return Zone(zone.zone, corners, camera, _color(zone.color))


def _color(text: str) -> Color | None:
    if not _HEX.match(text):
        return None
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
