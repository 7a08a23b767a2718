"""What an environment may be. Every refusal names the field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from kinemesh import errors
from kinemesh.environment.v1 import environment_pb2
from kinemesh.geometry.polygons import area, is_simple
from kinemesh_ingest.calibrating import checked_lens, homography_of
from kinemesh_ingest.catalogue.assets import IMAGE, VIDEO, require_ready
from kinemesh_ingest.catalogue.tables import AnyRow
from kinemesh_ingest.domain.fitting import View
from kinemesh_ingest.domain.schedule import Recorded, schedule
from kinemesh_ingest.domain.timeline import Input
from kinemesh_ingest.domain.validation import check_color, check_id, check_range, check_text

_MOST_CAMERAS: Final = 64
_MOST_RECORDINGS: Final = 1000
_MOST_ZONES: Final = 100
_MOST_PASSAGES: Final = 1000
_MOST_CORNERS: Final = 256
_LONGEST_SEC: Final = 1e9
_FARTHEST: Final = 1e6
_YEAR_2200: Final = 7_258_118_400
_RESERVED: Final = frozenset({"all", "main", "mosaic"})  # names of what belongs to no camera


def assets_of(environment: environment_pb2.Environment) -> list[str]:
    """The ids of all assets that an environment names."""
    named = {one.asset_id for camera in environment.cameras for one in camera.sub_videos}
    if environment.ground_plane.image_asset_id:
        named.add(environment.ground_plane.image_asset_id)
    return sorted(named)


def checked_environment(
    environment: environment_pb2.Environment, assets: Mapping[str, AnyRow]
) -> environment_pb2.Environment:
    """The environment as it is kept: with a name, and its homographies made and measured.

    :param assets: rows of those that :func:`assets_of` names.
    :raises KinemeshError: naming the field.
    """
    whole = environment_pb2.Environment()
    whole.CopyFrom(environment)
    whole.ClearField("create_time")
    whole.ClearField("update_time")
    check_text("display_name", whole.display_name, 200)
    check_text("description", whole.description, 10_000, lines=True)
    whole.display_name = whole.display_name.strip() or whole.environment_id
    check_range("gallery.retention_days", whole.gallery.retention_days, 0, 365)
    _check_clock(whole)
    _check_plane(whole.ground_plane, assets)
    _check_most("cameras", whole.cameras, _MOST_CAMERAS)
    _check_unique("cameras", "camera", [camera.camera for camera in whole.cameras])
    for position, camera in enumerate(whole.cameras):
        _check_camera(camera, f"cameras[{position}]", whole.ground_plane, assets)
    cameras = frozenset(camera.camera for camera in whole.cameras)
    _check_zones(whole.zones, cameras)
    _check_passages(whole.passages, cameras)
    return whole


def inputs_of(camera: environment_pb2.Camera, assets: Mapping[str, AnyRow]) -> list[Input]:
    """The recordings of a camera.

    :raises InvalidArgument: SUB_VIDEOS_OVERLAP, OUT_OF_ORDER.
    """
    return schedule(
        camera.camera,
        [
            Recorded(
                one.asset_id,
                float((assets[one.asset_id].video or {}).get("duration_sec", 0.0)),
                one.start_sec if one.HasField("start_sec") else None,
            )
            for one in camera.sub_videos
        ],
    )


def view_of(
    camera: environment_pb2.Camera,
    plane: environment_pb2.GroundPlane,
    assets: Mapping[str, AnyRow],
    field: str = "camera",
) -> View:
    """What a homography of the camera is held against.

    :raises InvalidArgument: SIZES_DIFFER, if its recordings are of several sizes; reasons of the lens.
    """
    sizes = {
        (int(video.get("width", 0)), int(video.get("height", 0)))
        for video in (assets[one.asset_id].video or {} for one in camera.sub_videos)
    }
    if len(sizes) > 1:
        raise errors.InvalidArgument(
            "SIZES_DIFFER",
            f"The recordings of {camera.camera} have pictures of different sizes.",
            field=f"{field}.sub_videos",
            camera=camera.camera,
        )
    size = next(iter(sizes), None)
    lens = checked_lens(camera.distortion, size, f"{field}.distortion") if camera.HasField("distortion") else None
    return View(size, lens, (plane.width, plane.height))


def _check_camera(
    camera: environment_pb2.Camera,
    field: str,
    plane: environment_pb2.GroundPlane,
    assets: Mapping[str, AnyRow],
) -> None:
    check_id(f"{field}.camera", camera.camera)
    if camera.camera.startswith("-") or camera.camera in _RESERVED:
        raise errors.InvalidArgument(
            "INVALID_ID", f"No camera may be called {camera.camera}.", field=f"{field}.camera", camera=camera.camera
        )
    check_text(f"{field}.display_name", camera.display_name, 200)
    _check_most(f"{field}.sub_videos", camera.sub_videos, _MOST_RECORDINGS)
    for position, one in enumerate(camera.sub_videos):
        named = f"{field}.sub_videos[{position}]"
        check_range(f"{named}.start_sec", one.start_sec, -_LONGEST_SEC, _LONGEST_SEC)
        require_ready(assets[one.asset_id], VIDEO, f"{named}.asset_id")
    inputs_of(camera, assets)
    view = view_of(camera, plane, assets, field)
    if camera.HasField("homography"):
        if camera.homography.source.WhichOneof("source") is None and camera.homography.image_to_map.values:
            # As a job's parameters have it.
            camera.homography.source.matrix.CopyFrom(camera.homography.image_to_map)
        try:
            camera.homography.CopyFrom(homography_of(camera.homography.source, view))
        except errors.KinemeshError as error:
            error.metadata.setdefault("camera", camera.camera)
            error.metadata.setdefault("field", f"{field}.homography")
            raise


def _check_clock(environment: environment_pb2.Environment) -> None:
    if not environment.HasField("clock_start_time"):
        return
    # Times of day are reckoned from it, for as long as recordings last: there must be a calendar on both sides.
    if not 0 <= environment.clock_start_time.seconds < _YEAR_2200:
        raise errors.InvalidArgument(
            "OUT_OF_RANGE", "clock_start_time must be of the years 1970 to 2199.", field="clock_start_time"
        )


def _check_plane(plane: environment_pb2.GroundPlane, assets: Mapping[str, AnyRow]) -> None:
    check_text("ground_plane.unit", plane.unit, 16)
    check_range("ground_plane.width", plane.width, 0, _FARTHEST)
    check_range("ground_plane.height", plane.height, 0, _FARTHEST)
    check_range("ground_plane.pixels_per_unit", plane.pixels_per_unit, 0, 1e6)
    if plane.image_asset_id:
        require_ready(assets[plane.image_asset_id], IMAGE, "ground_plane.image_asset_id")
        if not plane.pixels_per_unit:
            raise errors.InvalidArgument(
                "MISSING_FIELD",
                "ground_plane.pixels_per_unit is needed to lay the map's picture.",
                field="ground_plane.pixels_per_unit",
            )


def _check_zones(zones: Iterable[environment_pb2.Zone], cameras: frozenset[str]) -> None:
    listed = list(zones)
    _check_most("zones", listed, _MOST_ZONES)
    _check_unique("zones", "zone", [zone.zone for zone in listed])
    for position, zone in enumerate(listed):
        field = f"zones[{position}]"
        check_text(f"{field}.zone", zone.zone, 64, needed=True)
        if zone.color:
            check_color(f"{field}.color", zone.color)
        kind = zone.WhichOneof("area")
        if kind is None:
            raise errors.InvalidArgument("MISSING_FIELD", f"{field} needs a polygon.", field=field, zone=zone.zone)
        if kind == "image":
            _check_known(f"{field}.image.camera", zone.image.camera, cameras)
            corners, low, high = [(corner.x, corner.y) for corner in zone.image.corners], 0.0, 1.0
        else:
            corners, low, high = [(corner.x, corner.y) for corner in zone.map.corners], -_FARTHEST, _FARTHEST
        _check_polygon(f"{field}.{kind}.corners", zone.zone, corners, low, high)


def _check_polygon(field: str, zone: str, corners: list[tuple[float, float]], low: float, high: float) -> None:
    check_range(field, len(corners), 3, _MOST_CORNERS)
    for x, y in corners:
        check_range(f"{field}.x", x, low, high)
        check_range(f"{field}.y", y, low, high)
    if not is_simple(np.array(corners)) or not area(np.array(corners)):
        raise errors.InvalidArgument(
            "POLYGON_NOT_SIMPLE", f"An edge of the zone {zone} crosses or touches another.", field=field, zone=zone
        )


def _check_passages(passages: Iterable[environment_pb2.Passage], cameras: frozenset[str]) -> None:
    listed = list(passages)
    _check_most("passages", listed, _MOST_PASSAGES)
    known: set[tuple[str, str]] = set()
    for position, passage in enumerate(listed):
        field = f"passages[{position}]"
        _check_known(f"{field}.from_camera", passage.from_camera, cameras)
        _check_known(f"{field}.to_camera", passage.to_camera, cameras)
        check_range(f"{field}.min_travel_sec", passage.min_travel_sec, 0, _LONGEST_SEC)
        check_range(f"{field}.max_travel_sec", passage.max_travel_sec, passage.min_travel_sec, _LONGEST_SEC)
        ways = [(passage.from_camera, passage.to_camera)]
        if passage.from_camera == passage.to_camera:
            raise errors.InvalidArgument("SAME_CAMERA", f"{field} leads back to its own camera.", field=field)
        if passage.both_ways:
            ways.append((passage.to_camera, passage.from_camera))
        if known.intersection(ways):
            raise errors.InvalidArgument("DUPLICATE_PASSAGE", f"{field} is given twice.", field=field)
        known.update(ways)


def _check_known(field: str, camera: str, cameras: frozenset[str]) -> None:
    if camera not in cameras:
        raise errors.InvalidArgument(
            "UNKNOWN_CAMERA", f"{field} names a camera that the environment does not have.", field=field, camera=camera
        )


def _check_most(field: str, listed: Iterable[object], most: int) -> None:
    if sum(1 for _ in listed) > most:
        raise errors.InvalidArgument("OUT_OF_RANGE", f"{field} takes at most {most}.", field=field)


def _check_unique(field: str, name: str, values: list[str]) -> None:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise errors.InvalidArgument(
                f"DUPLICATE_{name.upper()}", f"{value} is there twice.", field=f"{field}[{position}].{name}"
            )
