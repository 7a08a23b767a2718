"""A site as it is drawn: its zones, seen from above and by each camera, and its floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kinemesh.geometry import homography, lens, polygons
from kinemesh_render.domain.scene import Area
from kinemesh_render.domain.style import Color

Floats = NDArray[np.float64]

_BEYOND: Final = 0.5  # of what lies further outside the picture nothing is projected, in widths and heights
_POINTS_PER_EDGE: Final = 16  # of what a lens bends


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """An area in which presence is counted.

    :ivar corners: float64 [P, 2], on the map; or fractions of a picture's width and height, if it is one camera's.
    :ivar camera: whose picture it lies in; empty for the map.
    """

    name: str
    corners: Floats
    camera: str = ""
    color: Color | None = None


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How a camera sees the map.

    :ivar to_map: float64 [3, 3], of :func:`kinemesh.geometry.homography.checked`; None if it is not calibrated.
    :ivar lens_size: width and height of the pictures for which the lens is given; None for the camera's own.
    """

    to_map: Floats | None = None
    lens: lens.Lens | None = None
    lens_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Floor:
    """The map's extent, as far as it is known.

    :ivar width: along x in the map's unit; 0 if it is not said.
    :ivar pixels_per_unit: of its picture; 0 if it is not said.
    :ivar picture: asset; empty if there is none.
    """

    unit: str = "m"
    width: float = 0.0
    height: float = 0.0
    pixels_per_unit: float = 0.0
    picture: str = ""
    y_up: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """What is drawn of an environment besides people.

    :ivar cameras: names for people by id, in the site's order.
    :ivar views: of the cameras, by id.
    :ivar clock_start: time of day at second 0, in seconds since 1970; None if it is not said.
    """

    name: str
    cameras: dict[str, str]
    views: dict[str, View]
    zones: Sequence[Zone]
    floor: Floor
    clock_start: float | None = None


def occupants(zone: Zone, points: Floats) -> int:
    """How many of the points [N, 2] lie in a zone."""
    return int(polygons.inside(points, zone.corners).sum()) if len(points) else 0


def area_of(zone: Zone, corners: NDArray[np.float32], inside: int) -> Area:
    """A zone as it is drawn somewhere."""
    return Area(zone.name, corners, f"{inside} in" if inside else "", inside > 0, zone.color)


def seen_in(view: View, corners: Floats, size: tuple[int, int]) -> Floats:
    """A polygon of the map in a camera's picture of ``size``: float64 [P, 2] in pixels, empty where it is not seen.

    It is cut off at the horizon and well outside the picture, in homogeneous coordinates (Sutherland and Hodgman,
    "Reentrant polygon clipping", 1974), before anything is divided.
    """
    if view.to_map is None:
        return np.empty((0, 2))
    points = homography.homogeneous(corners) @ homography.inverse(view.to_map).T
    low_x, low_y = -_BEYOND * np.array(size)
    high_x, high_y = (1 + _BEYOND) * np.array(size)
    for border in ((0, 0, 1), (1, 0, -low_x), (-1, 0, high_x), (0, 1, -low_y), (0, -1, high_y)):
        points = _cut(points, np.array(border, np.float64))
    if len(points) < 3:
        return np.empty((0, 2))
    flat = points[:, :2] / points[:, 2:]
    if view.lens is None:
        return np.asarray(flat, np.float64)
    share = np.linspace(0, 1, _POINTS_PER_EDGE, endpoint=False)[:, None]
    edges = [one + share * (other - one) for one, other in zip(flat, np.roll(flat, -1, axis=0), strict=True)]
    scale = np.array(size) / (view.lens_size or size)
    return np.asarray(lens.bent(view.lens, np.concatenate(edges) / scale) * scale, np.float64)


def _cut(points: Floats, border: Floats) -> Floats:
    """What of a polygon [P, 3] lies where ``border`` · point is positive."""
    kept: list[Floats] = []
    heights = points @ border
    for one, other, a, b in zip(points, np.roll(points, -1, axis=0), heights, np.roll(heights, -1), strict=True):
        if a > 0:
            kept.append(one)
        if (a > 0) != (b > 0):
            kept.append(one + a / (a - b) * (other - one))
    return np.array(kept).reshape(-1, 3)
